"""`mobilenets check`: exit codes, JSON, contact sheet, wrong input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.cli import _run
from mobilenets.data.scenes import KINDS, write_classification

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = _run(["check", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "scenes"
    write_classification(folder, per_class_train=10, per_class_val=2, size=80)
    return folder


@pytest.fixture
def faulty(clean: Path, tmp_path: Path) -> Path:
    """A leak, a broken file, a wrong name, and markup in a name."""
    root = Path(shutil.copytree(clean, tmp_path / "data"))
    shutil.copy(root / "train" / "car" / "0001.jpg", root / "val" / "car" / "copy[bold].jpg")
    (root / "train" / "key" / "text.jpg").write_text("[/foo] is no picture")
    Image.open(root / "train" / "mug" / "0001.jpg").save(root / "train" / "fish" / "mug.jpg", "PNG")
    return root


def test_clean_data(run: Run, clean: Path) -> None:
    code, out, err = run(clean, "--strict")
    assert code == 0
    assert "96 images: 0 faults, 0 warnings, 0 notes" in out and "butterfly" in out
    assert "looking at the images" in err


def test_faults_are_named_and_strict_fails(run: Run, faulty: Path) -> None:
    code, out, _ = run(faulty)
    assert code == 0
    for words in ("leak", "copy[bold].jpg", "text.jpg", "unreadable", "wrong extension", "label conflict", "mug.jpg"):
        assert words in out
    assert run(faulty, "--strict")[0] == 1


def test_json_is_one_object(run: Run, faulty: Path) -> None:
    code, out, _ = run(faulty, "--json", "--strict")
    report = json.loads(out)
    assert code == 1 and report["faults"] == 3 and report["warnings"] == 1
    assert {f["kind"] for f in report["findings"]} == {"leak", "label conflict", "unreadable", "wrong extension"}
    assert report["counts"]["train"] == dict.fromkeys(KINDS, 10) | {"key": 11, "fish": 11}


def test_contact_sheet(run: Run, faulty: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    code, printed, err = run(faulty, "--out", out, "--limit", 0)
    assert code == 0 and "contact.png" in printed and "Warning" not in err
    assert sorted(p.name for p in out.iterdir()) == ["check.json", "contact.png"]
    assert json.loads((out / "check.json").read_text(encoding="utf-8"))["images"] == 99
    sheet = np.asarray(Image.open(out / "contact.png").convert("RGB"))
    leaked = np.asarray(Image.open(faulty / "train" / "car" / "0001.jpg"))
    assert min(sheet.shape[:2]) > 300 and len(np.unique(sheet.reshape(-1, 3), axis=0)) > 2000
    assert np.abs(sheet.reshape(-1, 3).astype(int) - leaked.mean((0, 1))).sum(1).min() < 20
    assert run(faulty, "--out", out)[0] == 0  # again, over its own files


def test_sheet_of_clean_data_says_so(run: Run, clean: Path, tmp_path: Path) -> None:
    assert run(clean, "--out", tmp_path / "found")[0] == 0
    assert (tmp_path / "found" / "contact.png").is_file()


def test_sizes_follow_the_resolution(run: Run, clean: Path) -> None:
    assert "too small" not in run(clean, "--resolution", 240)[1]
    assert "too small" in run(clean, "--resolution", 241)[1]


def test_suspicious_labels(run: Run, clean: Path, tmp_path: Path) -> None:
    """A model whose classifier knows one answer is sure of it for every image."""
    import torch

    import mobilenets as mn

    model = mn.build(mn.scale(mn.network("mobilenet_v3_small"), 0.25, 32), list(KINDS))
    with torch.no_grad():
        model.eval()
        *_, bias = model.parameters()
        bias[KINDS.index("key")] = 50.0
    mn.save(model, tmp_path / "m.safetensors")
    code, out, _ = run(clean, "--model", tmp_path / "m.safetensors", "--split", "valid", "--json")
    report = json.loads(out)
    assert code == 0 and report["warnings"] == 14
    assert all("the model says key (100%" in f["message"] for f in report["findings"])
    assert not any("/key/" in path or "/train/" in path for f in report["findings"] for path in f["paths"])
    code, _, err = run(clean, "--model", tmp_path / "m.safetensors", "--split", "test")
    assert code == 2 and "found train, val" in err


def test_a_model_of_other_classes(run: Run, clean: Path, tmp_path: Path) -> None:
    import mobilenets as mn

    mn.save(mn.build(mn.scale(mn.network("mobilenet_v3_small"), 0.25, 32), ["a", "car"]), tmp_path / "m.safetensors")
    code, _, err = run(clean, "--model", tmp_path / "m.safetensors")
    assert code == 1 and "7 classes are none of the model: +bottle" in err


def test_wrong_input(run: Run, clean: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").write_bytes(b"x")
    for arguments, words in (
        ((tmp_path / "nowhere",), "no such folder"),
        ((tmp_path / "photo.jpg",), "is a file"),
        ((tmp_path / "empty",), "no images"),
        ((clean, "--resolutoin", 96), "--resolution"),
        ((clean, "--resolution", 0), "at least 1"),
        ((clean, "--limit", -1), "0 or more"),
        ((clean, "--split", "val"), "--model"),
        ((clean, "--model", tmp_path / "none.onnx"), "none.onnx"),
        ((clean, "--out", tmp_path / "photo.jpg"), "--out needs a folder"),
        ((clean, "--out", clean / "found"), "lies in the data"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), arguments
        assert words in err, err
    assert sorted(p.name for p in clean.iterdir()) == ["train", "val"]
