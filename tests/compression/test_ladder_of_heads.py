"""The ladder for detectors and segmenters: scored by AP and mIoU in the file's own runtime."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from making import lively, pixels
from mobilenets.compression.techniques import Ground, Made, techniques
from mobilenets.compression.work import Work
from mobilenets.data.annotations import Boxes
from mobilenets.data.cache import Squares
from mobilenets.data.splits import Label
from mobilenets.exports import Postprocess
from mobilenets.exports.likeness import model_outputs
from mobilenets.heads import anchors, detections_in
from mobilenets.model import MobileNet, build
from mobilenets.precision import Scheme
from mobilenets.runtime import open_artifact
from mobilenets.table import scale
from mobilenets.watching import Watcher
from mobilenets.zoo import network


@dataclass(frozen=True)
class Drawn:
    """A mask in memory."""

    values: bytes
    labels: tuple[int, ...] = ()

    def read(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.values, np.uint8).reshape(96, 96)


def own_answers(model: MobileNet, images: NDArray[np.uint8]) -> list[Label]:
    """What the float model finds, as the truth: float is right then, and int8 nearly."""
    outputs = model_outputs(model, images)
    if model.info.task == "segment":
        return [Drawn(mask.astype(np.uint8).tobytes()) for mask in outputs["probabilities"].argmax(1)]
    found = detections_in(outputs, anchors(model.network), score=0.5)
    return [Boxes(tuple(map(tuple, one.boxes * 96)), tuple(map(int, one.classes)), (), (96, 96)) for one in found]


def no_training() -> tuple[Squares, Squares]:
    raise AssertionError("nothing is trained")


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        pytest.param("ssdlite_mobilenet_v3_small", True, marks=pytest.mark.slow),
        ("lraspp_mobilenet_v3_small", False),
    ],
)
def test_a_rung_is_scored_and_kept(name: str, inside: bool, tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    torch.manual_seed(0)
    model = lively(build(scale(network(name), 0.35, 96), ["cat", "dog", "owl"]))
    images = pixels(2, 96)
    ground = Ground(model, images, no_training, tmp_path, 1.0, 0, wide=True, watcher=Watcher())
    labels, ending = own_answers(model, images), Postprocess(inside=inside)
    work = Work(model, tmp_path / "model.onnx", images, labels, ground, 0.9, {}, postprocess=ending)
    done = work.result(Scheme())
    assert done.passed and done.artifact == tmp_path / "model.int8.onnx"
    session = open_artifact(done.artifact)
    assert session.precision == "int8"
    assert session.metadata["postprocess"] == ("inside" if inside else "outside")
    report = json.loads((tmp_path / "quantize.json").read_text(encoding="utf-8"))
    assert report["metric_name"] == {"detect": "ap", "segment": "miou"}[model.info.task]
    assert report["float"]["metric"] > 0.9
    assert 0.1 < report["rungs"][0]["score"]["metric"] < report["float"]["metric"], "rounding costs something"
    assert len(report["nodes"]) > 20 and report["verification"]["rule"] == "metric"
    *_, aware, minimal = techniques(ground)
    for technique in (aware, minimal):
        (attempt,) = technique(Made(model, Scheme()))
        assert attempt.made is None and attempt.note == "only classifiers are trained for int8 so far"
