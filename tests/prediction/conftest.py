"""A small detector and a small segmenter, each as a checkpoint and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from making import lively, picture
from mobilenets.model import MobileNet, arrays, build, save
from mobilenets.onnx import to_onnx
from mobilenets.table import scale
from mobilenets.zoo import network

OBJECTS = ("cell", "platelet", "bubble")
SURFACES = ("background", "road", "tree", "sky")


class Made(NamedTuple):
    """The same model three ways."""

    memory: MobileNet
    checkpoint: Path
    artifact: Path


def made(folder: Path, name: str, classes: tuple[str, ...]) -> Made:
    torch.manual_seed(0)
    model = lively(build(scale(network(name), 0.25, 96), classes))
    save(model, folder / f"{name}.safetensors")
    proto = to_onnx(model.network, arrays(model), model.info.preprocessing, classes=classes)
    (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
    return Made(model, folder / f"{name}.safetensors", folder / f"{name}.onnx")


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("detector"), "ssdlite_mobilenet_v2", OBJECTS)


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("segmenter"), "lraspp_mobilenet_v2", SURFACES)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of 120 x 100 pixels, one in a folder of its own, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    for i, name in enumerate(("a.png", "b.jpg", "more/a.png")):
        picture(folder / name, seed=i)
    (folder / "c.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    return folder
