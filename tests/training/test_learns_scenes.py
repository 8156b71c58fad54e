"""From drawn scenes of several objects to a detector and a segmenter that beat a stated score, in a minute each."""

from __future__ import annotations

from pathlib import Path

import pytest

import mobilenets as mn
from mobilenets.data.scenes import write_detection, write_segmentation

KINDS = ("car", "house", "mushroom")


@pytest.fixture(scope="module")
def weights(shared: Path) -> Path:
    file = shared / "weights" / "tf_mobilenet_v1_025_224_imagenet.safetensors"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    return file


def test_a_detector_learns_scenes(weights: Path, tmp_path: Path) -> None:
    write_detection(tmp_path / "data", train=200, val=40, size=96, objects=(1, 2), kinds=KINDS)
    network = mn.scale(mn.network("ssdlite_mobilenet_v1"), 0.25, 96)
    options = {"out": tmp_path / "run", "weights": weights, "epochs": 9}
    model = mn.train(network, tmp_path / "data", **options)  # type: ignore[arg-type]
    assert model.info.task == "detect" and model.info.classes == KINDS
    assert model.info.metrics["val_ap50"] > 0.35  # 0.52 once


@pytest.mark.slow
def test_a_segmenter_learns_scenes(weights: Path, tmp_path: Path) -> None:
    write_segmentation(tmp_path / "data", train=200, val=40, size=96, objects=(1, 2), kinds=KINDS)
    network = mn.scale(mn.network("lraspp_mobilenet_v1"), 0.25, 96)
    options = {"out": tmp_path / "run", "weights": weights, "epochs": 5}
    model = mn.train(network, tmp_path / "data", **options)  # type: ignore[arg-type]
    assert model.info.task == "segment" and model.info.classes == ("background", *KINDS)
    assert model.info.metrics["val_miou"] > 0.45  # 0.578 once; all background: 0.20
