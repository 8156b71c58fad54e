"""Intersection over union and accuracy of masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError

Indices = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SegmentationScores:
    """How well pixels were named; not a number where there are none. Ignored pixels count nowhere.

    Attributes:
        miou: mean intersection over union, over the classes that the truth or the prediction has.
        accuracy: part of the pixels that is right.
        mean_accuracy: mean over the truth's classes of the part of each that is right.
        boundary_free_accuracy: `accuracy` without the pixels near a boundary of the truth, whose class is a matter of
            taste.
        classes: names, in order.
        iou: of each class, (k,); not a number for classes that neither has.
        class_accuracy: part of each class's pixels that is right, (k,).
        counts: pixels by (true class, predicted class), (k, k).
    """

    miou: float
    accuracy: float
    mean_accuracy: float
    boundary_free_accuracy: float
    classes: tuple[str, ...]
    iou: NDArray[np.float64]
    class_accuracy: NDArray[np.float64]
    counts: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = zip(self.classes, self.counts.sum(1).tolist(), self.iou, self.class_accuracy, strict=True)
        return {
            "miou": self.miou,
            "accuracy": self.accuracy,
            "mean_accuracy": self.mean_accuracy,
            "boundary_free_accuracy": self.boundary_free_accuracy,
            "per_class": [
                {"class": name, "pixels": count, "iou": float(iou), "accuracy": float(accuracy)}
                for name, count, iou, accuracy in rows
            ],
            "confusion": self.counts.tolist(),
        }


class Confusion:
    """Counts true against predicted classes, mask by mask.

    Args:
        classes: names, in order.
        ignored: value of the truth's pixels that count nowhere.
        band_px: how near to another value of the truth a pixel is left out of the boundary-free accuracy, in pixels,
            diagonals counted as 1.
    """

    def __init__(self, classes: Sequence[str], *, ignored: int = 255, band_px: int = 2) -> None:
        self.classes = tuple(classes)
        self.ignored = ignored
        self.band_px = band_px
        self.counts: NDArray[np.int64] = np.zeros((len(self.classes), len(self.classes)), np.int64)
        self._inner = self._inner_right = 0

    def add(self, truth: Indices, found: Indices) -> None:
        """Count a mask (h, w) against the truth (h, w).

        Raises:
            MisuseError: masks of two sizes, or a value that is no class.
        """
        if truth.shape != found.shape:
            raise MisuseError(f"masks of two sizes: the truth is {truth.shape}, the prediction {found.shape}.")
        known = truth != self.ignored
        size = len(self.classes)
        pairs = truth[known].astype(np.int64), found[known].astype(np.int64)
        for name, values in zip(("the truth", "the prediction"), pairs, strict=True):
            if values.size and (worst := int(values.max())) >= size:
                raise MisuseError(f"{name} has the value {worst}; classes are 0 to {size - 1}, {self.ignored} ignored.")
        self.counts += np.bincount(pairs[0] * size + pairs[1], minlength=size * size).reshape(size, size)
        inner = known & ~near_boundary(truth, self.band_px)
        self._inner += int(inner.sum())
        self._inner_right += int((inner & (truth == found)).sum())

    def scores(self) -> SegmentationScores:
        """Of all masks so far."""
        right, truth, found = np.diag(self.counts), self.counts.sum(1), self.counts.sum(0)
        iou, recall = _parts(right, truth + found - right), _parts(right, truth)
        return SegmentationScores(
            miou=_mean(iou),
            accuracy=float(_parts(right.sum(), truth.sum())),
            mean_accuracy=_mean(recall),
            boundary_free_accuracy=self._inner_right / self._inner if self._inner else float("nan"),
            classes=self.classes,
            iou=iou,
            class_accuracy=recall,
            counts=self.counts.copy(),
        )


def near_boundary(mask: Indices, band_px: int) -> NDArray[np.bool_]:
    """Pixels that have another value within so many pixels, diagonals counted as 1: (h, w)."""
    low, high = mask, mask
    for axis in (0, 1):
        low, high = _extreme(low, band_px, axis, np.minimum), _extreme(high, band_px, axis, np.maximum)
    return np.asarray(low != high)


def _extreme(mask: Indices, band_px: int, axis: int, which: np.ufunc) -> Indices:
    """The least or the largest value within a band along an axis."""
    found = mask.copy()
    values, out = np.moveaxis(mask, axis, 0), np.moveaxis(found, axis, 0)  # views
    for step in range(1, min(band_px, len(values) - 1) + 1):
        which(out[step:], values[:-step], out=out[step:])
        which(out[:-step], values[step:], out=out[:-step])
    return found


def _parts(part: Any, whole: Any) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.divide(part, whole, dtype=np.float64))


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
