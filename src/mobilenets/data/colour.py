"""Brightness, contrast and saturation of a batch: one matrix and one offset per image."""

from __future__ import annotations

import torch
from torch import Tensor

from mobilenets.data.augmentation import Augmentation
from mobilenets.data.draws import Draws

__all__ = ["finish"]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in JPEG


def finish(x: Tensor, settings: Augmentation, draws: Draws, out: Tensor) -> None:
    """Images of [0, 255] into `out`, recoloured where that is wanted: n c r r -> n c r r in [0, 1].

    All three are linear in a pixel's channels once the image's mean grey is known. With channels last that is a product
    of all pixels and a small matrix, three times as fast as one with all pixels of a channel side by side.

    Args:
        x: the images.
        settings: what is drawn.
        draws: numbers for these images.
        out: float, channels last in memory.
    """
    if not settings.recolours:
        out.copy_(x).div_(255.0)
        return
    bright, contrast, saturation = (
        draws.uniform(len(x), 1.0 - most, 1.0 + most).to(x.device)[:, None, None]
        for most in (settings.brightness, settings.contrast, settings.saturation)
    )
    channels = x.shape[1]
    luma = torch.tensor(_LUMA if channels == 3 else (1 / channels,) * channels, device=x.device)
    pixels = x.permute(0, 2, 3, 1).flatten(1, 2).float()  # n rr c
    grey = (pixels.mean(1) @ luma)[:, None, None]  # n 1 1
    mixing = saturation * torch.eye(channels, device=x.device) + (1.0 - saturation) * luma.expand(
        channels, channels
    )  # n c c
    target = out.permute(0, 2, 3, 1).flatten(1, 2)  # a view: channels are last in memory
    torch.bmm(pixels, (mixing * (bright * contrast / 255.0)).mT, out=target)
    target.add_((1.0 - contrast) * bright * grey / 255.0).clamp_(0.0, 1.0)
