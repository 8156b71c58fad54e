"""RandAugment (arXiv:1909.13719): a few operations an image, drawn from fourteen, all at one magnitude."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mobilenets.data.draws import Draws

__all__ = ["OPERATIONS", "randaugment"]

_LUMA = (0.299, 0.587, 0.114)
_SHARPEN = ((1.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 1.0))  # Pillow's SMOOTH filter, over 13


def randaugment(images: Tensor, operations: int, draws: Draws, *, magnitude: float = 0.5) -> Tensor:
    """Each image through some operations, drawn for each anew.

    Args:
        images: float n c h w in [0, 1]; stays as it is.
        operations: how many an image.
        draws: the only source of randomness.
        magnitude: 0 to 1, of the paper's largest; each operation goes in the one or the other direction.

    Shapes: n c h w, as given.
    """
    x = images.clone()
    names = list(OPERATIONS)
    for _ in range(operations):
        drawn = draws.integers(len(names))
        sign = (draws.integers(2) * 2 - 1).to(x)
        for k, name in enumerate(names):
            chosen = (drawn == k).nonzero().flatten().to(x.device)
            if len(chosen):
                x[chosen] = OPERATIONS[name](x[chosen], sign[chosen] * magnitude).clamp_(0.0, 1.0)
    return x


def _blend(degenerate: Tensor, x: Tensor, m: Tensor) -> Tensor:
    """Away from a degenerate image, or towards it: factor 0.1 to 1.9."""
    return degenerate + (x - degenerate) * (1 + 0.9 * m).view(-1, 1, 1, 1)


def _grey(x: Tensor) -> Tensor:
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * x.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _sharpness(x: Tensor, m: Tensor) -> Tensor:
    kernel = (x.new_tensor(_SHARPEN) / 13).expand(x.shape[1], 1, 3, 3)
    return _blend(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1]), x, m)


def _autocontrast(x: Tensor, _: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def _equalize(x: Tensor, _: Tensor) -> Tensor:
    """Each channel's values spread evenly, by its histogram of 256 bins."""
    bins = (x * 255).round().long().flatten(2)  # n c hw
    counts = torch.zeros(*x.shape[:2], 256, device=x.device).scatter_add_(2, bins, torch.ones_like(x).flatten(2))
    below = counts.cumsum(2)
    first = below.gather(2, bins.amin(2, keepdim=True))
    spread = (below - first) / (below[..., -1:] - first).clamp(min=1.0)
    return spread.gather(2, bins).view_as(x)


def _posterize(x: Tensor, m: Tensor) -> Tensor:
    levels = 2 ** (8 - (4 * m.abs()).round()).view(-1, 1, 1, 1)  # 4 to 8 bits
    return (x * 255 / 256 * levels).floor() / (levels - 1)


def _solarize(x: Tensor, m: Tensor) -> Tensor:
    return torch.where(x > (1 - m.abs()).view(-1, 1, 1, 1), 1 - x, x)


def _moved(x: Tensor, rows: list[Tensor]) -> Tensor:
    """Through an affine map of coordinates in [-1, 1], given by its six entries; grey beyond the edges."""
    theta = torch.stack(rows, 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x - 0.5, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + 0.5


def _rotate(x: Tensor, m: Tensor) -> Tensor:
    angle, zero = m * math.radians(30), torch.zeros_like(m)
    return _moved(x, [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero])


def _shear_x(x: Tensor, m: Tensor) -> Tensor:
    one, zero = torch.ones_like(m), torch.zeros_like(m)
    return _moved(x, [one, 0.3 * m, zero, zero, one, zero])


def _shear_y(x: Tensor, m: Tensor) -> Tensor:
    one, zero = torch.ones_like(m), torch.zeros_like(m)
    return _moved(x, [one, zero, zero, 0.3 * m, one, zero])


def _translate_x(x: Tensor, m: Tensor) -> Tensor:
    one, zero = torch.ones_like(m), torch.zeros_like(m)
    return _moved(x, [one, zero, 0.9 * m, zero, one, zero])  # 0.45 of the width


def _translate_y(x: Tensor, m: Tensor) -> Tensor:
    one, zero = torch.ones_like(m), torch.zeros_like(m)
    return _moved(x, [one, zero, zero, zero, one, 0.9 * m])


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "identity": lambda x, _: x,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "saturation": lambda x, m: _blend(_grey(x).expand_as(x), x, m),
    "posterize": _posterize,
    "contrast": lambda x, m: _blend(_grey(x).mean((2, 3), keepdim=True).expand_as(x), x, m),
    "brightness": lambda x, m: _blend(torch.zeros_like(x), x, m),
    "sharpness": _sharpness,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""Operations by name: images n c h w and signed magnitudes n -> images, clamped afterwards."""
