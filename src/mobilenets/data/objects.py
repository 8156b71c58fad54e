"""From what files of boxes say to boxes to learn from: inside their image, with an area, of a known class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mobilenets.data.annotations import Boxes, Corners
from mobilenets.data.arrays import Loading, filled
from mobilenets.data.decode import upright_size
from mobilenets.data.listing import Oddity
from mobilenets.data.sources import Source

__all__ = ["Object", "boxes_of", "upright_sizes"]

_SLACK_PX = 1.0
"""So far beyond its image a box is rounded, not wrong: files count pixels from 0 or from 1."""


class Object(NamedTuple):
    """A line of a file of boxes.

    Attributes:
        name: of its class.
        corners: in pixels of the upright image.
        hard: whether it is neither learned nor counted.
    """

    name: str
    corners: Corners
    hard: bool = False


def boxes_of(
    file: Source, image: Source, objects: Iterable[Object], size: tuple[int, int], classes: Mapping[str, int]
) -> tuple[Boxes, list[Oddity]]:
    """Boxes clipped to their image, without those that have no area or no class, and what was so mended.

    Args:
        file: what says so.
        image: what they are in.
        objects: of that image.
        size: width and height of the image, in pixels.
        classes: index by name.
    """
    kept: list[tuple[Corners, int, bool]] = []
    odd: list[Oddity] = []
    for name, corners, hard in objects:
        clipped = _clipped(corners, size)
        if name not in classes:
            odd.append(Oddity("unknown class", file, name, image))
        elif not (corners[0] < corners[2] and corners[1] < corners[3]):  # false for what is not a number, too
            odd.append(Oddity("no area", file, f"{name} {_spelled(corners)}", image))
        else:
            if max(abs(a - b) for a, b in zip(corners, clipped, strict=True)) > _SLACK_PX:
                odd.append(Oddity("outside", file, f"{name} {_spelled(corners)} of {size[0]}x{size[1]}", image))
            if clipped[0] < clipped[2] and clipped[1] < clipped[3]:
                kept.append((clipped, classes[name], hard))
    hard_ones = tuple(hard for _, _, hard in kept)
    corners_, labels = tuple(corners for corners, _, _ in kept), tuple(label for _, label, _ in kept)
    return Boxes(corners_, labels, hard_ones if any(hard_ones) else (), size), odd


def _clipped(corners: Corners, size: tuple[int, int]) -> Corners:
    width, height = size
    x0, y0, x1, y1 = corners
    return min(max(x0, 0.0), width), min(max(y0, 0.0), height), min(max(x1, 0.0), width), min(max(y1, 0.0), height)


def _spelled(corners: Corners) -> str:
    return "(" + ", ".join(f"{value:g}" for value in corners) + ")"


def upright_sizes(images: Sequence[Source]) -> list[tuple[int, int]]:
    """Width and height of images, from their headers, in threads; 1x1 of those that cannot be read.

    These are told of when they are loaded, and their boxes go with them.
    """
    found = [(1, 1)] * len(images)

    def read(i: int) -> None:
        found[i] = upright_size(images[i])

    filled(len(images), read, Loading())
    return found
