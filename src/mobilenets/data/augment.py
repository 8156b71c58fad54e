"""Augmentation of whole batches of squares, at any resolution.

Crop, scale, aspect ratio, shift, turn and flip are one affine map per image, sampled for many images at once; colour
is one 3x3 matrix and one offset per image. Each batch may have its own resolution. On processors, maps that neither
turn nor shift are boxes of pixels, which threads resize as bytes: three times as fast as sampling floats.
"""

from __future__ import annotations

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from mobilenets.data.draws import Draws
from mobilenets.data.mixing import mix
from mobilenets.data.randaugment import randaugment
from mobilenets.errors import MisuseError
from mobilenets.preprocessing import Interpolation

__all__ = ["DEFAULT", "LIGHT", "NONE", "RANDOM", "STRONG", "Augmentation", "augment", "mix", "plain"]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in JPEG
_ALIASING = 1.5  # pixels of the source per pixel of the target from which bilinear sampling would skip some
_CHUNK = 16  # images at a time: their floats stay in the processor's cache, twice as fast as 128 at once
_ERASED_AREA = (0.02, 0.25)
_ERASED_RATIO = (0.5, 2.0)

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is drawn anew for each image.

    Attributes:
        flip: probability of a mirrored image.
        scale: range of the crop's area, as part of the image.
        ratio: range of the crop's width / height.
        translate: largest shift in either direction, as part of the image's side; beyond its edges it is reflected.
        rotate: largest turn in either direction, in degrees.
        brightness: largest relative change of brightness.
        contrast: largest relative change of contrast, about the image's mean grey.
        saturation: largest relative change of saturation.
        erase: probability of a rectangle (2 to 25 % of the area) filled with one random colour.
        randaugment: operations of RandAugment an image, on top.

    Raises:
        MisuseError: a value is out of its range.
    """

    flip: float = 0.5
    scale: Range = (0.5, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    translate: float = 0.0
    rotate: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    erase: float = 0.0
    randaugment: int = 0

    def __post_init__(self) -> None:
        for name in ("flip", "translate", "brightness", "contrast", "saturation", "erase"):
            if not 0.0 <= (value := getattr(self, name)) <= 1.0:
                raise MisuseError(f"augmentation: {name} is {value}; it must be 0 to 1.")
        if not 0.0 < self.scale[0] <= self.scale[1] <= 1.0:
            raise MisuseError(f"augmentation: scale is {self.scale}; it must be a range above 0, up to 1.")
        if not 0.0 < self.ratio[0] <= self.ratio[1]:
            raise MisuseError(f"augmentation: ratio is {self.ratio}; it must be a range above 0, such as (0.75, 1.33).")
        if not 0.0 <= self.rotate <= 180.0:
            raise MisuseError(f"augmentation: rotate is {self.rotate} degrees; it must be 0 to 180.")

    @property
    def warps(self) -> bool:
        """Whether pixels move by anything but a flip."""
        return self.scale != (1.0, 1.0) or self.ratio != (1.0, 1.0) or self.translate > 0 or self.rotate > 0

    @property
    def recolours(self) -> bool:
        """Whether brightness, contrast or saturation change."""
        return max(self.brightness, self.contrast, self.saturation) > 0


NONE = Augmentation(flip=0.0, scale=(1.0, 1.0), ratio=(1.0, 1.0), brightness=0.0, contrast=0.0, saturation=0.0)
"""Nothing: `augment` equals `plain`."""

LIGHT = Augmentation(scale=(0.85, 1.0), ratio=(1.0, 1.0), translate=0.06, brightness=0.1, contrast=0.1, saturation=0.1)
"""For short trainings and small networks, which underfit."""

DEFAULT = Augmentation()
"""For fine-tuning."""

STRONG = Augmentation(
    scale=(0.25, 1.0), translate=0.05, rotate=10.0, brightness=0.4, contrast=0.4, saturation=0.4, erase=0.25
)
"""For long trainings on few images."""

RANDOM = Augmentation(
    scale=(0.35, 1.0), brightness=0.0, contrast=0.0, saturation=0.0, erase=0.25, randaugment=2
)  # fmt: skip
"""RandAugment, crops and erasing: for long trainings on many images."""


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
    x = _resized(images, side, interpolation)[:, :, first : first + resolution, first : first + resolution]
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
    base = int(torch.randint(2**62, (), generator=generator))
    step = _CHUNK if images.device.type == "cpu" else 8 * _CHUNK
    for group in range(first // step, -(-(first + n) // step)):
        start, stop = max(group * step, first), min((group + 1) * step, first + n)
        draws = Draws(Generator().manual_seed(base + group), start - group * step, stop - group * step, step)
        part = slice(start - first, stop - first)
        _augment_into(out[part], images[part], settings, draws)
    return out


def _augment_into(out: Tensor, images: Tensor, settings: Augmentation, draws: Draws) -> None:
    """Squares n s s c -> n c r r in [0, 1]."""
    resolution = out.shape[3]
    if settings.warps:
        x = _warped(images, resolution, settings, draws)  # n c r r in [0, 255]
    else:
        x = _flipped(_resized(images, resolution), settings.flip, draws)
    if settings.recolours:
        torch.clamp(_recoloured(x.float().contiguous(), settings, draws), 0.0, 1.0, out=out)
    else:
        out.copy_(x).div_(255.0)
    if settings.randaugment:
        out.copy_(randaugment(out, settings.randaugment, draws))
    if settings.erase > 0:
        out.copy_(_erased(out, settings.erase, draws))


def _resized(images: Tensor, resolution: int, interpolation: Interpolation = "bilinear") -> Tensor:
    """Squares n s s c -> n c r r in [0, 255]: uint8 on processors, where that is many times faster than float."""
    x = images.permute(0, 3, 1, 2)
    if tuple(x.shape[2:]) == (resolution, resolution):
        return x
    if x.device.type != "cpu":
        x = x.float()
    return F.interpolate(x, (resolution, resolution), mode=interpolation, antialias=True)


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
    source = _resized(images, size).contiguous().float()
    grid = _grid(theta, resolution)
    return F.grid_sample(source, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _boxes_resized(images: Tensor, theta: Tensor, resolution: int) -> Tensor:
    """Crop, scale and flip to the nearest pixel of the source, antialiased: uint8 n s s c -> n c r r, channels last."""
    side, centre = images.shape[1], theta[:, :, 2]
    half = torch.stack([theta[:, 0, 0].abs(), theta[:, 1, 1]], dim=1)
    first = ((centre - half + 1.0) * (side / 2)).round().int().clamp(0, side - 1)  # n 2
    last = torch.maximum(((centre + half + 1.0) * (side / 2)).round().int(), first + 1).clamp(max=side)
    source, mirrored = images.numpy(), (theta[:, 0, 0] < 0).tolist()
    boxes = torch.cat([first, last], dim=1).tolist()
    out = np.empty((len(images), resolution, resolution, images.shape[3]), np.uint8)

    def fill(indices: range) -> None:
        for i in indices:
            left, top, right, bottom = boxes[i]
            box = torch.from_numpy(np.ascontiguousarray(source[i, top:bottom, left:right]))
            resized = _resized(box[None], resolution)[0].permute(1, 2, 0).numpy()
            out[i] = resized[:, ::-1] if mirrored[i] else resized

    threads = torch.get_num_threads()
    if threads == 1:
        fill(range(len(images)))
    else:
        list(_pool(threads).map(fill, (range(k, len(images), threads) for k in range(threads))))
    return torch.from_numpy(out).permute(0, 3, 1, 2)


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="augment")


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


def _recoloured(x: Tensor, settings: Augmentation, draws: Draws) -> Tensor:
    """Brightness, contrast, saturation: [0, 255] -> about [0, 1], not clamped.

    All three are linear in a pixel's channels once the image's mean grey is known: one matrix and one offset.
    """
    n = len(x)
    bright, contrast, saturation = (
        _uniform(n, 1.0 - most, 1.0 + most, draws).to(x.device)[:, None, None]
        for most in (settings.brightness, settings.contrast, settings.saturation)
    )
    channels = x.shape[1]
    luma = torch.tensor(_LUMA if channels == 3 else (1 / channels,) * channels, device=x.device)
    grey = (x.mean(dim=(2, 3)) @ luma)[:, None, None]  # n 1 1
    mixing = saturation * torch.eye(channels, device=x.device) + (1.0 - saturation) * luma.expand(
        channels, channels
    )  # n c c
    offset = (1.0 - contrast) * bright * grey / 255.0
    return torch.baddbmm(offset, mixing * (bright * contrast / 255.0), x.flatten(2)).view_as(x)


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
