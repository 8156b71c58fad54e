"""Small models in files, pictures, and a server of them for most tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `serve` is not installed")

import torch
from serving import Client, Running, running

from making import lively, picture, tiny
from mobilenets.model import arrays, build, save
from mobilenets.onnx import to_onnx
from mobilenets.serve.settings import Settings
from mobilenets.table import scale
from mobilenets.zoo import network


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A classifier, a detector and a segmenter as ONNX files, and the classifier's checkpoint."""
    folder = tmp_path_factory.mktemp("served")
    names = {
        "boxes": ("ssdlite_mobilenet_v2", ("cell", "platelet", "bubble")),
        "masks": ("lraspp_mobilenet_v2", ("background", "road", "tree", "sky")),
    }
    made = {"labels": tiny()}
    for name, (network_name, classes) in names.items():
        torch.manual_seed(0)
        made[name] = lively(build(scale(network(network_name), 0.25, 96), classes))
    for name, model in made.items():
        proto = to_onnx(model.network, arrays(model), model.info.preprocessing, classes=model.info.classes)
        (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
    save(made["labels"], folder / "checkpoint.safetensors")
    return {name: folder / f"{name}.onnx" for name in made} | {"checkpoint": folder / "checkpoint.safetensors"}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve pictures of 120 x 100 pixels, JPEG and PNG by turns."""
    folder = tmp_path_factory.mktemp("pictures")
    return [picture(folder / f"{i:02}.{'jpg' if i % 2 else 'png'}", seed=i) for i in range(12)]


@pytest.fixture(scope="session")
def served(files: dict[str, Path]) -> Iterator[Running]:
    """All of them, under strict limits."""
    chosen = {name: files[name] for name in ("labels", "boxes", "masks")}
    settings = Settings(max_body_bytes=200_000, max_pixels=1_000_000, max_images=16, threads=1, timeout_s=20)
    with running(chosen, settings) as server:
        yield server


@pytest.fixture
def client(served: Running) -> Client:
    return served.client
