"""What a model gives for a batch of images, by name: the contract of sessions and exported files."""

from __future__ import annotations

from typing import Any, Literal, assert_never

from numpy.typing import NDArray

from mobilenets.metrics import Task

PROBABILITIES = "probabilities"
"""Of classes: (n, classes), or of every pixel (n, classes, h, w)."""
BOXES = "boxes"
"""Raw, codes relative to the anchors (n, anchors, 4); else x0 y0 x1 y1 in parts of width and height (n, most, 4)."""
SCORES = "scores"
"""Raw, probabilities of every anchor's classes (n, anchors, classes); else of the boxes, best first (n, most)."""
CLASSES = "classes"
"""Class of each box, int64 (n, most)."""
COUNT = "count"
"""How many boxes of each image count, int64 (n,); what comes after them is zeros."""
MASK = "mask"
"""Class of each pixel, uint8 (n, h, w)."""

INSIDE = "postprocess"
"""Names of what a file computes behind its network begin with it."""

Outputs = dict[str, NDArray[Any]]

Postprocess = Literal["inside", "outside"]
"""Whether a detector's file decodes and suppresses boxes, and a segmenter's takes each pixel's class, or the caller."""


def output_names(task: Task, postprocess: Postprocess = "outside") -> tuple[str, ...]:
    """Names of a file's outputs, in its order."""
    match task:
        case "classify" | "multi-label":
            return (PROBABILITIES,)
        case "detect":
            return (BOXES, SCORES) if postprocess == "outside" else (BOXES, SCORES, CLASSES, COUNT)
        case "segment":
            return (PROBABILITIES,) if postprocess == "outside" else (MASK,)
        case _:
            assert_never(task)
