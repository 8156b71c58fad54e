"""The page as a static site: what lies in it, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from making import tiny
from mobilenets.cli import _run
from mobilenets.data.decode import DOWN_FIRST
from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.heads import anchors
from mobilenets.latency.devices.browser import ORT_WEB
from mobilenets.model import save
from mobilenets.page import PAGE
from mobilenets.prediction import open_model
from mobilenets.table import json as table_json
from mobilenets.web import anchors_bytes, browser_description, runs_in_browser, write_site


def test_a_description_says_what_the_page_must_know(files: dict[str, Path]) -> None:
    said = browser_description(open_model(files["small"]), "small")
    assert said["classes"][2] == "snowy_owl" and said["task"] == "classify"
    assert (said["short_side"], said["down_first"]) == (73, DOWN_FIRST)
    assert said["preprocessing"]["interpolation"] == "bicubic" and said["preprocessing"]["resolution"] == 64
    assert (said["input"], said["outputs"], said["anchors"], said["model"]) == (
        "image", ["probabilities"], None, "model.onnx",
    )  # fmt: skip
    assert json.loads(json.dumps(said))["name"] == "small"


def test_anchors_go_with_raw_detectors_only(files: dict[str, Path]) -> None:
    raw, inside = open_model(files["raw_boxes"]), open_model(files["boxes"])
    assert browser_description(raw, "raw")["anchors"] == "anchors.bin"
    assert browser_description(inside, "inside")["anchors"] is None
    data = anchors_bytes(raw, "raw")
    assert data is not None and anchors_bytes(inside, "inside") is None
    expected = anchors(table_json.loads(raw.metadata["table"], where="here"))
    np.testing.assert_array_equal(np.frombuffer(data, "<f4").reshape(-1, 4), expected)


def test_which_files_a_browser_runs(files: dict[str, Path]) -> None:
    model = open_model(files["small"])
    assert runs_in_browser("m.onnx", model)
    assert not runs_in_browser("m.xml", model)


def test_no_torch_is_loaded() -> None:
    code = "import sys, mobilenets.web; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_site_is_whole_and_relative(host: Path, files: dict[str, Path]) -> None:
    site = host / "deep" / "er"
    listed = json.loads((site / "models.json").read_text())["models"]
    assert [model["name"] for model in listed] == ["small", "other", "boxes", "raw_boxes", "masks", "raw_masks"]
    assert all(model["browser"] for model in listed)
    assert (site / "models/small/model.onnx").read_bytes() == files["small"].read_bytes()
    assert (site / "models/raw_boxes/anchors.bin").is_file() and not (site / "models/boxes/anchors.bin").exists()
    assert {path.name for path in (site / "static/ort").iterdir()} >= {"ort.wasm.min.mjs", "LICENSE"}
    page = (site / "index.html").read_text()
    assert 'content="static"' in page and 'content="server"' in (PAGE / "index.html").read_text()
    assert not re.search(r"(href|src)=\"(/|\w+:)", page), "only relative addresses"
    assert "<style" not in page and "style=" not in page and not re.search(r"<script(?![^>]* src=)", page)
    assert [path.name for path in host.joinpath("deep").iterdir()] == ["er"], "nothing else is left"


def test_without_onnxruntime_web(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ORT_WEB, str(tmp_path / "none"))
    with pytest.raises(MisuseError, match=r"^the web page needs onnxruntime-web, .*: npm install .*onnxruntime-web@"):
        write_site([files["small"]], tmp_path / "site")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "ort.wasm.min.mjs").touch()
    with pytest.raises(MisuseError, match=r"none lacks ort-wasm-simd-threaded\.mjs, "):
        write_site([files["small"]], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_what_is_refused(files: dict[str, Path], runtime: None, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="a site wants a model"):
        write_site([], tmp_path / "site")
    with pytest.raises(MisuseError, match="no such file: "):
        write_site([tmp_path / "none.onnx"], tmp_path / "site")
    (tmp_path / "m.tflite").touch()
    with pytest.raises(MisuseError, match=r"m\.tflite: browsers run \.onnx files only"):
        write_site([tmp_path / "m.tflite"], tmp_path / "site")
    with pytest.raises(MisuseError, match="are both called 'small': rename one"):
        write_site([files["small"], files["small"]], tmp_path / "site")
    with pytest.raises(MisuseError, match="exists and is not an empty folder"):
        write_site([files["small"]], tmp_path)


def test_a_site_that_fails_leaves_nothing(files: dict[str, Path], runtime: None, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(files["other"].read_bytes()[:-5000])
    with pytest.raises(CheckpointError):
        write_site([files["small"], tmp_path / "cut.onnx"], tmp_path / "site")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.onnx"]


def test_the_verb(files: dict[str, Path], runtime: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tiny(), tmp_path / "net.safetensors")
    arguments = [str(tmp_path / "net.safetensors"), str(tmp_path / "site"), "--format", "web"]
    assert _run(["export", *arguments, "--also", str(files["boxes"])]) == 0
    said = "".join(capsys.readouterr().out.split())
    assert "site:asitewithnet,boxes," in said and f"python-mhttp.server-d{tmp_path / 'site'}" in said
    assert open_model(tmp_path / "site/models/net/model.onnx").classes == ("cat", "dog", "owl")
    assert _run(["export", *arguments]) == 2
    assert "is not an empty folder" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--formats", "web,onnx"), "web is a site, not a file: ask for it alone"),
        (("--also", "b.onnx"), "--also names more models for a site: it goes with --format web"),
    ],
)
def test_options_that_do_not_go_together(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["export", "a.onnx", "out", *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
