"""Images with boxes or masks to a score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilenets.data import decode
from mobilenets.data.annotations import IGNORED, Boxes
from mobilenets.data.folder import Sample
from mobilenets.data.sources import Source
from mobilenets.data.splits import Label
from mobilenets.errors import DataError
from mobilenets.heads import Detections, detections_in, masks_in
from mobilenets.metrics import METRICS, Task
from mobilenets.metrics.detection import DetectionScores, scores
from mobilenets.metrics.segmentation import Confusion, SegmentationScores
from mobilenets.prediction.answers import anchors_of, names_of
from mobilenets.prediction.loading import batch_of, batches
from mobilenets.prediction.predictor import Predictor

LEAST = 0.01
"""Least score of a box that is counted: low, since a precision-recall curve wants its tail."""

Pixels = NDArray[np.uint8]
Skipped = tuple[tuple[Source, str], ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DetectionEvaluation:
    """A detector's score on images with boxes.

    Attributes:
        images: how many were scored.
        scores: average precision, over all classes and of each.
        skipped: unreadable files with the reason.
        task: boxes.
    """

    images: int
    scores: DetectionScores
    skipped: Skipped
    task: Task = field(default="detect", init=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in order."""
        return self.scores.classes

    @property
    def metric(self) -> float:
        """COCO's AP."""
        return self.scores.ap

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return _head(self.task, self.metric, self.images, self.skipped, self.classes) | self.scores.to_dict()


@dataclass(frozen=True, slots=True)
class SegmentationEvaluation:
    """A segmenter's score on images with masks, at the masks' own size.

    Attributes:
        images: how many were scored.
        scores: intersection over union and accuracy, over all classes and of each.
        skipped: unreadable files with the reason.
        task: masks.
    """

    images: int
    scores: SegmentationScores
    skipped: Skipped
    task: Task = field(default="segment", init=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in order."""
        return self.scores.classes

    @property
    def metric(self) -> float:
        """Mean intersection over union."""
        return self.scores.miou

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return _head(self.task, self.metric, self.images, self.skipped, self.classes) | self.scores.to_dict()


def _head(task: Task, metric: float, images: int, skipped: Skipped, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "task": task,
        METRICS[task]: metric,
        "images": images,
        "skipped": len(skipped),
        "skipped_files": [{"path": str(path), "error": reason} for path, reason in skipped],
        "classes": list(classes),
    }


FoundBoxes = Callable[[Sequence[Sample], Pixels, Sequence[Detections]], None]
"""Told of samples, what the network saw of them (n, h, w, c) and what it found."""
FoundMasks = Callable[[Sequence[Sample], Sequence[Pixels], Sequence[Pixels], Sequence[Pixels]], None]
"""Told of samples, what the network saw of them (h, w, c), the true masks and those found (h, w)."""


def evaluate_boxes(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_batch: FoundBoxes | None = None,
) -> DetectionEvaluation:
    """Score a detector on images with boxes.

    Args:
        predictor: what to score.
        samples: the files with their boxes.
        on_progress: called with (done, all).
        on_batch: called with every batch's readable samples; see `BoxMistakes`.

    Raises:
        DataError: an image has no boxes but a class, or none of them can be read.
    """
    truth = {sample.path: boxes_of(sample.label, sample.path) for sample in samples}
    places = anchors_of(predictor)
    kept: list[Source] = []
    found: list[Detections] = []

    def load(path: Source) -> Pixels:
        return decode.load_image(path, predictor.preprocessing)

    reading = _Reading(samples, on_progress)
    for readable, images in reading.batches(load, batch_of(predictor.task)):
        squares = np.stack(images)
        answers = detections_in(predictor.outputs(squares), places, score=LEAST)
        kept += [sample.path for sample in readable]
        found += answers
        if on_batch is not None:
            on_batch(readable, squares, answers)
    counted = scores([truth[path] for path in kept], found, names_of(predictor))
    return DetectionEvaluation(len(kept), counted, tuple(reading.skipped))


class _Pair(NamedTuple):
    """What a network sees of an image, and the truth of its pixels."""

    square: Pixels
    truth: Pixels


def evaluate_masks(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_batch: FoundMasks | None = None,
) -> SegmentationEvaluation:
    """Score a segmenter on images with masks, at the masks' own size.

    Args:
        predictor: what to score.
        samples: the files with their masks; a mask that cannot be read is skipped with its image.
        on_progress: called with (done, all).
        on_batch: called with every batch's readable samples; see `MaskMistakes`.

    Raises:
        DataError: an image has no mask but a class, or none of them can be read.
    """
    labels = {sample.path: sample.label for sample in samples}
    confusion = Confusion(names_of(predictor), ignored=IGNORED)

    def load(path: Source) -> _Pair:
        return _Pair(decode.load_image(path, predictor.preprocessing), mask_of(labels[path], path))

    images = 0
    reading = _Reading(samples, on_progress)
    for readable, pairs in reading.batches(load, batch_of(predictor.task)):
        sizes = [(pair.truth.shape[1], pair.truth.shape[0]) for pair in pairs]
        masks = masks_in(predictor.outputs(np.stack([pair.square for pair in pairs])), sizes)
        for pair, mask in zip(pairs, masks, strict=True):
            confusion.add(pair.truth, mask)
        images += len(pairs)
        if on_batch is not None:
            on_batch(readable, [pair.square for pair in pairs], [pair.truth for pair in pairs], masks)
    return SegmentationEvaluation(images, confusion.scores(), tuple(reading.skipped))


class _Reading:
    """Goes through samples a batch at a time and keeps those that cannot be read."""

    def __init__(self, samples: Sequence[Sample], on_progress: Callable[[int, int], None] | None) -> None:
        self.samples = samples
        self.skipped: list[tuple[Source, str]] = []
        self._tell = on_progress

    def batches(self, load: Callable[[Source], T], size: int) -> Iterator[tuple[list[Sample], list[T]]]:
        """Readable samples and what was loaded of them; never an empty batch.

        Raises:
            DataError: at the end, where none could be read.
        """
        by_path: Mapping[Source, Sample] = {sample.path: sample for sample in self.samples}
        done = 0
        for part, loaded, errors in batches(list(by_path), load, size):
            self.skipped += errors.items()
            if loaded:
                yield [by_path[path] for path in part if path not in errors], loaded
            done += len(part)
            if self._tell is not None:
                self._tell(done, len(by_path))
        if len(self.skipped) == done:
            first = self.skipped[0][1] if self.skipped else "there is none"
            raise DataError(f"none of the {done} images can be read; the first: {first}")


def boxes_of(label: Label, path: Source) -> Boxes:
    """The boxes of an image.

    Raises:
        DataError: it has none.
    """
    if isinstance(label, Boxes):
        return label
    raise DataError(f"{path}: the model finds boxes, and this image has {_kind(label)}: score it on data with boxes.")


def mask_of(label: Label, path: Source) -> Pixels:
    """The mask of an image, read.

    Raises:
        DataError: it has none, or it cannot be read.
    """
    if isinstance(label, int | tuple | Boxes):
        what = f"the model gives masks, and this image has {_kind(label)}"
        raise DataError(f"{path}: {what}: score it on data with masks.")
    return label.read()


def _kind(label: Label) -> str:
    match label:
        case int():
            return "a class"
        case tuple():
            return "classes"
        case Boxes():
            return "boxes"
        case _:
            return "a mask"
