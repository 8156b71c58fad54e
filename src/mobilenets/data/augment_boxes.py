"""Augmentation of squares with boxes: crops that keep an object, smaller objects, flips, colour, four images in one.

Sources: SSD (arXiv:1512.02325, section 2.2 and 3.6) for crops and expansion, YOLOv4 (arXiv:2004.10934) for mosaics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from mobilenets.data.annotations import Objects
from mobilenets.data.augmentation import Augmentation
from mobilenets.data.colour import finish
from mobilenets.data.draws import Draws, groups
from mobilenets.data.pieces import Piece, draw, joined, mirror, moved, windowed
from mobilenets.heads import iou

__all__ = ["MOSAIC", "augment_boxes"]

Floats = NDArray[np.float64]

MOSAIC = 4
"""Images in a mosaic: neighbours in the batch, of which the first one's place is a multiple of this."""

_CHUNK = 16  # images at a time; a multiple of MOSAIC
_TRIES = 40  # windows of which the first that suits is taken; SSD's code tries 50
_EXPANDED = 0.3  # part of the images that are made smaller; the others are cropped
_CENTRE = (0.3, 0.7)  # where the four images of a mosaic meet


def augment_boxes(
    images: Tensor,
    truth: Sequence[Objects],
    resolution: int,
    settings: Augmentation,
    generator: Generator,
    *,
    first: int = 0,
) -> tuple[Tensor, list[Objects]]:
    """A batch of stretched squares and their objects, augmented. The same state of the generator gives the same batch.

    An object stays where its centre does, clipped to the window, unless less than a pixel of it is left. A crop
    overlaps some object as far as is drawn from those of `least_overlap` that one of 40 windows meets.

    Args:
        images: the squares.
        truth: objects of each; hard ones are moved like the others.
        resolution: of the result.
        settings: what is drawn; see `Augmentation.need_windows`.
        generator: the only source of randomness.
        first: place of the first image in a larger batch that several processes share: each image is drawn as it
            would be in the whole. With mosaics, shares begin and end at multiples of `MOSAIC`: images of four that are
            not all here are left alone.

    Shapes: uint8 n s s c -> float n c r r in [0, 1], channels last in memory; boxes in parts of the square.

    Raises:
        MisuseError: the settings move pixels in a way that boxes do not follow.
    """
    settings.need_windows()
    side, size = images.shape[1], (resolution, resolution)
    out = torch.empty(len(images), images.shape[3], *size, device=images.device, memory_format=torch.channels_last)
    found: list[Objects] = []
    for part, draws in groups(len(images), first, _CHUNK, generator):
        plan = _planned([corners for corners, _, _ in truth[part]], side, resolution, settings, draws)
        finish(draw(images[part], plan, resolution).to(images.device), settings, draws, out[part])
        here = truth[part]
        found += [joined([moved(here[p.image], p, side, resolution) for p in pieces]) for pieces in plan]
    return out, found


def _planned(
    corners: Sequence[NDArray[np.float32]], side: int, resolution: int, settings: Augmentation, draws: Draws
) -> list[list[Piece]]:
    """The pieces of each square of a group."""
    n = len(corners)
    windows, wholes = _windows(n, settings, draws)
    chosen, mirrored = draws.uniform(n, 0.0, 1.0).numpy(), (draws.uniform(n, 0.0, 1.0) < settings.flip).tolist()
    mosaic = (draws.uniform(n, 0.0, 1.0) < settings.mosaic).tolist()
    numbers = draws.uniform(n * (3 + 4 * MOSAIC), 0.0, 1.0).view(n, -1).double().numpy()
    whole = (0, 0, resolution, resolution)
    plan = []
    for i in range(n):
        four = (draws.start + i) // MOSAIC * MOSAIC - draws.start
        if mosaic[i] and four >= 0 and four + MOSAIC <= n:
            plan.append(_mosaic(four, side, resolution, settings.flip, numbers[i]))
            continue
        larger = wholes[i][2] - wholes[i][0] > 1.0
        window = wholes[i] if larger else _suited(corners[i], windows[i], settings.least_overlap, float(chosen[i]))
        piece = windowed(i, window * side, side, whole)
        plan.append([mirror(piece, whole) if mirrored[i] else piece])
    return plan


def _windows(n: int, settings: Augmentation, draws: Draws) -> tuple[Floats, Floats]:
    """Crops to choose from, (n, tries, 4), and windows around the image, (n, 4), in parts of the image."""
    area, shape, x, y = draws.uniform(n * 4 * _TRIES, 0.0, 1.0).view(n, 4, _TRIES).double().numpy().transpose(1, 0, 2)
    narrow, wide = (math.log(ratio) for ratio in settings.ratio)
    stretch = np.exp((narrow + (wide - narrow) * shape) / 2)
    length = np.sqrt(settings.scale[0] + (settings.scale[1] - settings.scale[0]) * area)
    sides = np.stack([length * stretch, length / stretch], -1).clip(max=1.0)  # n tries 2
    low = (1.0 - sides) * np.stack([x, y], -1)
    canvas = draws.uniform(n, 1.0, settings.expand).double().numpy()[:, None]
    canvas[(draws.uniform(n, 0.0, 1.0) >= _EXPANDED).numpy()] = 1.0
    origin = draws.uniform(n * 2, 0.0, 1.0).view(n, 2).double().numpy() * (1.0 - canvas)  # n 2
    return np.concatenate([low, low + sides], 2), np.concatenate([origin, origin + canvas], 1)


def _suited(corners: NDArray[np.float32], windows: Floats, least_overlap: Sequence[float], chosen: float) -> Floats:
    """The first window that overlaps an object as far as is drawn from what some window does; or the whole image.

    Args:
        corners: objects, (k, 4); where there are none the image itself is one.
        windows: to choose from, (tries, 4).
        least_overlap: 1 is the whole image, and 0 asks for an object's centre only.
        chosen: 0 to 1: which overlap.
    """
    whole = np.array([0.0, 0.0, 1.0, 1.0])
    boxes = corners.astype(np.float64) if len(corners) else whole[None]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    holds = ((centre >= windows[:, None, :2]) & (centre < windows[:, None, 2:])).all(2)  # tries k
    best = np.where(holds, iou(windows, boxes), -1.0).max(1)
    possible = [least for least in least_overlap if least == 1.0 or least <= best.max()] or [1.0]
    least = possible[min(int(chosen * len(possible)), len(possible) - 1)]
    return whole if least == 1.0 else windows[int(np.argmax(best >= least))]


def _mosaic(four: int, side: int, resolution: int, flip: float, numbers: Floats) -> list[Piece]:
    """Four images around a point, each as large as it was, down to where its whole fits its quarter's longer side.

    Args:
        four: index of the first image.
        side: of the images, in pixels.
        resolution: of the square, in pixels.
        flip: probability of a mirrored image.
        numbers: of 0 to 1: the point, which image is where, and size, place and flip of each.
    """
    low, high = _CENTRE
    x, y = (round((low + (high - low) * number) * resolution) for number in numbers[:2])
    turn = int(numbers[2] * MOSAIC)
    pieces = []
    for k, quarter in enumerate(
        ((0, 0, x, y), (x, 0, resolution, y), (0, y, x, resolution), (x, y, resolution, resolution))
    ):
        zoom, across, down, mirrored = numbers[3 + 4 * k : 7 + 4 * k]
        sides = np.array([quarter[2] - quarter[0], quarter[3] - quarter[1]]) / resolution
        sides *= 1.0 + (1.0 / sides.max() - 1.0) * zoom
        corner = (1.0 - sides) * np.array([across, down])
        piece = windowed(four + (turn + k) % MOSAIC, np.concatenate([corner, corner + sides]) * side, side, quarter)
        pieces.append(mirror(piece, quarter) if mirrored < flip else piece)
    return pieces
