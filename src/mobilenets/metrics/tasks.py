"""The tasks, and what each one's metric is called."""

from __future__ import annotations

from typing import Literal

Task = Literal["classify", "multi-label", "detect", "segment"]
"""One class an image (softmax, accuracy), any number of them (sigmoids, mean average precision), boxes, or masks."""

METRICS: dict[str, str] = {"classify": "top1", "multi-label": "map", "detect": "ap", "segment": "miou"}
"""A task's metric, as files name it."""

SPOKEN: dict[str, str] = {"classify": "top-1", "multi-label": "mAP", "detect": "AP", "segment": "mIoU"}
"""A task's metric, as people name it."""
