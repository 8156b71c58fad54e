"""What the page must know of a model to run it in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilenets.data.decode import DOWN_FIRST
from mobilenets.onnx import IMAGE
from mobilenets.prediction.answers import anchors_of, names_of
from mobilenets.prediction.predictor import Predictor
from mobilenets.runtime.session import Description

MODEL, ANCHORS, DESCRIPTION = "model.onnx", "anchors.bin", "browser.json"
"""How a model's files are called beside each other."""


def runs_in_browser(path: str | Path, model: Predictor) -> bool:
    """Whether onnxruntime-web reads the file, and a canvas can hold its images: ONNX, grey or RGB."""
    return Path(path).suffix.lower() == ".onnx" and model.preprocessing.channels in (1, 3)


def browser_description(model: Predictor, name: str) -> dict[str, Any]:
    """Plain JSON values: how an image becomes the input, and how the outputs are read.

    Args:
        model: an opened .onnx file.
        name: what people call it.

    Raises:
        CheckpointError: the file says of itself nothing that can be read.
    """
    about = Description.of(model.metadata, name)
    return {
        "name": name,
        "task": about.task,
        "classes": list(names_of(model)),
        "preprocessing": about.preprocessing.to_dict(),
        "short_side": about.preprocessing.short_side,
        "down_first": DOWN_FIRST,
        "input": IMAGE,
        "outputs": list(about.outputs),
        "postprocess": about.postprocess,
        "anchors": ANCHORS if _is_raw_detector(about) else None,
        "model": MODEL,
    }


def anchors_bytes(model: Predictor, name: str) -> bytes | None:
    """Anchors of a detector whose boxes are not made inside, float32 little endian (anchors, 4); else None.

    Raises:
        CheckpointError: the file says of itself nothing that can be read.
    """
    if not _is_raw_detector(Description.of(model.metadata, name)):
        return None
    return anchors_of(model).astype("<f4").tobytes()


def _is_raw_detector(about: Description) -> bool:
    return about.task == "detect" and about.postprocess == "outside"
