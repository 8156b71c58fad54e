"""What a page needs to run a model by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from mobilenets.outputs import output_names
from mobilenets.prediction.answers import anchors_of, names_of
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession
from mobilenets.serve.models import Model

MODEL, ANCHORS = "model.onnx", "anchors.bin"


def description(model: Model) -> dict[str, Any]:
    """How an image becomes the input of a model's file, and what comes out: `browser.json`."""
    first = model.first
    inside = first.metadata.get("postprocess") == "inside"
    return {
        "name": model.name,
        "task": first.task,
        "classes": list(names_of(first)),
        "preprocessing": first.preprocessing.to_dict(),
        "short_side": first.preprocessing.short_side,
        "input": first.input_name if isinstance(first, OnnxRuntimeSession) else "images",
        "outputs": list(output_names(first.task, "inside" if inside else "outside")),
        "postprocess": "inside" if inside else "outside",
        "anchors": ANCHORS if needs_anchors(model) else None,
        "model": MODEL,
    }


def needs_anchors(model: Model) -> bool:
    """Whether boxes are decoded outside the file."""
    return model.first.task == "detect" and model.first.metadata.get("postprocess") != "inside"


def anchors_bytes(model: Model) -> bytes:
    """A detector's anchors, float32 little endian: (anchors, 4)."""
    return np.ascontiguousarray(anchors_of(model.first), "<f4").tobytes()
