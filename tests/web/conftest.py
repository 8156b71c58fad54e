"""Small models as files, and the page with them inside."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import torch

from making import lively, tiny
from mobilenets.errors import MisuseError
from mobilenets.exports import Postprocess, write
from mobilenets.model import build
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import scale
from mobilenets.web import runtime_files, write_site
from mobilenets.zoo import INDEX, network

CLASSES = ("cat", "dog", "snowy_owl", "fox", "hen", "newt")
OBJECTS = ("cat", "dog", "owl")
SURFACES = ("background", "road", "tree", "sky")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models as .onnx files: boxes and masks made inside, and outside."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    crop = Preprocessing(64, crop=0.875, interpolation="bicubic")
    made = {
        "small": lively(build(scale(INDEX["mobilenet_v3_small"], 0.35, 64), CLASSES, preprocessing=crop)),
        "other": tiny(classes=("left", "right")),
    }
    dense = {
        name: lively(build(scale(network(f"{head}_mobilenet_v3_small"), 0.35, 96), classes))
        for name, head, classes in (("boxes", "ssdlite", OBJECTS), ("masks", "lraspp", SURFACES))
    }
    for name, model in (made | dense).items():
        write(model, folder / f"{name}.onnx")
    for name, model in dense.items():
        write(model, folder / f"raw_{name}.onnx", postprocess=Postprocess(inside=False))
    return {path.stem: path for path in folder.glob("*.onnx")}


@pytest.fixture(scope="session")
def runtime() -> None:
    """Skips where onnxruntime-web is not installed."""
    try:
        runtime_files()
    except MisuseError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight real photos."""
    tar = shared / "data" / "photos_80.tar"
    if not tar.is_file():
        pytest.skip(f"{tar} is not there")
    folder = tmp_path_factory.mktemp("photos")
    with tarfile.open(tar) as archive:
        some = sorted((m for m in archive.getmembers() if m.name.endswith(".jpg")), key=lambda m: m.name)[::10]
        archive.extractall(folder, members=some, filter="data")
    return sorted(folder.rglob("*.jpg"))


@pytest.fixture(scope="session")
def host(files: dict[str, Path], runtime: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's folder with the site under `deep/er/`."""
    folder = tmp_path_factory.mktemp("host")
    names = ("small", "other", "boxes", "raw_boxes", "masks", "raw_masks")
    write_site([files[name] for name in names], folder / "deep" / "er")
    return folder
