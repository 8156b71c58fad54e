"""COCO's average precision of boxes, counted by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where COCO reads a precision-recall curve."""

MOST = 100
"""Boxes of an image that COCO counts, those with the best scores."""


class Truth(Protocol):
    """The objects of an image: see `data.annotations.Boxes`."""

    @property
    def corners(self) -> Sequence[tuple[float, float, float, float]]:
        """x0, y0, x1, y1 of each, in pixels."""

    @property
    def labels(self) -> Sequence[int]:
        """Index of each one's class."""

    @property
    def hard(self) -> Sequence[bool]:
        """Which are neither hits nor misses; empty where none is."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image, in pixels."""


class Found(Protocol):
    """What was found in an image: see `heads.Detections`."""

    @property
    def boxes(self) -> Any:
        """(k, 4): x0, y0, x1, y1 in parts of the image's width and height."""

    @property
    def scores(self) -> Any:
        """(k,)."""

    @property
    def classes(self) -> Any:
        """(k,): indices."""


@dataclass(frozen=True, slots=True)
class DetectionScores:
    """How well boxes were found. Means are over the classes that have objects; not a number where there are none.

    Attributes:
        ap: COCO's AP: mean over IoU thresholds 0.50, 0.55 ... 0.95.
        ap50: AP at IoU 0.50.
        ap75: AP at IoU 0.75.
        small: AP of objects below 32 x 32 pixels of the image.
        medium: AP of objects up to 96 x 96 pixels.
        large: AP of larger objects.
        recall: part of the objects that 100 boxes an image find, mean over the same thresholds.
        classes: names, in order.
        objects: how many of each class count, (k,).
        class_ap: AP of each class, (k,).
        class_ap50: AP50 of each class, (k,).
        precision: at IoU 0.50, by class and by recall 0.00, 0.01 ... 1.00, (k, 101): the best that this recall or a
            higher one has; 0 from where no score reaches the recall.
        thresholds: the score at which each recall is reached, (k, 101); 0 where none reaches it.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    recall: float
    classes: tuple[str, ...]
    objects: NDArray[np.int64]
    class_ap: NDArray[np.float64]
    class_ap50: NDArray[np.float64]
    precision: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the curves' precisions by class."""
        rows = zip(self.classes, self.objects.tolist(), self.class_ap, self.class_ap50, self.precision, strict=True)
        return {
            "ap": self.ap,
            "ap50": self.ap50,
            "ap75": self.ap75,
            "ap_small": self.small,
            "ap_medium": self.medium,
            "ap_large": self.large,
            "recall": self.recall,
            "per_class": [
                {"class": name, "objects": count, "ap": float(ap), "ap50": float(ap50), "precision": curve.tolist()}
                for name, count, ap, ap50, curve in rows
            ],
        }


def scores(truth: Sequence[Truth], found: Sequence[Found], classes: Sequence[str]) -> DetectionScores:
    """Score what was found in images.

    Hard objects are COCO's crowds: a box that lies on one of its class, by most of the box's own area, is neither
    right nor wrong. An object's size is that of its box.

    Args:
        truth: the objects of each image.
        found: what was found in each, in the same order.
        classes: names; labels are indices into them.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    labelled = COCO(_labelled(truth, len(classes)))
    judge = COCOeval_faster(labelled, labelled.loadRes(_found(truth, found)), "bbox")
    judge.evaluate()
    judge.accumulate()
    counted = [label for image in truth for label, hard in zip(image.labels, _hard(image), strict=True) if not hard]
    return _read(judge.eval, tuple(classes), np.bincount(counted, minlength=len(classes)))


def _labelled(truth: Sequence[Truth], classes: int) -> dict[str, Any]:
    """COCO's form of the truth; numbers start at 1."""
    objects = [
        {"image_id": i, "category_id": label + 1, "iscrowd": int(hard)} | _box(corners)
        for i, image in enumerate(truth, 1)
        for corners, label, hard in zip(image.corners, image.labels, _hard(image), strict=True)
    ]
    return {
        "images": [{"id": i, "width": image.size[0], "height": image.size[1]} for i, image in enumerate(truth, 1)],
        "annotations": [{"id": i} | each for i, each in enumerate(objects, 1)],
        "categories": [{"id": i + 1, "name": str(i)} for i in range(classes)],
    }


def _found(truth: Sequence[Truth], found: Sequence[Found]) -> list[dict[str, Any]]:
    """COCO's form of results."""
    rows = []
    for i, (image, there) in enumerate(zip(truth, found, strict=True), 1):
        boxes = np.asarray(there.boxes, np.float64).reshape(-1, 4) * [*image.size, *image.size]
        for corners, score, label in zip(boxes.tolist(), there.scores, there.classes, strict=True):
            rows.append({"image_id": i, "category_id": int(label) + 1, "score": float(score)} | _box(corners))
    return rows


def _box(corners: Sequence[float]) -> dict[str, Any]:
    x0, y0, x1, y1 = corners
    return {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}


def _hard(image: Truth) -> Sequence[bool]:
    return image.hard or (False,) * len(image.labels)


def _read(counted: dict[str, Any], classes: tuple[str, ...], objects: NDArray[np.int64]) -> DetectionScores:
    """COCO's arrays: precision (IoU, recall, class, size, most), recall (IoU, class, size, most); -1 is nothing."""
    precision = _known(counted["precision"])[..., -1]  # IoU, recall, class, size
    reach = _known(counted["recall"])[:, :, 0, -1]  # IoU, class
    whole = precision[..., 0]  # IoU, recall, class
    small, medium, large = (_mean(precision[..., i]) for i in (1, 2, 3))
    return DetectionScores(
        ap=_mean(whole),
        ap50=_mean(whole[0]),
        ap75=_mean(whole[5]),
        small=small,
        medium=medium,
        large=large,
        recall=_mean(reach),
        classes=classes,
        objects=objects.astype(np.int64),
        class_ap=whole.mean((0, 1)),
        class_ap50=whole[0].mean(0),
        precision=whole[0].T,
        thresholds=_known(counted["scores"])[0, :, :, 0, -1].T,
    )


def _known(values: Any) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    return np.where(array < 0, np.nan, array)


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
