"""Rectangles of images laid into squares: the one way in which images, boxes and masks are moved together.

A piece is counted in whole pixels on both sides, so that what is drawn and where its boxes go agree to the last one.
Threads resize the pieces as bytes: three times as fast as sampling floats.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.data.annotations import IGNORED, Objects
from mobilenets.preprocessing import Interpolation

__all__ = ["Piece", "Rectangle", "draw", "draw_masks", "joined", "mirror", "moved", "resized", "windowed"]

_MEAN_STEP = 8  # pixels between those that an image's mean colour is taken of

Rectangle = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels; x1 and y1 are exclusive."""


class Piece(NamedTuple):
    """A rectangle of an image and the rectangle of a square that it fills.

    Attributes:
        image: index of the image in its batch.
        source: what is taken, inside the image.
        target: where it goes, inside the square.
        mirrored: whether left and right are exchanged.
    """

    image: int
    source: Rectangle
    target: Rectangle
    mirrored: bool


Plan = Sequence[Sequence[Piece]]
"""The pieces of each square; what they leave is filled."""


def windowed(image: int, window: NDArray[np.float64], side: int, target: Rectangle) -> Piece:
    """The part of a window that lies in the image, and its part of the target.

    Args:
        image: index of the image.
        window: x0, y0, x1, y1 in pixels of the image; it may reach beyond it, but must meet it.
        side: of the image, in pixels.
        target: what the whole window would fill.
    """
    source, filled = [0] * 4, [0] * 4
    for axis in range(2):
        low, high, first, last = float(window[axis]), float(window[axis + 2]), target[axis], target[axis + 2]
        begin = min(max(round(low), 0), side - 1)
        end = min(max(round(high), begin + 1), side)
        # inside the image the target is filled to its edges, whatever the rounding
        scale = (last - first) / (high - low)
        start = first if low > -0.5 else min(max(first + round((begin - low) * scale), first), last - 1)
        stop = last if high < side + 0.5 else min(max(first + round((end - low) * scale), start + 1), last)
        source[axis], source[axis + 2], filled[axis], filled[axis + 2] = begin, end, start, stop
    return Piece(
        image, (source[0], source[1], source[2], source[3]), (filled[0], filled[1], filled[2], filled[3]), False
    )


def mirror(piece: Piece, target: Rectangle) -> Piece:
    """The piece after a flip of the target that it lies in."""
    x0, y0, x1, y1 = piece.target
    across = target[0] + target[2]
    return piece._replace(target=(across - x1, y0, across - x0, y1), mirrored=not piece.mirrored)


def draw(images: Tensor, plan: Plan, resolution: int) -> Tensor:
    """The squares of a plan, antialiased; what no piece covers has the mean colour of the first piece's image.

    Shapes: uint8 n s s c, anywhere -> uint8 m c r r on the processor, channels last in memory.
    """
    source = images.cpu().numpy()
    out = np.empty((len(plan), resolution, resolution, images.shape[3]), np.uint8)

    def fill(i: int) -> None:
        square = out[i]
        if sum(_area(piece.target) for piece in plan[i]) < resolution * resolution:
            square[:] = source[plan[i][0].image, ::_MEAN_STEP, ::_MEAN_STEP].mean((0, 1)) + 0.5
        for piece in plan[i]:
            (left, top, right, bottom), (x0, y0, x1, y1) = piece.source, piece.target
            box = torch.from_numpy(np.ascontiguousarray(source[piece.image, top:bottom, left:right]))
            drawn = resized(box[None], (y1 - y0, x1 - x0))[0].permute(1, 2, 0).numpy()
            square[y0:y1, x0:x1] = drawn[:, ::-1] if piece.mirrored else drawn

    _each(fill, len(plan))
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def draw_masks(masks: NDArray[np.uint8], plan: Plan, resolution: int) -> NDArray[np.uint8]:
    """The masks of a plan by the nearest pixel; what no piece covers is `IGNORED`.

    Shapes: n s s -> m r r.
    """
    out = np.full((len(plan), resolution, resolution), IGNORED, np.uint8)

    def fill(i: int) -> None:
        for piece in plan[i]:
            (left, top, right, bottom), (x0, y0, x1, y1) = piece.source, piece.target
            across, down = _nearest(left, right, x1 - x0), _nearest(top, bottom, y1 - y0)
            out[i, y0:y1, x0:x1] = masks[piece.image][down[:, None], across[::-1] if piece.mirrored else across]

    _each(fill, len(plan))
    return out


def moved(truth: Objects, piece: Piece, side: int, resolution: int) -> Objects:
    """The objects of an image whose centre is in a piece: clipped, moved, without those of less than a pixel.

    Args:
        truth: of the whole image.
        piece: of it.
        side: of the image, in pixels.
        resolution: of the square, in pixels.
    """
    (left, top, right, bottom), (x0, y0, x1, y1) = piece.source, piece.target
    corners = truth[0].astype(np.float64) * side
    low, high = np.array([left, top]), np.array([right, bottom])
    centre = (corners[:, :2] + corners[:, 2:]) / 2
    inside = ((centre >= low) & (centre < high)).all(1)
    corners = np.clip(corners.reshape(-1, 2, 2), low, high)
    parts = (corners - low) / (high - low)  # of the piece
    if piece.mirrored:
        parts[:, :, 0] = 1.0 - parts[:, ::-1, 0]
    placed = np.array([x0, y0]) + parts * np.array([x1 - x0, y1 - y0])
    kept = inside & (placed[:, 1] - placed[:, 0] >= 1.0).all(1)
    return (placed[kept].reshape(-1, 4) / resolution).astype(np.float32), truth[1][kept], truth[2][kept]


def resized(images: Tensor, size: tuple[int, int], interpolation: Interpolation = "bilinear") -> Tensor:
    """Images n h w c -> n c *size in [0, 255]: uint8 on processors, where that is many times faster than float."""
    x = images.permute(0, 3, 1, 2)
    if tuple(x.shape[2:]) == size:
        return x
    if x.device.type != "cpu":
        x = x.float()
    return F.interpolate(x, size, mode=interpolation, antialias=True)


def joined(truths: Sequence[Objects]) -> Objects:
    """The objects of several pieces of one square."""
    corners, labels, hard = zip(*truths, strict=True)
    return np.concatenate(corners), np.concatenate(labels), np.concatenate(hard)


def _area(rectangle: Rectangle) -> int:
    return (rectangle[2] - rectangle[0]) * (rectangle[3] - rectangle[1])


def _nearest(first: int, last: int, length: int) -> NDArray[np.int64]:
    """The source pixel under the middle of each target pixel."""
    return first + ((2 * np.arange(length) + 1) * (last - first)) // (2 * length)


def _each(work: Callable[[int], None], count: int) -> None:
    """Do something for each square, in as many threads as torch has."""
    threads = torch.get_num_threads()
    if threads == 1:
        for i in range(count):
            work(i)
        return

    def share(first: int) -> None:
        for i in range(first, count, threads):
            work(i)

    list(_pool(threads).map(share, range(threads)))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="augment")
