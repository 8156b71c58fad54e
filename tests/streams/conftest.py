"""The small models of the room above."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from making import lively, pixels, tiny
from mobilenets.exports import export
from mobilenets.model import arrays, build
from mobilenets.onnx import to_onnx
from mobilenets.table import scale
from mobilenets.zoo import network


class Made:
    """A model as a file."""

    def __init__(self, artifact: Path) -> None:
        self.artifact = artifact


def made(folder: Path, name: str, classes: tuple[str, ...]) -> Made:
    torch.manual_seed(0)
    model = lively(build(scale(network(name), 0.25, 96), classes))
    proto = to_onnx(model.network, arrays(model), model.info.preprocessing, classes=classes)
    (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
    return Made(folder / f"{name}.onnx")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier."""
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    export(tiny(), path, images=pixels(2, 64))
    return path


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("detector"), "ssdlite_mobilenet_v2", ("cell", "platelet", "bubble"))


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("segmenter"), "lraspp_mobilenet_v2", ("background", "road", "tree", "sky"))
