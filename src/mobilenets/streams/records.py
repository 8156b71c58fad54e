"""A prediction as plain values with nothing left out, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilenets.prediction import Detection, Prediction, Region


def to_record(found: Prediction) -> dict[str, Any]:
    """Plain JSON values; `from_record` gives the same prediction back."""
    return {
        "path": str(found.path),
        "label": found.label,
        "score": found.score,
        "top": found.top,
        "error": found.error,
        "size": found.size,
        "detections": None if found.detections is None else [_detection(each) for each in found.detections],
        "regions": None if found.regions is None else [_region(each) for each in found.regions],
        "features": found.features,
    }


def from_record(record: dict[str, Any]) -> Prediction:
    """The prediction that a record was made of."""
    boxes, regions, features, size = (record[name] for name in ("detections", "regions", "features", "size"))
    return Prediction(
        Path(record["path"]),
        record["label"],
        record["score"],
        tuple((label, score) for label, score in record["top"]),
        record["error"],
        None if size is None else (size[0], size[1]),
        None if boxes is None else tuple(Detection(**each | {"box": tuple(each["box"])}) for each in boxes),
        None if regions is None else tuple(Region(**each) for each in regions),
        None if features is None else tuple(features),
    )


def _detection(each: Detection) -> dict[str, Any]:
    return {"label": each.label, "number": each.number, "score": each.score, "box": each.box}


def _region(each: Region) -> dict[str, Any]:
    return {
        "label": each.label, "number": each.number, "pixels": each.pixels, "part": each.part, "counts": each.counts,
    }  # fmt: skip
