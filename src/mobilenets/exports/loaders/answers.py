"""What a parity pack expects of a model's outputs, and how far other outputs are from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.heads import Detections, detections_in, iou, masks_in
from mobilenets.outputs import BOXES, PROBABILITIES, Outputs

SURE = 0.3
"""Score of the boxes that must be found again: those below come and go with the last digit."""
OVERLAP = 0.9
"""Intersection over union from which a box is the same."""

Answer = NDArray[Any] | Detections
"""Class probabilities (classes,), a mask (h, w) of uint8, or boxes."""


def answers(outputs: Outputs, anchors: NDArray[np.float32] | None = None) -> list[Answer]:
    """What outputs say of each image.

    Args:
        outputs: see `mobilenets.outputs`.
        anchors: of a detector whose boxes are not made inside.
    """
    if BOXES in outputs:
        return list(detections_in(outputs, anchors))
    if PROBABILITIES in outputs and outputs[PROBABILITIES].ndim == 2:
        return list(outputs[PROBABILITIES])
    (values,) = outputs.values()
    return list(masks_in(outputs, [values.shape[-2:]] * len(values)))


def difference(expected: Answer, found: Answer) -> float:
    """Largest difference of probabilities; of masks, the part of the pixels that differs.

    Of boxes, the largest difference of scores between those that are sure and those that are the same, or all of the
    score where there is none.
    """
    if isinstance(expected, Detections):
        assert isinstance(found, Detections)
        return max(_scores_off(expected, found), _scores_off(found, expected))
    if expected.ndim == 2:
        return float((expected != found).mean())
    return float(np.abs(expected - np.asarray(found)).max())


def _scores_off(ones: Detections, others: Detections) -> float:
    sure = ones.scores >= SURE
    if not sure.any():
        return 0.0
    same = iou(ones.boxes[sure], others.boxes) >= OVERLAP
    same &= ones.classes[sure][:, None] == others.classes[None]
    scores = np.asarray(ones.scores[sure])
    off = np.where(same, np.abs(scores[:, None] - others.scores[None]), scores[:, None])
    return float(off.min(1, initial=np.inf).clip(max=scores).max())


def described(answer: Answer, classes: Sequence[str]) -> dict[str, Any]:
    """Plain JSON values of an answer; a mask is a file of its own."""

    def name(i: int) -> str:
        return classes[i] if classes else str(i)

    if isinstance(answer, Detections):
        rows = zip(answer.boxes.tolist(), answer.scores.tolist(), answer.classes.tolist(), strict=True)
        return {"detections": [{"label": name(c), "class": c, "score": s, "box": box} for box, s, c in rows]}
    if answer.ndim == 2:
        return {}
    order = np.argsort(-answer, kind="stable")[:5].tolist()
    return {
        "top": [{"label": name(i), "score": float(answer[i])} for i in order],
        "probabilities": [float(value) for value in answer],
    }
