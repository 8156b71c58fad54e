"""The task's metric of what a file answers, batch by batch: masks of many images need not lie in memory at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.annotations import Boxes
from mobilenets.data.splits import Label, classes_in
from mobilenets.errors import MisuseError
from mobilenets.heads import Detections, anchors, detections_in, masks_in
from mobilenets.metrics import Task, detection, mean_average_precision, segmentation
from mobilenets.outputs import PROBABILITIES, Outputs
from mobilenets.table.rows import Network


class Judge(Protocol):
    """Scores what was answered so far."""

    def add(self, outputs: Outputs, labels: Sequence[Label]) -> None:
        """Count a batch.

        Raises:
            MisuseError: labels of another task.
        """

    def metric(self) -> float:
        """The task's metric, 0 to 1; 0 where nothing could be right."""


def judge(network: Network, task: Task, classes: Sequence[str] = ()) -> Judge:
    """What scores a model's answers.

    Args:
        network: of the model.
        task: of it.
        classes: names; numbers unless given.
    """
    names = tuple(classes) or tuple(map(str, range(network.classes)))
    match task:
        case "classify" | "multi-label":
            return _OfLabels(task)
        case "detect":
            return _OfBoxes(network, names)
        case "segment":
            return _OfMasks(names)


class _OfLabels:
    """Top-1 accuracy, or mean average precision."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.found: list[NDArray[np.float32]] = []
        self.labels: list[Label] = []

    def add(self, outputs: Outputs, labels: Sequence[Label]) -> None:
        self.found.append(outputs[PROBABILITIES])
        self.labels += labels

    def metric(self) -> float:
        found = np.concatenate(self.found)
        truth: NDArray[np.float64] = np.zeros(found.shape)
        for row, label in zip(truth, self.labels, strict=True):
            row[list(classes_in(label))] = 1.0
        if self.task == "multi-label":
            return mean_average_precision(truth, found)
        return float(truth[np.arange(len(found)), found.argmax(1)].mean())


class _OfBoxes:
    """COCO's AP."""

    def __init__(self, network: Network, classes: tuple[str, ...]) -> None:
        self.anchors, self.classes = anchors(network), classes
        self.truth: list[Boxes] = []
        self.found: list[Detections] = []

    def add(self, outputs: Outputs, labels: Sequence[Label]) -> None:
        for label in labels:
            if not isinstance(label, Boxes):
                raise MisuseError(f"a detector is scored by boxes, got labels such as {label!r}.")
            self.truth.append(label)
        self.found += detections_in(outputs, self.anchors)

    def metric(self) -> float:
        return float(np.nan_to_num(detection.scores(self.truth, self.found, self.classes).ap))


class _OfMasks:
    """Mean intersection over union, at the size of the images' own masks."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.counts = segmentation.Confusion(classes)

    def add(self, outputs: Outputs, labels: Sequence[Label]) -> None:
        truth, sizes = [], []
        for label in labels:
            if isinstance(label, int | tuple | Boxes):
                raise MisuseError(f"a segmenter is scored by masks, got labels such as {label!r}.")
            truth.append(label.read())
            height, width = truth[-1].shape
            sizes.append((width, height))
        for mask, found in zip(truth, masks_in(outputs, sizes), strict=True):
            self.counts.add(mask, found)

    def metric(self) -> float:
        return float(np.nan_to_num(self.counts.scores().miou))
