"""Asking a model about images: classes, boxes or masks, as it gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError
from mobilenets.heads import MOST, Detections, detections_in, masks_in
from mobilenets.metrics import Task
from mobilenets.outputs import PROBABILITIES, Outputs
from mobilenets.prediction.answers import anchors_of
from mobilenets.prediction.found import Detection, Prediction, named, regions
from mobilenets.prediction.loading import Seen
from mobilenets.prediction.predictor import Predictor

LIKELY = 0.5
"""Probability from which an image has a class, where it may have several, and from which a box is shown."""
TOP = 5
"""Classes that are listed for an image."""

FEATURES = "features"
"""Among the outputs of a model that was asked for a node's values: float32 n c."""

Ask = Callable[[Sequence[Path], Sequence[Seen]], list[Prediction]]
"""From files and what the network sees of them to what it says."""
Read = Callable[[Sequence[Path], Sequence[Seen], Outputs], list[Prediction]]
"""From files, their sizes and the network's outputs to what it says."""


def asking(predictor: Predictor, top: int | None = None, score: float | None = None) -> Ask:
    """What asks a model about a batch of images.

    Args:
        predictor: the model.
        top: classes listed for an image (5), or boxes shown of it (100).
        score: least score of a box that is shown (0.5).

    Raises:
        MisuseError: `top` below 1, a score that is no probability, or either for a model without such a thing.
    """
    read = reading(predictor, top, score)

    def ask(paths: Sequence[Path], batch: Sequence[Seen]) -> list[Prediction]:
        outputs = predictor.outputs(np.stack([each.square for each in batch]))
        found = read(paths, batch, outputs)
        if FEATURES not in outputs:
            return found
        rows = outputs[FEATURES].tolist()
        return [replace(each, features=tuple(row)) for each, row in zip(found, rows, strict=True)]

    return ask


def reading(predictor: Predictor, top: int | None = None, score: float | None = None) -> Read:
    """What reads the outputs of a batch of images; see `asking`."""
    check_asked(predictor.task, top, score)
    match predictor.task:
        case "classify" | "multi-label":
            return _classes(predictor, top or TOP)
        case "detect":
            return _boxes(predictor, top or MOST, LIKELY if score is None else score)
        case "segment":
            return _masks(predictor)


def check_asked(task: Task, top: int | None, score: float | None) -> None:
    """Refuse what cannot be asked of a model; see `asking`."""
    if top is not None and top < 1:
        raise MisuseError(f"`top` (={top}) must be at least 1.")
    if score is not None and not 0.0 <= score <= 1.0:
        raise MisuseError(f"`score` (={score}) is a probability: it must be between 0 and 1.")
    if score is not None and task != "detect":
        raise MisuseError(
            f"`score` (={score}) is the least score of a box, and this model gives no boxes: leave it out."
        )
    if top is not None and task == "segment":
        raise MisuseError(f"`top` (={top}) counts classes or boxes, and this model gives a mask: leave it out.")


def unreadable(path: Path, why: str, task: Task) -> Prediction:
    """The entry of a file that cannot be read."""
    return Prediction(
        path, None, None, error=why,
        detections=() if task == "detect" else None, regions=() if task == "segment" else None,
    )  # fmt: skip


def _classes(predictor: Predictor, top: int) -> Read:
    def read(paths: Sequence[Path], _: Sequence[Seen], outputs: Outputs) -> list[Prediction]:
        rows = outputs[PROBABILITIES]
        return [_labelled(path, row, predictor, top) for path, row in zip(paths, rows, strict=True)]

    return read


def _labelled(path: Path, row: NDArray[np.float32], predictor: Predictor, top: int) -> Prediction:
    several = predictor.task == "multi-label"
    shown = max(top, int(np.count_nonzero(row >= LIKELY))) if several else top
    order = np.argsort(-row, kind="stable")[: max(shown, 1)].tolist()
    likely = [(named(predictor.classes, i), float(row[i])) for i in order]
    label = "|".join(name for name, score in likely if score >= LIKELY) if several else likely[0][0]
    return Prediction(path, label, likely[0][1], tuple(likely[:top]))


def _boxes(predictor: Predictor, most: int, score: float) -> Read:
    places = anchors_of(predictor)

    def read(paths: Sequence[Path], batch: Sequence[Seen], outputs: Outputs) -> list[Prediction]:
        answers = detections_in(outputs, places, score=score, most=most)
        return [
            _detected(path, each.size, answer, predictor.classes)
            for path, each, answer in zip(paths, batch, answers, strict=True)
        ]

    return read


def _detected(path: Path, size: tuple[int, int], answer: Detections, classes: tuple[str, ...]) -> Prediction:
    corners = (np.asarray(answer.boxes, np.float64) * [*size, *size]).tolist()
    found = tuple(
        Detection(named(classes, int(label)), int(label), float(score), (box[0], box[1], box[2], box[3]))
        for box, score, label in zip(corners, answer.scores, answer.classes, strict=True)
    )
    best = found[0] if found else None
    return Prediction(
        path, best.label if best else None, best.score if best else None, size=size, detections=found
    )  # fmt: skip


def _masks(predictor: Predictor) -> Read:
    def read(paths: Sequence[Path], batch: Sequence[Seen], outputs: Outputs) -> list[Prediction]:
        masks = masks_in(outputs, [each.size for each in batch])
        return [
            Prediction(path, None, None, size=each.size, regions=regions(mask, predictor.classes))
            for path, each, mask in zip(paths, batch, masks, strict=True)
        ]

    return read
