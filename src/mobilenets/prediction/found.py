"""What a model says of a file, as plain values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ADDRESS = re.compile(r"^(https?):/+")


@dataclass(frozen=True, slots=True)
class Detection:
    """An object that was found.

    Attributes:
        label: its class.
        number: index of its class.
        score: probability.
        box: x0, y0, x1, y1 in pixels of the upright image.
    """

    label: str
    number: int
    score: float
    box: tuple[float, float, float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"label": self.label, "score": self.score, "box": list(self.box)}


@dataclass(frozen=True, slots=True)
class Region:
    """All pixels of a class in an image.

    Attributes:
        label: the class.
        number: index of the class.
        pixels: how many.
        part: of the image's pixels.
        counts: where they are: COCO's compressed run lengths.
    """

    label: str
    number: int
    pixels: int
    part: float
    counts: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the pixels' places."""
        return {"label": self.label, "pixels": self.pixels, "part": self.part}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one file.

    Attributes:
        path: the file.
        label: most probable class; where images have several, all at least as likely as not, joined by `|`; of boxes
            the class of the best one. None where there is none, where the file cannot be read, and of masks.
        score: probability of the most probable class, or of the best box.
        top: the most probable classes with their probabilities, best first.
        error: why the file cannot be read, or None.
        size: width and height of the upright image, in pixels, where boxes or a mask were asked for.
        detections: the objects, best score first; None of a model that gives no boxes.
        regions: the classes of the pixels, most pixels first; None of a model that gives no mask.
        features: what the network makes of the image at a node that was asked for; None where none was.
    """

    path: Path
    label: str | None
    score: float | None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    size: tuple[int, int] | None = None
    detections: tuple[Detection, ...] | None = None
    regions: tuple[Region, ...] | None = None
    features: tuple[float, ...] | None = None

    @property
    def name(self) -> str:
        """The file as it was named: a path has lost one of the two slashes of a web address."""
        return _ADDRESS.sub(r"\1://", str(self.path))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; see `coco` for COCO's form."""
        features: dict[str, Any] = {} if self.features is None else {"features": list(self.features)}
        if self.detections is None and self.regions is None:
            top = [{"label": label, "score": score} for label, score in self.top]
            told: dict[str, Any] = {"path": self.name, "label": self.label, "score": self.score, "top": top}
            return told | features | {"error": self.error}
        told = {"path": self.name, "size": None if self.size is None else list(self.size)} | features
        if self.detections is not None:
            told["detections"] = [each.to_dict() for each in self.detections]
        if self.regions is not None:
            told["regions"] = [each.to_dict() for each in self.regions]
        return told | {"error": self.error}

    def mask(self) -> NDArray[np.uint8] | None:
        """Index of each pixel's class, uint8 h w; None of a model that gives no mask, or of an unreadable file."""
        if self.regions is None or self.size is None:
            return None
        from faster_coco_eval import mask as coco_mask

        size = [self.size[1], self.size[0]]
        found = np.zeros(size, np.uint8)
        for region in self.regions:
            found[coco_mask.decode({"size": size, "counts": region.counts}) > 0] = region.number
        return found


def regions(mask: NDArray[np.uint8], classes: tuple[str, ...]) -> tuple[Region, ...]:
    """The classes of a mask (h, w), most pixels first."""
    from faster_coco_eval import mask as coco_mask

    pixels = np.bincount(mask.ravel(), minlength=1)
    return tuple(
        Region(
            named(classes, label),
            label,
            int(pixels[label]),
            float(pixels[label] / mask.size),
            coco_mask.encode(np.asfortranarray(mask == label, np.uint8))["counts"].decode("ascii"),
        )
        for label in np.argsort(-pixels, kind="stable").tolist()
        if pixels[label]
    )


def utf8(text: str) -> str:
    """A text that every file can hold: bytes of a name that are no UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def named(classes: tuple[str, ...], number: int) -> str:
    """Name of a class; its number where the model has no names."""
    return classes[number] if number < len(classes) else str(number)
