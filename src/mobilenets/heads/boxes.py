"""Boxes and their coder. Every function takes arrays of NumPy or of torch and gives back the same."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
"""An array of NumPy or a tensor of torch."""

POSITION, SIZE = 10.0, 5.0
"""TF's box coder: centres times 10, logs of sizes times 5; SSD's variances 0.1 and 0.2 are the same."""


def namespace(values: Array) -> Any:
    """The module whose functions an array wants: NumPy or torch."""
    if isinstance(values, np.ndarray):
        return np
    import torch

    return torch


def positions(values: Array) -> Array:
    """0, 1, 2, ... along the first axis, on the values' device."""
    xp = namespace(values)
    ones = xp.ones_like(values.reshape(len(values), -1)[:, 0], dtype=xp.int64)
    return xp.cumsum(ones, 0) - 1


def corners(centred: Array) -> Array:
    """Centre x, centre y, width, height to x0, y0, x1, y1: (..., 4)."""
    centre, half = centred[..., :2], centred[..., 2:] / 2
    return namespace(centred).concatenate((centre - half, centre + half), -1)


def encode(boxes: Array, anchors: Array) -> Array:
    """Boxes (..., 4) x0 y0 x1 y1 relative to their anchors, as a detector gives them; both in the same units."""
    xp = namespace(boxes)
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    place = (centre - anchors[..., :2]) / anchors[..., 2:] * POSITION
    return xp.concatenate((place, xp.log(size / anchors[..., 2:]) * SIZE), -1)


def decode(codes: Array, anchors: Array) -> Array:
    """Encoded boxes (..., 4) to x0, y0, x1, y1 in the anchors' units."""
    xp = namespace(codes)
    centre = codes[..., :2] / POSITION * anchors[..., 2:] + anchors[..., :2]
    return corners(xp.concatenate((centre, xp.exp(codes[..., 2:] / SIZE) * anchors[..., 2:]), -1))


def iou(first: Array, second: Array) -> Array:
    """Intersection over union of every pair; 0 without area.

    Shapes: (..., n, 4) and (..., m, 4), x0 y0 x1 y1, to (..., n, m).
    """
    xp = namespace(first)
    a, b = first[..., :, None, :], second[..., None, :, :]
    sides = (xp.minimum(a[..., 2:], b[..., 2:]) - xp.maximum(a[..., :2], b[..., :2])).clip(min=0)
    shared = sides[..., 0] * sides[..., 1]
    union = _area(a) + _area(b) - shared
    return shared / union.clip(min=1e-12)


def _area(boxes: Array) -> Array:
    return (boxes[..., 2] - boxes[..., 0]).clip(min=0) * (boxes[..., 3] - boxes[..., 1]).clip(min=0)
