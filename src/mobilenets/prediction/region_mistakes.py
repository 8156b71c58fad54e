"""What a detector or a segmenter gets wrong, worst first, with pictures of the places."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mobilenets.data.annotations import IGNORED, Boxes
from mobilenets.data.folder import Sample
from mobilenets.data.sources import Source
from mobilenets.drawing import colour
from mobilenets.heads import Detections, iou
from mobilenets.prediction.asking import LIKELY
from mobilenets.prediction.found import named
from mobilenets.prediction.scoring import boxes_of

Pixels = NDArray[np.uint8]
Kind = Literal["false positive", "missed", "wrong class", "wrong pixels"]

OVERLAP = 0.5
"""Intersection over union from which a box is on an object."""
THUMBNAIL_PX = 160
NOTHING = "nothing"


@dataclass(order=True, slots=True)
class Mistake:
    """One wrong place of an image.

    Attributes:
        badness: from 0 to 1: the score of a wrong box, what an object lacked to be found, the part of wrong pixels.
        number: minus the running number, so that of equal mistakes the first is the worse.
        kind: what went wrong.
        source: the image.
        true: class that is there, or nothing.
        predicted: class that was said, or nothing.
        picture: the place as the network saw it, in the image's shape.
    """

    badness: float
    number: int
    kind: Kind = field(compare=False)
    source: Source = field(compare=False)
    true: str = field(compare=False)
    predicted: str = field(compare=False)
    picture: Image.Image = field(compare=False)

    def to_dict(self, picture: str) -> dict[str, Any]:
        """As a report holds it; see `report.schema.Mistake`."""
        told = {"name": self.source.name, "picture": picture, "true": self.true, "predicted": self.predicted}
        return told | {"kind": self.kind, "confidence": self.badness}


class _Worst:
    """The worst mistakes so far.

    Args:
        classes: names, in order.
        limit: how many are kept.
    """

    def __init__(self, classes: Sequence[str], limit: int = 24) -> None:
        self.classes = tuple(classes)
        self.limit = limit
        self.images = 0
        self.wrong = 0
        self._count = 0
        self._kept: list[Mistake] = []

    def keeps(self, badness: float) -> bool:
        """Count a mistake; whether it is among the worst so far, so that its picture is worth making."""
        self._count += 1
        return len(self._kept) < self.limit or bool(self._kept and badness > self._kept[0].badness)

    def keep(self, badness: float, kind: Kind, source: Source, true: str, predicted: str, picture: Image.Image) -> None:
        """Keep the mistake that was counted last, in place of the least bad one where there are enough."""
        mistake = Mistake(badness, -self._count, kind, source, true, predicted, picture)
        if len(self._kept) < self.limit:
            heapq.heappush(self._kept, mistake)
        else:
            heapq.heappushpop(self._kept, mistake)

    def write(self, folder: str | Path, name: str = "mistakes") -> dict[str, Any]:
        """Write a thumbnail of each below `folder` and return the report's part; see `report.schema.Mistakes`."""
        shown = []
        for i, mistake in enumerate(sorted(self._kept, reverse=True), 1):
            path = Path(folder) / name / f"{i:02d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            mistake.picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
            mistake.picture.save(path, quality=85)
            shown.append(mistake.to_dict(f"{name}/{path.name}"))
        return {"images": self.images, "wrong": self.wrong, "shown": shown}


class BoxMistakes(_Worst):
    """Collects false positives, misses and wrong classes while a detector is scored.

    Give its `see` to `evaluate_boxes(..., on_batch=)`, then `write` it. A box counts from a score of 0.5 on, and is on
    an object from an IoU of 0.5 on.
    """

    def see(self, samples: Sequence[Sample], images: Pixels, found: Sequence[Detections]) -> None:
        """Look at a batch: samples, what the network saw of them (n, h, w, c), what it found."""
        for sample, image, there in zip(samples, images, found, strict=True):
            self.images += 1
            before = self._count
            self._compare(sample.path, boxes_of(sample.label, sample.path), image, there)
            self.wrong += self._count > before

    def _compare(self, source: Source, truth: Boxes, image: Pixels, found: Detections) -> None:
        corners, labels, hard = truth.arrays()
        boxes, said = np.asarray(found.boxes, np.float32).reshape(-1, 4), np.asarray(found.classes, np.int64)
        scores = np.asarray(found.scores, np.float64)
        overlaps = iou(boxes, corners) if len(boxes) and len(corners) else np.zeros((len(boxes), len(corners)))
        taken = np.zeros(len(corners), np.bool_)
        for i in np.flatnonzero(scores >= LIKELY).tolist():  # best first
            on = overlaps[i] >= OVERLAP
            if (right := np.flatnonzero(on & (labels == said[i]) & ~taken & ~hard)).size:
                taken[right[overlaps[i][right].argmax()]] = True
            elif not (on & hard).any() and self.keeps(float(scores[i])):
                other = np.flatnonzero(on & (labels != said[i]) & ~taken & ~hard)
                true = self._named(labels[other[overlaps[i][other].argmax()]]) if other.size else NOTHING
                kind: Kind = "wrong class" if other.size else "false positive"
                place = _crop(image, boxes[i], truth.size, colour(int(said[i])))
                self.keep(float(scores[i]), kind, source, true, self._named(said[i]), place)
        for i in np.flatnonzero(~taken & ~hard).tolist():
            near = scores[(overlaps[:, i] >= OVERLAP) & (said == labels[i]) & (scores < LIKELY)]
            badness = 1.0 - float(near.max(initial=0.0))
            if self.keeps(badness):
                place = _crop(image, corners[i], truth.size, (255, 255, 255))
                self.keep(badness, "missed", source, self._named(labels[i]), NOTHING, place)

    def _named(self, label: np.int64) -> str:
        return named(self.classes, int(label))


class MaskMistakes(_Worst):
    """Collects the images with the most wrong pixels while a segmenter is scored.

    Give its `see` to `evaluate_masks(..., on_batch=)`, then `write` it. An image's mistake is the pair of classes that
    most of its wrong pixels have; the picture shows them in the colour of the class that was said.
    """

    def see(
        self, samples: Sequence[Sample], images: Sequence[Pixels], truth: Sequence[Pixels], found: Sequence[Pixels]
    ) -> None:
        """Look at a batch: samples, what the network saw of them (h, w, c), the true masks and those found (h, w)."""
        for sample, image, there, said in zip(samples, images, truth, found, strict=True):
            self.images += 1
            wrong = (there != said) & (there != IGNORED)
            if not wrong.any():
                continue
            self.wrong += 1
            pairs, counts = np.unique(there[wrong].astype(np.int64) * 256 + said[wrong], return_counts=True)
            true, predicted = divmod(int(pairs[counts.argmax()]), 256)
            part = float(wrong.sum() / max(1, (there != IGNORED).sum()))
            if self.keeps(part):
                place = _painted(image, wrong & (there == true) & (said == predicted), predicted)
                names = named(self.classes, true), named(self.classes, predicted)
                self.keep(part, "wrong pixels", sample.path, *names, place)


def _rgb(image: Pixels) -> Image.Image:
    return Image.fromarray(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else np.ascontiguousarray(image[..., :3]))


def _crop(image: Pixels, box: NDArray[np.float32], size: tuple[int, int], ink: tuple[int, int, int]) -> Image.Image:
    """A box (parts of the image's sides) with what is around it, in the image's own shape."""
    side = image.shape[0]
    scale = side / max(size)
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    picture = _rgb(image).resize((width, height))
    x0, y0, x1, y1 = (float(v) for v in box * [width, height, width, height])
    around = max(x1 - x0, y1 - y0, 16.0) * 0.4
    ImageDraw.Draw(picture).rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=ink, width=2)
    left, top = max(0.0, x0 - around), max(0.0, y0 - around)
    return picture.crop((round(left), round(top), round(min(width, x1 + around)), round(min(height, y1 + around))))


def _painted(image: Pixels, wrong: NDArray[np.bool_], label: int) -> Image.Image:
    """An image with its wrong pixels in a class's colour, in the mask's shape."""
    height, width = wrong.shape
    scale = image.shape[0] / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shade = Image.fromarray(wrong.astype(np.uint8) * 160).resize(size)
    return Image.composite(Image.new("RGB", size, colour(label)), _rgb(image).resize(size), shade)
