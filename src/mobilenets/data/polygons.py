"""Masks of objects that a file describes by outlines or by runs of pixels, as COCO does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mobilenets.data.annotations import IGNORED
from mobilenets.data.sources import Source
from mobilenets.errors import DataError

_FINER = (16, 8, 4)
"""How much larger polygons are drawn than they are: the first with which they are at most `_LARGE_PX` wide and high,
else the last. Against the exact rule areas are 0.5, 1 and 2 % too large for objects of 40 pixels."""

_LARGE_PX = 1024

__all__ = ["DrawnMask", "Outline", "Part", "Runs", "decode_runs"]


class Outline(NamedTuple):
    """Polygons around an object; each x, y, x, y, ... in pixels, as the bytes of float32."""

    polygons: tuple[bytes, ...]


class Runs(NamedTuple):
    """Run lengths, column by column, outside first: numbers, or COCO's letters for them."""

    counts: str | tuple[int, ...]
    height: int
    width: int


class Part(NamedTuple):
    """An object: what its pixels become, and where it is."""

    value: int
    where: Outline | Runs


@dataclass(frozen=True, slots=True)
class DrawnMask:
    """A mask that is drawn when it is read.

    Attributes:
        image: that it is of.
        size: its width and height, in pixels.
        ground: the class of pixels without an object.
        parts: the objects, later ones over earlier ones.
    """

    image: Source
    size: tuple[int, int]
    ground: int
    parts: tuple[Part, ...]

    @property
    def labels(self) -> tuple[int, ...]:
        """Indices of the objects' classes."""
        return tuple(sorted({part.value for part in self.parts} - {IGNORED}))

    def read(self) -> NDArray[np.uint8]:
        """Index of each pixel's class, or `IGNORED`: uint8 h w.

        Raises:
            DataError: runs do not fill the image.
        """
        width, height = self.size
        found = np.full((height, width), self.ground, np.uint8)
        for value, where in self.parts:
            match where:
                case Outline():
                    for polygon in where.polygons:
                        _fill(found, np.frombuffer(polygon, np.float32).reshape(-1, 2), value)
                case Runs():
                    found[self._runs(where)] = value
        return found

    def _runs(self, runs: Runs) -> NDArray[np.bool_]:
        if (runs.width, runs.height) != self.size:
            raise DataError(
                f"{self.image}: {self.size[0]}x{self.size[1]}, runs of its mask are for {runs.width}x{runs.height}."
            )
        try:
            return decode_runs(runs)
        except ValueError as error:
            raise DataError(f"{self.image}: runs of its mask cannot be read: {error}.") from error


def _fill(mask: NDArray[np.uint8], corners: NDArray[np.float32], value: int) -> None:
    """Give the pixels whose middle is in a polygon a value; corners (k, 2) count from the image's upper left corner."""
    height, width = mask.shape
    low = np.floor(corners.min(0)).clip(0, (width, height)).astype(int)
    high = np.ceil(corners.max(0)).clip(0, (width, height)).astype(int)
    if (size := high - low).min() < 1:
        return
    # Pillow draws all pixels that a polygon touches: drawn larger, that is little more, and middles are whole pixels.
    finer = next((times for times in _FINER if times * size.max() <= _LARGE_PX), _FINER[-1])
    large = Image.new("L", tuple((size * finer).tolist()))
    ImageDraw.Draw(large).polygon(((corners - low) * finer).ravel().tolist(), fill=1)
    inside = np.asarray(large)[finer // 2 :: finer, finer // 2 :: finer] == 1
    mask[low[1] : high[1], low[0] : high[0]][inside] = value


def decode_runs(runs: Runs) -> NDArray[np.bool_]:
    """Which pixels are the object's: bool h w.

    Raises:
        ValueError: the runs have another length than the image.
    """
    counts = _spelled_out(runs.counts) if isinstance(runs.counts, str) else list(runs.counts)
    if min(counts, default=0) < 0 or sum(counts) != runs.width * runs.height:
        raise ValueError(f"they have {sum(counts)} pixels, expected {runs.width * runs.height}")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(runs.width, runs.height).T.copy()


def _spelled_out(text: str) -> list[int]:
    """Run lengths from COCO's letters: five bits each, lowest first, as the difference to the run before last."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"the letter {letter!r} is none of theirs")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the number's last letter; its highest bit is the sign
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
