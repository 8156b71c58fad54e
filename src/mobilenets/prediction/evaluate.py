"""Labelled images to a score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.folder import Sample, labelled
from mobilenets.data.sources import Source
from mobilenets.data.splits import Label, classes_in
from mobilenets.errors import DataError
from mobilenets.metrics import METRICS, Task, average_precision
from mobilenets.prediction.answers import names_of
from mobilenets.prediction.auto import open_auto, wants_auto
from mobilenets.prediction.predict import LIKELY, loaded_batches
from mobilenets.prediction.predictor import Predictor, open_model
from mobilenets.prediction.scoring import (
    DetectionEvaluation,
    SegmentationEvaluation,
    evaluate_boxes,
    evaluate_masks,
)
from mobilenets.runtime import Session


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model's score on labelled images.

    Attributes:
        images: how many were scored.
        top1: part whose most probable class is right (or, of several, one of the right ones).
        top5: part whose class is among the five most probable (1.0 with five classes or fewer).
        loss: mean cross-entropy, in nats.
        skipped: unreadable files with the reason.
        classes: names, in order.
        confusion: counts (true class, predicted class); of images with several classes: each class against those
            predicted beside it or in its place.
        precision: average precision of each class, where images may have several classes; not a number for classes that
            no image has.
    """

    images: int
    top1: float
    top5: float
    loss: float
    skipped: tuple[tuple[Source, str], ...]
    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    precision: NDArray[np.float64] | None = None

    @property
    def task(self) -> Task:
        """One class an image, or several."""
        return "classify" if self.precision is None else "multi-label"

    @property
    def metric(self) -> float:
        """Top-1 accuracy; with several labels an image, mean average precision."""
        return self.top1 if self.precision is None else float(np.nanmean(self.precision))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "task": self.task,
            METRICS[self.task]: self.metric,
            "images": self.images,
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "skipped": len(self.skipped),
            "skipped_files": [{"path": str(path), "error": reason} for path, reason in self.skipped],
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            **({} if self.precision is None else {"average_precision": self.precision.tolist()}),
        }


Scored = Evaluation | DetectionEvaluation | SegmentationEvaluation
"""A score, whatever the task: each has `task`, `metric`, `images`, `skipped`, `classes` and `to_dict`."""


def evaluate(
    model: Any,
    data: str | Path,
    *,
    split: str | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Scored:
    """Score a checkpoint, an exported file or a model in memory on labelled images.

    What is scored follows from the model: classes, boxes (COCO's AP) or masks (mIoU).

    Args:
        model: what to score; its own preprocessing is obeyed.
        data: a data set in one of the formats, with splits or without.
        split: of a data set with splits; None takes test, else val.
        threads: processors to use; None takes all.
        runtime: of an exported file; None takes the format's own; `auto` measures, see `auto.choose`. A bundle's folder
            is always measured.
        precision: of float arithmetic in an exported file; None is fp32.
        on_progress: called with (done, all).
        on_note: told which runtime was chosen.

    Raises:
        DataError: classes that the model does not know, or no readable image.
        MisuseError: no such model or folder.
    """
    predictor: Predictor
    if wants_auto(model, runtime):

        def files(session: Session) -> list[Source]:
            return [sample.path for sample in labelled(Path(data), session.classes, split=split, task=session.task)]

        predictor = open_auto(model, files, threads=threads, precision=precision, note=on_note)
    else:
        predictor = open_model(model, threads=threads, runtime=runtime, precision=precision)
    samples = labelled(Path(data), names_of(predictor), split=split, task=predictor.task)
    return evaluate_open(predictor, samples, on_progress=on_progress)


def evaluate_open(
    predictor: Predictor, samples: Sequence[Sample], *, on_progress: Callable[[int, int], None] | None = None
) -> Scored:
    """Score a model that is open on labelled images, by its task."""
    match predictor.task:
        case "classify" | "multi-label":
            return evaluate_samples(predictor, samples, on_progress=on_progress)
        case "detect":
            return evaluate_boxes(predictor, samples, on_progress=on_progress)
        case "segment":
            return evaluate_masks(predictor, samples, on_progress=on_progress)


Batch = Callable[[Sequence[Sample], NDArray[np.uint8], NDArray[np.float32]], None]
"""Told of samples, what the network saw of them (n, h, w, c) and what it said (n, classes)."""


def evaluate_samples(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_batch: Batch | None = None,
) -> Evaluation:
    """Score a classifier on labelled files; `evaluate_boxes` and `evaluate_masks` are those of the other tasks.

    Args:
        predictor: what to score.
        samples: the files with their labels.
        on_progress: called with (done, all).
        on_batch: called with every batch's readable samples; see `mistakes.WorstMistakes`.

    Raises:
        DataError: none of them can be read.
    """
    probabilities: list[NDArray[np.float32]] = []
    skipped: list[tuple[Source, str]] = []
    kept: list[Sample] = []
    by_path = {sample.path: sample for sample in samples}
    done = 0
    for batch, images, errors in loaded_batches([s.path for s in samples], predictor):
        skipped += errors.items()
        readable = [by_path[path] for path in batch if path not in errors]
        kept += readable
        if len(images):
            probabilities.append(predictor.run(images))
            if on_batch is not None:
                on_batch(readable, images, probabilities[-1])
        done += len(batch)
        if on_progress is not None:
            on_progress(done, len(samples))
    if not kept:
        raise DataError(f"none of the {len(samples)} images can be read; the first: {skipped[0][1]}")
    return score(np.concatenate(probabilities), [s.label for s in kept], tuple(skipped), predictor.classes)


def score(
    probabilities: NDArray[np.float32],
    labels: Sequence[Label],
    skipped: tuple[tuple[Source, str], ...] = (),
    classes: tuple[str, ...] = (),
) -> Evaluation:
    """Top-1, top-5, cross-entropy and confusion of class probabilities (n, classes)."""
    if any(isinstance(label, tuple) for label in labels):
        return _score_several(probabilities, labels, skipped, classes)
    truth = np.asarray(labels)
    count = probabilities.shape[1]
    order = np.argsort(-probabilities, axis=1)
    hits = order == truth[:, None]
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (truth, order[:, 0]), 1)
    right = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    loss = float(-np.log(np.maximum(right, 1e-12)).mean())
    names = classes or tuple(str(i) for i in range(count))
    return Evaluation(
        len(truth), float(hits[:, :1].any(1).mean()), float(hits[:, :5].any(1).mean()), loss, skipped, names, confusion
    )


def _score_several(
    probabilities: NDArray[np.float32],
    labels: Sequence[Label],
    skipped: tuple[tuple[Source, str], ...],
    classes: tuple[str, ...],
) -> Evaluation:
    """Average precision of each class, where an image has any number of them."""
    count = probabilities.shape[1]
    truth = np.zeros(probabilities.shape, np.float64)
    for row, label in zip(truth, labels, strict=True):
        row[list(classes_in(label))] = 1.0
    order = np.argsort(-probabilities, axis=1)
    hits = np.take_along_axis(truth, order, 1) > 0
    predicted = (probabilities >= LIKELY).astype(np.int64)
    clipped = np.clip(probabilities.astype(np.float64), 1e-12, 1 - 1e-12)
    loss = float(-(truth * np.log(clipped) + (1 - truth) * np.log(1 - clipped)).mean())
    names = classes or tuple(str(i) for i in range(count))
    return Evaluation(
        len(truth), float(hits[:, :1].any(1).mean()), float(hits[:, :5].any(1).mean()), loss, skipped, names,
        truth.astype(np.int64).T @ predicted, average_precision(truth, probabilities),
    )  # fmt: skip
