"""The page with models inside, as files that any host can give."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenets.errors import MisuseError
from mobilenets.page import PAGE
from mobilenets.prediction.predictor import Predictor, open_model
from mobilenets.runtime.session import existing
from mobilenets.web.described import ANCHORS, DESCRIPTION, MODEL, anchors_bytes, browser_description, runs_in_browser
from mobilenets.web.files import runtime_files

_MODE = '<meta name="mobilenets-mode" content="{}">'


@dataclass(frozen=True, slots=True)
class Site:
    """A site that was written.

    Attributes:
        folder: what a host has to give.
        models: their names, in the page's order.
        bytes: of all files; a visitor loads one model and one of the two builds of onnxruntime-web.
    """

    folder: Path
    models: tuple[str, ...]
    bytes: int


def write_site(models: Sequence[Path], folder: str | Path) -> Site:
    """Write the page as a static site, whole or not at all: it runs the models in the visitor's browser.

    All addresses are relative, so it may lie under any path of a host.

    Args:
        models: .onnx files, which the page calls by their names without the suffix.
        folder: of the site; it must not hold files.

    Raises:
        MisuseError: no model, two of one name, one that no browser runs, a folder in use, or no onnxruntime-web.
        CheckpointError: a file that cannot be loaded.
    """
    folder = Path(folder)
    named = _named(models)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise MisuseError(f"{folder} exists and is not an empty folder: a site wants one of its own.")
    runtime = runtime_files()
    with _replacing_folder(folder) as temporary:
        _write_page(temporary)
        _copy(runtime, temporary / "static" / "ort")
        told = [_write_model(path, name, temporary / "models" / name) for name, path in named.items()]
        (temporary / "models.json").write_text(json.dumps({"models": told}, ensure_ascii=False), encoding="utf-8")
    return Site(folder, tuple(named), sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))


def _named(models: Sequence[Path]) -> dict[str, Path]:
    """Models by the page's names.

    Raises:
        MisuseError: no model, one that is not there or no .onnx file, or two of one name.
    """
    if not models:
        raise MisuseError("a site wants a model: name at least one.")
    named: dict[str, Path] = {}
    for path in map(existing, models):
        if path.suffix.lower() != ".onnx":
            raise MisuseError(f"{path}: browsers run .onnx files only.")
        if path.stem in named:
            raise MisuseError(f"{path} and {named[path.stem]} are both called {path.stem!r}: rename one.")
        named[path.stem] = path
    return named


def _write_page(folder: Path) -> None:
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    static = page.replace(_MODE.format("server"), _MODE.format("static"))
    assert static != page, "the page says where its models are"
    (folder / "index.html").write_text(static, encoding="utf-8")
    _copy(
        {file.name: file for file in PAGE.iterdir() if file.is_file() and file.name != "index.html"}, folder / "static"
    )


def _write_model(path: Path, name: str, folder: Path) -> dict[str, Any]:
    """A model's files; gives its entry in the list."""
    model = open_model(path)
    if not runs_in_browser(path, model):
        raise MisuseError(f"{path} takes images of {model.preprocessing.channels} channels: a page has grey or RGB.")
    folder.mkdir(parents=True)
    shutil.copyfile(path, folder / MODEL)
    description = browser_description(model, name)
    (folder / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")
    if (anchors := anchors_bytes(model, name)) is not None:
        (folder / ANCHORS).write_bytes(anchors)
    return _entry(path, name, model)


def _entry(path: Path, name: str, model: Predictor) -> dict[str, Any]:
    data = path.read_bytes()
    return {
        "name": name,
        "task": model.task,
        "resolution": model.preprocessing.resolution,
        "precision": model.metadata.get("precision", "fp32"),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "browser": True,
    }


def _copy(files: dict[str, Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        shutil.copyfile(source, folder / name)


@contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """A folder beside the wanted one that gets its name when the block ends well, and goes when it does not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as outer:
        inside = Path(outer) / folder.name
        inside.mkdir()
        yield inside
        inside.replace(folder)
