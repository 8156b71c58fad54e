"""Augmentation of squares with masks: random scale and place, flips, colour."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from mobilenets.data.augmentation import Augmentation
from mobilenets.data.colour import finish
from mobilenets.data.draws import Draws, groups
from mobilenets.data.pieces import Piece, draw, draw_masks, mirror, windowed

__all__ = ["augment_masks"]

_CHUNK = 16  # images at a time


def augment_masks(
    images: Tensor, masks: Tensor, resolution: int, settings: Augmentation, generator: Generator, *, first: int = 0
) -> tuple[Tensor, Tensor]:
    """A batch of stretched squares and their masks, augmented. The same state of the generator gives the same batch.

    Images are antialiased, masks take the nearest pixel; beyond the image a mask is `IGNORED`. How much larger an image
    becomes is drawn evenly: from 1 / `expand` (or, without, the largest crop) to what the smallest crop makes of it.

    Args:
        images: the squares.
        masks: class of each pixel.
        resolution: of the result.
        settings: what is drawn; see `Augmentation.need_windows`.
        generator: the only source of randomness.
        first: place of the first image in a larger batch that several processes share: each image is drawn as it
            would be in the whole.

    Shapes: uint8 n s s c and n s s -> float n c r r in [0, 1], channels last in memory, and int64 n r r.

    Raises:
        MisuseError: the settings move pixels in a way that masks do not follow.
    """
    settings.need_windows()
    n, size, whole = len(images), (resolution, resolution), (0, 0, resolution, resolution)
    out = torch.empty(n, images.shape[3], *size, device=images.device, memory_format=torch.channels_last)
    drawn = np.empty((n, *size), np.uint8)
    source, side = masks.cpu().numpy(), images.shape[1]
    for part, draws in groups(n, first, _CHUNK, generator):
        windows = _windows(part.stop - part.start, settings, draws) * side
        pieces = [windowed(i, window, side, whole) for i, window in enumerate(windows)]
        plan = [[piece] for piece in _flipped(pieces, settings.flip, draws, resolution)]
        finish(draw(images[part], plan, resolution).to(images.device), settings, draws, out[part])
        drawn[part] = draw_masks(source[part], plan, resolution)
    return out, torch.from_numpy(drawn).to(images.device).long()


def _windows(n: int, settings: Augmentation, draws: Draws) -> NDArray[np.float64]:
    """Windows in parts of the image, within it or beyond: (n, 4)."""
    smallest, largest = (math.sqrt(area) for area in settings.scale)
    if settings.expand > 1.0:
        largest = settings.expand
    length = 1.0 / draws.uniform(n, 1.0 / largest, 1.0 / smallest).double().numpy()
    stretch = np.exp(draws.uniform(n, *(math.log(ratio) for ratio in settings.ratio)).double().numpy() / 2)
    sides = np.stack([length * stretch, length / stretch], 1)
    low = (1.0 - sides) * draws.uniform(n * 2, 0.0, 1.0).view(n, 2).double().numpy()
    return np.concatenate([low, low + sides], 1)


def _flipped(pieces: list[Piece], probability: float, draws: Draws, resolution: int) -> list[Piece]:
    mirrored = (draws.uniform(len(pieces), 0.0, 1.0) < probability).tolist()
    whole = (0, 0, resolution, resolution)
    return [mirror(piece, whole) if flip else piece for piece, flip in zip(pieces, mirrored, strict=True)]
