"""Small models as files, and the page with them inside."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from making import lively, picture, tiny
from mobilenets.errors import MisuseError
from mobilenets.exports import Postprocess, write
from mobilenets.model import build
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import scale
from mobilenets.web import runtime_files, write_site
from mobilenets.zoo import INDEX, network

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip
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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("Chromium is not installed: the page is not looked at in a real browser")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture(tmp_path_factory.mktemp("photo") / "scene.png", seed=3)
