"""Which anchor learns which box."""

from __future__ import annotations

from mobilenets.heads.boxes import Array, corners, iou, namespace, positions

BACKGROUND = -1
"""The match of an anchor that learns no box."""


def match(anchors: Array, boxes: Array, threshold: float = 0.5) -> Array:
    """The box that each anchor learns (SSD, arXiv 1512.02325, section 2.2): indices (anchors,), or `BACKGROUND`.

    Every box has the anchor that overlaps it best, and each other anchor the box that it overlaps best, from a
    threshold of intersection over union on.

    Args:
        anchors: (anchors, 4), centre x, centre y, width, height.
        boxes: (boxes, 4), x0, y0, x1, y1 in the anchors' units; there may be none.
        threshold: intersection over union.
    """
    xp = namespace(anchors)
    if len(boxes) == 0:
        return xp.full_like(anchors[:, 0], BACKGROUND, dtype=xp.int64)
    overlaps = iou(corners(anchors), boxes)
    learned = xp.where(xp.amax(overlaps, 1) >= threshold, overlaps.argmax(1), BACKGROUND)
    learned[overlaps.argmax(0)] = positions(boxes)
    return learned
