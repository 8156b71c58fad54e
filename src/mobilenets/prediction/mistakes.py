"""What a model gets wrong: its worst mistakes with pictures, and which classes it takes for which."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.folder import Sample
from mobilenets.data.sources import Source
from mobilenets.data.splits import labels_of
from mobilenets.prediction.evaluate import Evaluation
from mobilenets.prediction.predict import LIKELY

MATRIX_CLASSES = 100
"""Classes up to which a report holds the whole confusion matrix; beyond them, its largest entries."""
PAIRS = 30
"""Largest entries off the diagonal that a report holds."""
THUMBNAIL_PX = 160


@dataclass(order=True, slots=True)
class _Mistake:
    """One wrong image, ordered by its loss; the running number decides between equal ones."""

    loss: float
    number: int
    source: Source = field(compare=False)
    image: NDArray[np.uint8] = field(compare=False)
    truth: tuple[int, ...] = field(compare=False)
    row: NDArray[np.float32] = field(compare=False)


class WorstMistakes:
    """Collects the wrong images with the least probability for the truth while a model is scored.

    Give its `see` to `evaluate_samples(..., on_batch=)`, then `write` it.

    Args:
        classes: names, in order.
        limit: how many are kept.
    """

    def __init__(self, classes: Sequence[str], limit: int = 24) -> None:
        self.classes = tuple(classes)
        self.limit = limit
        self.images = 0
        self.wrong = 0
        self._several = False
        self._kept: list[_Mistake] = []

    def see(self, samples: Sequence[Sample], images: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
        """Look at a batch: samples, what the network saw of them (n, h, w, c), what it said (n, classes)."""
        for sample, image, row in zip(samples, images, probabilities, strict=True):
            self._several |= isinstance(sample.label, tuple)
            truth = labels_of(sample)
            self.images += 1
            if set(self._said(row, isinstance(sample.label, tuple))) != set(truth):
                self.wrong += 1
                self._keep(_Mistake(_loss(row, sample), self.images, sample.path, image.copy(), truth, row.copy()))

    def _keep(self, mistake: _Mistake) -> None:
        mistake.number *= -1  # of equal losses the first image is worse, so that a run can be repeated
        if len(self._kept) < self.limit:
            heapq.heappush(self._kept, mistake)
        elif self._kept:
            heapq.heappushpop(self._kept, mistake)

    def _said(self, row: NDArray[np.float32], several: bool) -> list[int]:
        found: list[int] = np.flatnonzero(row >= LIKELY).tolist() if several else [int(row.argmax())]
        return found

    def write(self, folder: str | Path, name: str = "mistakes") -> dict[str, Any]:
        """Write a thumbnail of each below `folder` and return the report's part; see `report.schema.Mistakes`."""
        shown = []
        for i, mistake in enumerate(sorted(self._kept, reverse=True), 1):
            file = f"{name}/{i:02d}.jpg"
            path = Path(folder) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            _thumbnail(mistake.image).save(path, quality=85)
            shown.append(self._told(mistake) | {"picture": file})
        return {"images": self.images, "wrong": self.wrong, "shown": shown}

    def _told(self, mistake: _Mistake) -> dict[str, Any]:
        said = self._said(mistake.row, self._several)
        told: dict[str, Any] = {
            "name": mistake.source.name,
            "true": self._named(mistake.truth),
            "predicted": self._named(said),
            "confidence": float(mistake.row.max()),
        }
        return told if self._several else told | {"true_confidence": float(mistake.row[mistake.truth[0]])}

    def _named(self, numbers: Sequence[int]) -> str:
        return "|".join(self.classes[i] if i < len(self.classes) else str(i) for i in numbers) or "nothing"


def _loss(row: NDArray[np.float32], sample: Sample) -> float:
    """Cross-entropy of one image."""
    clipped = np.clip(row.astype(np.float64), 1e-12, 1 - 1e-12)
    if isinstance(sample.label, int):
        return float(-np.log(clipped[sample.label]))
    truth = np.zeros(len(row))
    truth[list(labels_of(sample))] = 1.0
    return float(-(truth * np.log(clipped) + (1 - truth) * np.log(1 - clipped)).sum())


def _thumbnail(image: NDArray[np.uint8]) -> Image.Image:
    """A small picture of 1, 3 or 4 channels (of four the first three); small squares keep their pixels."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else np.ascontiguousarray(image[..., :3]))
    if max(picture.size) > THUMBNAIL_PX:
        picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return picture


def confusion(found: Evaluation, of: str = "") -> dict[str, Any] | None:
    """The confusion matrix as a report holds it; see `report.schema.Confusion`.

    None where images may have several classes: nothing is taken *for* another then.

    Args:
        found: what a model scored.
        of: what was scored, such as `model.onnx on the validation images`.
    """
    if found.precision is not None:
        return None
    counts, totals = found.confusion, found.confusion.sum(1)
    right = np.diag(counts)
    part: dict[str, Any] = {
        "images": int(counts.sum()),
        "right": int(right.sum()),
        "of": of,
        "classes": [
            {"name": name, "images": int(n), "recall": float(hit / n) if n else None}
            for name, n, hit in zip(found.classes, totals, right, strict=True)
        ],
        "pairs": _pairs(counts, found.classes),
    }
    return part | ({"counts": counts.tolist()} if len(counts) <= MATRIX_CLASSES else {})


def _pairs(counts: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The largest entries off the diagonal, largest first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    places = [divmod(int(at), len(counts)) for at in order]
    return [
        {"true": classes[i], "predicted": classes[j], "count": int(wrong[i, j]), "images": int(counts[i].sum())}
        for i, j in places
        if wrong[i, j]
    ]
