"""`quantize` on a small network that was really trained: the gate, the ladder, the files, the resume."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import mobilenets as mn
from making import TOY
from mobilenets.cli import _run
from mobilenets.errors import DataError, MisuseError
from mobilenets.runtime import open_artifact
from mobilenets.training import Recipe
from mobilenets.watching import Watcher


class Notes(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class StopAt(Notes):
    """Ctrl-C when a phase begins."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self.stop = phase

    def phase(self, name: str, total: int | None = None) -> None:
        if name == self.stop:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def trained(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of a few rows, trained for a moment."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("trained") / "run"
    mn.train(TOY, small_scenes, out=run, recipe=Recipe(epochs=4), weights="none")
    return run / "best.safetensors"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))


def test_what_passes_is_int8_proven_and_told(trained: Path, small_scenes: Path, tmp_path: Path) -> None:
    done = mn.quantize(trained, small_scenes, max_drop=0.5, minutes=0, out=tmp_path / "q")
    assert done.passed and done.artifact == tmp_path / "q" / "model.int8.onnx"
    assert open_artifact(done.artifact).precision == "int8"
    report = json.loads((tmp_path / "q" / "quantize.json").read_text())
    assert report["chosen"] == "calibration: minmax" and len(report["rungs"]) == 1
    # the score is the file's own: asked again, it is the same
    again = mn.evaluate(done.artifact, small_scenes, split="val")
    assert again.metric == pytest.approx(report["rungs"][0]["score"]["metric"])
    assert report["verification"]["passed"] and report["nodes"] and report["images"] == 32
    for name in ("sensitivity.png", "report.html", "report.json", "model.safetensors"):
        assert (tmp_path / "q" / name).stat().st_size > 0
    page = (tmp_path / "q" / "report.html").read_text()
    assert "calibration: minmax" in page and "model.int8.onnx" in page


def test_where_nothing_passes_float_is_kept(
    trained: Path,
    small_scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An allowed drop below what any rung gains: all of them are climbed, and the verb fails."""
    room = sys.modules["mobilenets.compression.quantize"]  # the room shows the function under this name
    monkeypatch.setattr(room, "_suffix", lambda *_: ".onnx")  # lets an impossible bound through
    out = tmp_path / "q"
    arguments = [
        "quantize",
        str(trained),
        "--data",
        str(small_scenes),
        "--minutes",
        "0",
        "--max-drop=-90",
        "--out",
        str(out),
    ]
    assert _run(arguments) == 1
    said = capsys.readouterr().out
    assert "the float file" in said and "is kept" in said
    names = [rung["name"] for rung in json.loads((out / "quantize.json").read_text())["rungs"]]
    assert names[:5] == [
        "calibration: minmax", "calibration: percentile", "calibration: entropy", "equalization", "bias correction",
    ]  # fmt: skip
    assert "worst 1 in 16 bits" in names and "worst 8 in float" in names
    rungs = {rung["name"]: rung for rung in json.loads((out / "quantize.json").read_text())["rungs"]}
    assert "no minutes" in rungs["quantization-aware fine-tuning"]["note"]
    assert "nothing" not in rungs["worst 1 in float"]["note"]
    assert "row" in rungs["worst 1 in float"]["note"]
    assert (out / "model.onnx").is_file() and not (out / "model.int8.onnx").exists()


def test_an_interrupted_climb_goes_on(trained: Path, small_scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "q"
    with pytest.raises(KeyboardInterrupt):
        mn.quantize(trained, small_scenes, minutes=0, every=True, out=out, watcher=StopAt("bias correction"))
    before = json.loads((out / "quantize.json").read_text())["rungs"]
    assert [rung["name"] for rung in before][-1] == "equalization"
    with pytest.raises(MisuseError, match="begun with max_drop"):
        mn.quantize(trained, small_scenes, minutes=0, max_drop=0.3, out=out, resume=True)
    watcher = StopAt("which nodes lose most")
    with pytest.raises(KeyboardInterrupt):
        mn.quantize(trained, small_scenes, minutes=0, every=True, out=out, resume=True, watcher=watcher)
    after = json.loads((out / "quantize.json").read_text())["rungs"]
    assert after[: len(before)] == before and after[len(before)]["name"] == "bias correction"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "coreml"}, "must be one of onnx, openvino, litert, executorch"),
        ({"max_drop": 1.5}, "0.01 is one point"),
        ({"minutes": -1.0}, "must not be negative"),
        ({"resume": True}, "--resume needs --out"),
    ],
)
def test_misuse(trained: Path, small_scenes: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(MisuseError, match=words):
        mn.quantize(trained, small_scenes, **options)  # type: ignore[arg-type]


def test_what_is_no_float_checkpoint_or_other_data(trained: Path, small_scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(MisuseError, match="is an exported file: give the checkpoint"):
        mn.quantize(tmp_path / "m.onnx", small_scenes)
    other = tmp_path / "other"
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (other / split / name).mkdir(parents=True)
            for path in list((small_scenes / split).glob("*/*.jpg"))[:3]:
                (other / split / name / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="no class of the model"):
        mn.quantize(trained, other, out=tmp_path / "q")
    assert not (tmp_path / "q").exists()
