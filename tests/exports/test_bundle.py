"""A model in several formats at once: what stands in the folder, and that one failure stops nothing else."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from making import stripes
from mobilenets.cli import _run
from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.exports import bundle, planned
from mobilenets.model import MobileNet, save


def names(plan: Any) -> list[tuple[str, str]]:
    return [(format.name, precision) for format, precision in plan]


def test_plans() -> None:
    assert names(planned(["c", "onnx"], ["fp32"], has_images=False)) == [("onnx", "fp32"), ("c", "fp32")]
    everything = names(planned(["all"], ["fp32", "fp16", "int8"], has_images=True))
    assert ("litert", "int8") in everything and ("pytorch", "int8") not in everything
    assert names(planned(["coreml", "c"], ["int8"], has_images=False)) == [("coreml", "int8"), ("c", "int8")]
    with pytest.raises(UnknownNameError, match=r"'onxn'. Did you mean onnx.*Known: all, onnx"):
        planned(["onxn"], ["fp32"], has_images=False)
    with pytest.raises(UnknownNameError, match="unknown precision 'int16'"):
        planned(["all"], ["int16"], has_images=False)  # type: ignore[list-item]
    with pytest.raises(MisuseError, match=r"PyTorch archive .* has no int8"):
        planned(["onnx", "pytorch"], ["int8"], has_images=True)
    with pytest.raises(MisuseError, match=r"int8 \(ONNX, OpenVINO IR, .*--images PATHS"):
        planned(["all"], ["fp32", "int8"], has_images=False)


def test_a_bundle_has_a_manifest(toy: MobileNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = stripes(30, seed=9)
    monkeypatch.setitem(sys.modules, "coremltools", None)
    told: list[tuple[str, int, int]] = []
    plan = planned(["onnx", "coreml", "c"], ["fp32", "int8"], has_images=True)
    made = bundle(
        toy, tmp_path, plan=plan, images=images, labels=labels, calibration=stripes(24)[0],
        on_artifact=lambda *what: told.append(what),
    )  # fmt: skip
    assert told[0] == ("ONNX fp32", 0, 6) and ("C int8", 5, 6) in told
    failed = [artifact for artifact in made if artifact.error]
    assert [artifact.format for artifact in failed] == ["coreml", "coreml"]
    assert all("pip install 'mobilenets[coreml]'" in str(artifact.error) for artifact in failed)
    manifest = json.loads((tmp_path / "artifacts.json").read_text())
    assert manifest["classes"] == list(toy.info.classes)
    rows = {(row["format"], row["precision"]): row for row in manifest["artifacts"]}
    assert len(rows) == 6
    row = rows["onnx", "int8"]
    assert row["file"] == "model_int8.onnx"
    assert row["bytes"] == (tmp_path / "model_int8.onnx").stat().st_size
    assert row["sha256"] == {"model_int8.onnx": hashlib.sha256((tmp_path / "model_int8.onnx").read_bytes()).hexdigest()}
    assert row["verification"]["rule"] == "metric" and row["verification"]["passed"]
    assert row["batch"] is None and row["runtime"].startswith("onnxruntime ")
    assert row["census"]["quantized"] > 0
    assert set(rows["c", "fp32"]["sha256"]) == {"model_fp32.c", "model_fp32.h"}
    assert rows["coreml", "fp32"]["file"] is None and rows["coreml", "fp32"]["error"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    pack = json.loads((tmp_path / "parity" / "parity.json").read_text())
    assert len(pack["images"]) == 8
    assert "model_fp32.onnx" in (tmp_path / "loader.py").read_text()


@pytest.fixture
def checkpoint(toy: MobileNet, tmp_path: Path) -> Path:
    return save(toy, tmp_path / "toy.safetensors")


@pytest.fixture
def data(toy: MobileNet, tmp_path: Path) -> Path:
    images, labels = stripes(36, seed=5)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        split = "train" if i < 18 else "val"
        folder = tmp_path / "data" / split / toy.info.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    return tmp_path / "data"


Out = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Out:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = _run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_export_into_a_folder(run: Out, checkpoint: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    wanted = ("--formats", "onnx,c", "--precision", "fp32,int8", "--data", data)
    code, text, _ = run("export", checkpoint, out, *wanted, "--max-drop", 10)  # of 18 images
    assert code == 0, text
    assert {"artifacts.json", "model_fp32.onnx", "model_int8.onnx", "model_int8.c"} <= {p.name for p in out.iterdir()}
    assert "largest probability difference" in text
    assert "of the model's" in text
    assert "int8" in text and "any" in text
    code, text, _ = run("export", checkpoint, out, "--formats", "onnx", "--json")
    assert code == 0
    found = json.loads(text)
    assert found["artifacts"][0]["verification"]["passed"]


def test_export_names_what_failed(run: Out, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    code, _, said = run("export", checkpoint, tmp_path / "out", "--formats", "onnx,coreml")
    assert code == 1
    assert "coreml fp32 failed: writing model_fp32.mlpackage needs coremltools" in " ".join(said.split())
    assert (tmp_path / "out" / "model_fp32.onnx").is_file()


def test_export_of_one_int8_file(run: Out, checkpoint: Path, data: Path, tmp_path: Path) -> None:
    code, text, _ = run(
        "export", checkpoint, tmp_path / "m.onnx", "--precision", "int8", "--data", data, "--max-drop", 10
    )
    assert code == 0
    assert "int8, any number of images, verified: top-1" in text
    code, _, said = run("export", checkpoint, tmp_path / "n.onnx", "--precision", "int8")
    assert code == 2
    assert "--data DATA or --images PATHS" in said
    code, _, said = run("export", checkpoint, tmp_path / "n.onnx", "--precision", "fp32,int8", "--data", data)
    assert code == 2
    assert "one file holds one precision" in said


@pytest.mark.parametrize(
    ("runtime", "precision", "name"), [("openvino", "bf16", "m.xml"), ("onnxruntime", "fp32", "m.onnx")]
)
def test_any_artifact_evaluates_and_predicts(
    runtime: str, precision: str, name: str, run: Out, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    assert run("export", checkpoint, tmp_path / name)[0] == 0
    options = ("--runtime", runtime, "--precision", precision)
    code, text, said = run("evaluate", tmp_path / name, data, *options, "--json")
    assert code == 0, said
    assert json.loads(text)["top1"] > 0.8
    code, text, _ = run("predict", tmp_path / name, data / "val", *options, "--json")
    assert code == 0
    assert len(json.loads(text)["predictions"]) == 18
    code, _, said = run("predict", tmp_path / name, data / "val", "--runtime", "litert")
    assert code == 2
    assert "litert does not read" in said
