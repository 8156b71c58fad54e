"""Squares to train on: nearly those of `resize_crop`, in less time. Evaluation never uses them.

torch resizes bytes twice as fast as Pillow, to within one level of its result. Photos whose short side is four times
that of the square or more are decoded at a fraction of their size, to twice the square's side or more: 37 to 45 dB from
the exact square, and five times as fast for 12 megapixels (`python -m benchmarks loader`).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mobilenets.data.decode import decode
from mobilenets.data.sources import Source

__all__ = ["draft_square", "draft_stretched"]

_OVERSAMPLED = 2  # at 1.5 the squares are 35 dB from the exact ones, at 1 they are 31 dB


def draft_square(path: Source, size: int) -> NDArray[np.uint8]:
    """The centre square of an image at `size` pixels, antialiased, cut at whole pixels: uint8 s s 3.

    Raises:
        DataError: see `decode`.
    """
    image = decode(path, at_least_px=_OVERSAMPLED * size)
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _resized(np.ascontiguousarray(image[top : top + side, left : left + side]), size)


def draft_stretched(path: Source, size: int) -> NDArray[np.uint8]:
    """A whole image stretched to a square of `size` pixels, antialiased: uint8 s s 3.

    Raises:
        DataError: see `decode`.
    """
    return _resized(decode(path, at_least_px=_OVERSAMPLED * size), size)


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if image.shape[:2] == (size, size):
        return image
    # The batch's axis comes first: only then does torch see channels last, and keeps them so.
    x = torch.from_numpy(image)[None].permute(0, 3, 1, 2)  # 1 c h w
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
