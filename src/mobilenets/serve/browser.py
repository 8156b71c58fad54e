"""What a page needs to run a model by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilenets.onnx.writer import IMAGE
from mobilenets.prediction import Predictor
from mobilenets.prediction.answers import anchors_of, names_of
from mobilenets.runtime.session import Description

MODEL, ANCHORS = "model.onnx", "anchors.bin"


def runs_in_browser(path: Path, model: Predictor) -> bool:
    """Whether a page can run a file: ONNX, of images that a browser can decode."""
    return path.suffix.lower() == ".onnx" and model.preprocessing.channels in (1, 3)


def browser_description(model: Predictor, name: str) -> dict[str, Any]:
    """How an image becomes the input of a model's file, and what comes out: `browser.json`."""
    about = Description.of(model.metadata, name)
    return {
        "name": name,
        "task": about.task,
        "classes": list(names_of(model)),
        "preprocessing": about.preprocessing.to_dict(),
        "short_side": about.preprocessing.short_side,
        "input": IMAGE,
        "outputs": list(about.outputs),
        "postprocess": about.postprocess,
        "anchors": ANCHORS if _is_raw_detector(about) else None,
        "model": MODEL,
    }


def anchors_bytes(model: Predictor, name: str) -> bytes | None:
    """Anchors of a detector whose boxes are not made inside its file, float32 little endian (anchors, 4); else None."""
    return anchors_of(model).astype("<f4").tobytes() if _is_raw_detector(Description.of(model.metadata, name)) else None


def _is_raw_detector(about: Description) -> bool:
    return about.task == "detect" and about.postprocess == "outside"
