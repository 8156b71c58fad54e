"""Augmentation of whole batches of squares, at any resolution.

Crop, scale, aspect ratio, shift, turn and flip are one affine map per image, sampled for many images at once; colour
is one 3x3 matrix and one offset per image. Each batch may have its own resolution. On processors, maps that neither
turn nor shift are boxes of pixels, which threads resize as bytes: three times as fast as sampling floats.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from mobilenets.data.augmentation import (
    BOXES,
    DEFAULT,
    LIGHT,
    LIGHT_BOXES,
    LIGHT_MASKS,
    MASKS,
    NONE,
    RANDOM,
    STRONG,
    Augmentation,
)
from mobilenets.data.colour import finish
from mobilenets.data.draws import Draws, groups
from mobilenets.data.mixing import mix
from mobilenets.data.pieces import Piece, draw, resized
from mobilenets.data.randaugment import randaugment
from mobilenets.preprocessing import Interpolation

__all__ = [
    "BOXES",
    "DEFAULT",
    "LIGHT",
    "LIGHT_BOXES",
    "LIGHT_MASKS",
    "MASKS",
    "NONE",
    "RANDOM",
    "STRONG",
    "Augmentation",
    "augment",
    "mix",
    "plain",
]

_ALIASING = 1.5  # pixels of the source per pixel of the target from which bilinear sampling would skip some
_CHUNK = 16  # images at a time: their floats stay in the processor's cache, twice as fast as 128 at once
_ERASED_AREA = (0.02, 0.25)
_ERASED_RATIO = (0.5, 2.0)


def plain(images: Tensor, resolution: int, *, crop: float = 1.0, interpolation: Interpolation = "bilinear") -> Tensor:
    """Squares at a resolution, the way of evaluation: within rounding of Pillow's antialiased filters.

    Args:
        images: squares that hold everything of the short side.
        resolution: of the result.
        crop: part of the side that is kept, to half a pixel.
        interpolation: of the resizing.

    Shapes: uint8 n s s c -> float n c r r in [0, 1], channels last in memory.
    """
    side = round(resolution / crop)
    first = (side - resolution) // 2
    x = resized(images, (side, side), interpolation)[:, :, first : first + resolution, first : first + resolution]
    return x.float().div_(255.0).contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, resolution: int, settings: Augmentation, generator: Generator, *, first: int = 0) -> Tensor:
    """A batch of squares, augmented, at a resolution. The same state of the generator gives the same batch.

    Args:
        images: the squares.
        resolution: of the result.
        settings: what is drawn.
        generator: the only source of randomness.
        first: place of the first image in a larger batch that several processes share: each image is drawn as it
            would be in the whole.

    Shapes: uint8 n s s c -> float n c r r in [0, 1], channels last in memory.
    """
    n, size = len(images), (resolution, resolution)
    out = torch.empty(n, images.shape[3], *size, device=images.device, memory_format=torch.channels_last)
    step = _CHUNK if images.device.type == "cpu" else 8 * _CHUNK
    for part, draws in groups(n, first, step, generator):
        _augment_into(out[part], images[part], settings, draws)
    return out


def _augment_into(out: Tensor, images: Tensor, settings: Augmentation, draws: Draws) -> None:
    """Squares n s s c -> n c r r in [0, 1]."""
    resolution = out.shape[3]
    if settings.warps:
        x = _warped(images, resolution, settings, draws)  # n c r r in [0, 255]
    else:
        x = _flipped(resized(images, (resolution, resolution)), settings.flip, draws)
    finish(x, settings, draws, out)
    if settings.randaugment:
        out.copy_(randaugment(out, settings.randaugment, draws))
    if settings.erase > 0:
        out.copy_(_erased(out, settings.erase, draws))


def _flipped(x: Tensor, probability: float, draws: Draws) -> Tensor:
    if probability == 0.0:
        return x
    mirrored = _uniform(len(x), 0.0, 1.0, draws).to(x.device) < probability
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _warped(images: Tensor, resolution: int, settings: Augmentation, draws: Draws) -> Tensor:
    """Crop, scale, shift, turn and flip: n s s c -> n c r r in [0, 255]."""
    theta = _affine(len(images), settings, draws).to(images.device)
    if images.device.type == "cpu" and not settings.rotate and not settings.translate:
        return _boxes_resized(images, theta, resolution)
    size, typical = images.shape[1], math.sqrt(sum(settings.scale) / 2)
    if size * typical > _ALIASING * resolution:
        size = math.ceil(resolution / typical)  # a typical crop then has the target's size
    source = resized(images, (size, size)).contiguous().float()
    grid = _grid(theta, resolution)
    return F.grid_sample(source, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _boxes_resized(images: Tensor, theta: Tensor, resolution: int) -> Tensor:
    """Crop, scale and flip to the nearest pixel of the source, antialiased: uint8 n s s c -> n c r r, channels last."""
    side, centre = images.shape[1], theta[:, :, 2]
    half = torch.stack([theta[:, 0, 0].abs(), theta[:, 1, 1]], dim=1)
    first = ((centre - half + 1.0) * (side / 2)).round().int().clamp(0, side - 1)  # n 2
    last = torch.maximum(((centre + half + 1.0) * (side / 2)).round().int(), first + 1).clamp(max=side)
    boxes = torch.cat([first, last], dim=1).tolist()
    mirrored, whole = (theta[:, 0, 0] < 0).tolist(), (0, 0, resolution, resolution)
    plan = [[Piece(i, (x0, y0, x1, y1), whole, mirrored[i])] for i, (x0, y0, x1, y1) in enumerate(boxes)]
    return draw(images, plan, resolution)


def _affine(n: int, settings: Augmentation, draws: Draws) -> Tensor:
    """Draw maps from target to source in coordinates of [-1, 1]: n 2 3."""
    area = _uniform(n, *settings.scale, draws)
    stretch = _uniform(n, math.log(settings.ratio[0]), math.log(settings.ratio[1]), draws).exp().sqrt()
    width, height = (area.sqrt() * stretch).clamp(max=1.0), (area.sqrt() / stretch).clamp(max=1.0)
    x, y = ((1.0 - side) * _uniform(n, -1.0, 1.0, draws) for side in (width, height))
    x, y = (at + 2.0 * settings.translate * _uniform(n, -1.0, 1.0, draws) for at in (x, y))
    angle = math.radians(settings.rotate) * _uniform(n, -1.0, 1.0, draws)
    mirrored = _uniform(n, 0.0, 1.0, draws) < settings.flip
    across = torch.where(mirrored, -width, width)
    rows = [across * angle.cos(), -height * angle.sin(), x, across * angle.sin(), height * angle.cos(), y]
    return torch.stack(rows, dim=1).view(n, 2, 3)


def _grid(theta: Tensor, resolution: int) -> Tensor:
    """Where each target pixel lies in the source: n 2 3 -> n r r 2.

    `F.affine_grid` without its matrix product over all pixels, which takes several times as long.
    """
    steps = (torch.arange(resolution, device=theta.device) * 2.0 + 1.0) / resolution - 1.0
    along, down = theta[:, :, :1] * steps, theta[:, :, 1:2] * steps + theta[:, :, 2:]  # n 2 r
    grid = theta.new_empty(len(theta), resolution, resolution, 2)
    for axis in range(2):
        torch.add(down[:, axis, :, None], along[:, axis, None, :], out=grid[..., axis])
    return grid


def _erased(x: Tensor, probability: float, draws: Draws) -> Tensor:
    n, size = len(x), x.shape[-1]
    area = _uniform(n, *_ERASED_AREA, draws)
    stretch = _uniform(n, math.log(_ERASED_RATIO[0]), math.log(_ERASED_RATIO[1]), draws).exp().sqrt()
    chosen = _uniform(n, 0.0, 1.0, draws) < probability
    steps = (torch.arange(size) + 0.5) / size
    inside = []
    for side in ((area.sqrt() * stretch), (area.sqrt() / stretch)):
        first = (1.0 - side) * _uniform(n, 0.0, 1.0, draws)
        inside.append((steps >= first[:, None]) & (steps < (first + side)[:, None]))  # n r
    across, down = inside
    mask = (chosen[:, None, None] & down[:, :, None] & across[:, None, :])[:, None]  # n 1 r r
    colour = _uniform(n * x.shape[1], 0.0, 1.0, draws).view(n, -1, 1, 1)
    return torch.where(mask.to(x.device), colour.to(x.device), x)


def _uniform(n: int, low: float, high: float, draws: Draws) -> Tensor:
    return draws.uniform(n, low, high)
