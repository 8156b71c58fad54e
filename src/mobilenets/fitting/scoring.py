"""The artifact's score on labelled images, and what a report shows of it, task by task."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.data.splits import Sample
from mobilenets.metrics import Task
from mobilenets.prediction import (
    BoxMistakes,
    DetectionEvaluation,
    Evaluation,
    MaskMistakes,
    Predictor,
    Scored,
    SegmentationEvaluation,
    WorstMistakes,
    confusion,
    evaluate_boxes,
    evaluate_masks,
    evaluate_samples,
    predict_files,
)

DRAWN = 12
"""Validation images that a report shows with what was found drawn on them."""

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scoring:
    """What a score is and how it came about.

    Attributes:
        scored: by the task's metric.
        mistakes: that were collected on the way.
    """

    scored: Scored
    mistakes: WorstMistakes | BoxMistakes | MaskMistakes


def scored_with_mistakes(
    task: Task, predictor: Predictor, samples: Sequence[Sample], classes: Sequence[str], on_progress: Tell
) -> Scoring:
    """Score a model on labelled images and keep its worst mistakes."""
    match task:
        case "classify" | "multi-label":
            wrong = WorstMistakes(classes)
            return Scoring(evaluate_samples(predictor, samples, on_progress=on_progress, on_batch=wrong.see), wrong)
        case "detect":
            boxes = BoxMistakes(classes)
            return Scoring(evaluate_boxes(predictor, samples, on_progress=on_progress, on_batch=boxes.see), boxes)
        case "segment":
            masks = MaskMistakes(classes)
            return Scoring(evaluate_masks(predictor, samples, on_progress=on_progress, on_batch=masks.see), masks)


def beside(scored: Scored) -> dict[str, float]:
    """Scores beside the task's metric, by the name that people use; none of a classifier's."""
    match scored:
        case Evaluation():
            found: dict[str, float] = {}
        case DetectionEvaluation(scores=scores):
            found = {"AP50": scores.ap50, "recall of 100 boxes": scores.recall}
        case SegmentationEvaluation(scores=scores):
            found = {"pixel accuracy": scores.accuracy, "accuracy off the borders": scores.boundary_free_accuracy}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def evidence(task: Task, scoring: Scoring, predictor: Predictor, samples: Sequence[Sample], run: Path, of: str) -> Any:
    """The report's parts about the score: mistakes, and a confusion matrix or classes and drawn predictions.

    Args:
        task: of the model.
        scoring: on the samples.
        predictor: the model.
        samples: validation images.
        run: the report's folder.
        of: what was scored, in words.
    """
    scored = scoring.scored
    found: dict[str, Any] = {"mistakes": scoring.mistakes.write(run)}
    if isinstance(scored, Evaluation):
        confused = confusion(scored, of)
        return found | ({} if confused is None else {"confusion": confused})
    return found | {"per_class": _per_class(scored, of), "drawn": drawn(predictor, samples, run)}


def _per_class(scored: DetectionEvaluation | SegmentationEvaluation, of: str) -> dict[str, Any]:
    """As a report lists it; see `report.schema.PerClass`."""
    match scored:
        case DetectionEvaluation(scores=scores):
            columns = ["AP", "AP50"]
            rows = zip(scores.classes, scores.objects.tolist(), scores.class_ap, scores.class_ap50, strict=True)
            unit = "objects"
        case SegmentationEvaluation(scores=scores):
            columns = ["IoU", "accuracy"]
            pixels = scores.counts.sum(1).tolist()
            rows = zip(scores.classes, pixels, scores.iou, scores.class_accuracy, strict=True)
            unit = "pixels"
    lines = [
        {"name": name, "count": count, "scores": [None if np.isnan(v) else float(v) for v in values]}
        for name, count, *values in rows
    ]
    return {"of": of, "unit": unit, "columns": columns, "rows": lines}


def drawn(predictor: Predictor, samples: Sequence[Sample], run: Path) -> list[dict[str, Any]]:
    """Some images with what a model finds in them drawn on, below `run`; see `report.schema.Drawn`."""
    files = [sample.path for sample in samples if isinstance(sample.path, Path)]
    chosen = sorted(random.Random(0).sample(files, min(DRAWN, len(files))))
    told = predict_files(predictor, chosen, draw=run / "drawn")
    pictures = {picture.stem: picture for picture in (run / "drawn").rglob("*") if picture.is_file()}
    return [
        {"name": each.path.name, "picture": str(pictures[each.path.stem].relative_to(run)), "note": _note(each)}
        for each in told
        if each.path.stem in pictures
    ]


def _note(found: Any) -> str:
    if found.detections is not None:
        return f"{len(found.detections)} boxes" if len(found.detections) != 1 else "1 box"
    return ", ".join(f"{region.label} {region.part:.0%}" for region in found.regions[:3])
