"""From a detector's outputs to boxes: the best scores, decoded, without those that overlap a better one of their class.

Exact greedy non-maximum suppression, for a whole batch at once, without torchvision. NumPy or torch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mobilenets.heads.boxes import Array, decode, iou, namespace, positions

MOST = 100
"""Detections of an image."""
CANDIDATES = 400
"""Pairs of anchor and class of an image that are looked at, the best ones."""


class Detections(NamedTuple):
    """What was found in one image, best first; `boxes` (k, 4) are x0 y0 x1 y1 in parts of its width and height."""

    boxes: Array
    scores: Array
    classes: Array


def detections(
    codes: Array,
    scores: Array,
    anchors: Array,
    *,
    score: float = 0.05,
    overlap: float = 0.6,
    most: int = MOST,
    candidates: int = CANDIDATES,
) -> list[Detections]:
    """Detections of each image of a batch.

    Args:
        codes: encoded boxes, (n, anchors, 4).
        scores: probabilities, (n, anchors, classes).
        anchors: (anchors, 4); see `anchors`.
        score: the least that counts.
        overlap: intersection over union with a better box of the same class from which a box is dropped.
        most: detections of an image.
        candidates: pairs of anchor and class of an image that are looked at, the best ones.
    """
    classes = scores.shape[-1]
    flat = scores.reshape(len(scores), -1)
    at = _largest(flat, min(candidates, flat.shape[1]))
    image = positions(scores)[:, None]
    best, labels, place = flat[image, at], at % classes, at // classes
    boxes = decode(codes[image, place], anchors[place]).clip(0, 1)
    kept = suppress(boxes, labels, overlap) & (best >= score)
    return [
        Detections(boxes[i][kept[i]][:most], best[i][kept[i]][:most], labels[i][kept[i]][:most])
        for i in range(len(scores))
    ]


def suppress(boxes: Array, classes: Array, overlap: float) -> Array:
    """Which boxes stay: true where no better one of the same class, which itself stays, overlaps by more.

    The decision over the first i boxes depends on those before only, so repeating it for all boxes at once ends, mostly
    after a few rounds, in what the greedy walk gives.

    Shapes: boxes (n, k, 4), best first; classes (n, k); result bool (n, k).
    """
    xp = namespace(boxes)
    rivals = xp.triu((iou(boxes, boxes) > overlap) & (classes[:, :, None] == classes[:, None, :]), 1)
    kept = xp.ones_like(classes, dtype=xp.bool)
    while True:
        now = ~(rivals & kept[:, :, None]).any(1)
        if bool((now == kept).all()):
            return kept
        kept = now


def _largest(values: Array, count: int) -> Array:
    """Indices of the largest values of each row, largest first."""
    if not isinstance(values, np.ndarray):
        return values.topk(count, 1).indices
    some = np.argpartition(-values, count - 1, 1)[:, :count]
    order = np.argsort(-np.take_along_axis(values, some, 1), 1, kind="stable")
    return np.take_along_axis(some, order, 1)
