"""Mixing images and labels of a batch in pairs: MixUp (arXiv:1710.09412) and CutMix (arXiv:1905.04899)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator, Tensor

__all__ = ["mix"]


def mix(images: Tensor, labels_onehot: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """MixUp or CutMix, one of them for the whole batch, as likely as the other.

    Each image is blended with another, or has a rectangle of another, and so has its label. The share of the first is
    drawn from Beta(alpha, alpha), once a batch; for CutMix it is corrected to the rectangle's pixels.

    Args:
        images: float n c h w.
        labels_onehot: float n k, rows that sum to 1.
        alpha: 0 mixes nothing; 0.2 mostly leaves one image dominant, 1 takes all shares alike.
        generator: the only source of randomness.

    Shapes: n c h w and n k, as given; the inputs stay as they are.
    """
    if alpha <= 0.0:
        return images, labels_onehot
    # Torch's Beta takes no generator: draw a seed from it for NumPy's.
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    random = np.random.default_rng(seed)
    share = float(random.beta(alpha, alpha))
    order = torch.from_numpy(random.permutation(len(images))).to(images.device)
    if random.random() < 0.5:
        mixed = images.lerp(images[order], 1.0 - share)
    else:
        mixed, share = _cut(images, order, share, random)
    return mixed, labels_onehot.lerp(labels_onehot[order], 1.0 - share)


def _cut(images: Tensor, order: Tensor, share: float, random: np.random.Generator) -> tuple[Tensor, float]:
    """Paste one rectangle, about `1 - share` of the area, from the images in another order; gives the true share."""
    height, width = images.shape[2:]
    side = math.sqrt(1.0 - share)
    centre_y, centre_x = random.uniform(0, height), random.uniform(0, width)
    top, bottom = _span(centre_y, side * height, height)
    left, right = _span(centre_x, side * width, width)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
    return mixed, 1.0 - (bottom - top) * (right - left) / (height * width)


def _span(centre: float, length: float, limit: int) -> tuple[int, int]:
    return max(0, round(centre - length / 2)), min(limit, round(centre + length / 2))
