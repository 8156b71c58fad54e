"""Predictions as lines of CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from mobilenets.metrics import Task
from mobilenets.prediction import Prediction


def csv_header(task: Task, *, features: bool = False) -> str:
    """The first line of a CSV file of predictions."""
    return _line([*_columns(task), *(["features"] if features else []), "error"])


def csv_rows(found: Prediction, *, features: bool = False) -> str:
    """A line for an image; where the model finds boxes or regions one for each, and none where it finds none.

    Features are a JSON list in one cell.
    """
    more = [json.dumps(found.features or [])] if features else []
    if found.error is not None:
        task: Task = (
            "detect" if found.detections is not None else "segment" if found.regions is not None else "classify"
        )
        return _line([found.name, *[""] * (len(_columns(task)) - 1), *([""] if features else []), found.error])
    if found.detections is not None:
        corners = [(each, *each.box) for each in found.detections]
        rows: list[list[Any]] = [[one.label, one.score, x0, y0, x1 - x0, y1 - y0] for one, x0, y0, x1, y1 in corners]
    elif found.regions is not None:
        rows = [[one.label, one.pixels, one.part] for one in found.regions]
    else:
        rows = [[found.label, found.score]]
    return "".join(_line([found.name, *row, *more, ""]) for row in rows)


def task_of(found: Prediction) -> Task:
    """What the model gives that a prediction is of."""
    if found.detections is not None:
        return "detect"
    return "classify" if found.regions is None else "segment"


def json_line(values: dict[str, Any]) -> str:
    """An object on a line of its own."""
    return json.dumps(values, ensure_ascii=False) + "\n"


def _columns(task: Task) -> list[str]:
    match task:
        case "detect":
            return ["path", "label", "score", "x", "y", "width", "height"]
        case "segment":
            return ["path", "label", "pixels", "part"]
        case "classify" | "multi-label":
            return ["path", "label", "score"]


def _line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
