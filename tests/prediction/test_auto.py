"""`--runtime auto`: real runtimes, a choice that passes, is remembered, and says what it is of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mobilenets as mn
from mobilenets.errors import MisuseError
from mobilenets.prediction import auto
from mobilenets.prediction.auto import choose, open_auto, options

pytest.importorskip("openvino", reason="the extra `openvino` is not installed: there is nothing to choose from")

# OpenVINO 2026.4 in fp32 and bf16 in one process with torch corrupts the memory of trainings that follow
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("auto") / "model.onnx"
    net = mn.scale(mn.network("mobilenet_v1"), 0.25, 64)
    mn.export(mn.build(net, classes=["a", "b", "c"]), path)
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)


def test_all_that_can_run_it_are_tried(model: Path, images: np.ndarray) -> None:
    choice, session = choose(model, images)
    labels = {tried.label for tried in choice.tried}
    assert labels == {option.label for option in options(model)} and len(labels) == 3
    times = [tried.median_ms for tried in choice.tried if tried.median_ms is not None]
    assert times == sorted(times)
    assert session.runtime == choice.runtime
    assert np.allclose(session.run(images).sum(1), 1, atol=1e-2)


def test_a_choice_is_remembered_for_this_very_file(model: Path, images: np.ndarray) -> None:
    first, _ = choose(model, images)
    said: list[str] = []
    again, _ = choose(model, images, note=said.append)
    assert not first.remembered and again.remembered
    assert (again.runtime, again.arithmetic, again.tried) == (first.runtime, first.arithmetic, first.tried)
    assert "measured before" in said[0]
    assert not choose(model, images, fresh=True)[0].remembered
    assert not choose(model, images, threads=2)[0].remembered


def test_answers_that_change_too_much_do_not_pass(
    model: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "CHANGE", -1.0)  # nothing but the reference itself passes, which is not compared
    choice, _ = choose(model, images)
    assert choice.runtime == "onnxruntime"
    assert [tried.why_not != "" for tried in choice.tried] == [False, True, True]
    assert "answers change by" in choice.tried[-1].why_not


def test_a_users_images_decide_and_few_are_filled_up(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no image")
    assert open_auto(model, lambda _: [broken], threads=1).classes == ("a", "b", "c")


def test_misuse(model: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="export it first"):
        open_auto(tmp_path / "best.safetensors", lambda _: [])
    with pytest.raises(MisuseError, match="leave out 'bf16'"):
        open_auto(model, lambda _: [], precision="bf16")
    with pytest.raises(MisuseError, match="no bundle of `mobilenets export`"):
        choose(tmp_path, np.zeros((1, 64, 64, 3), np.uint8))
    (tmp_path / "artifacts.json").write_text(json.dumps({"artifacts": []}))
    with pytest.raises(MisuseError, match="none of its files was verified"):
        choose(tmp_path, np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(MisuseError, match="unknown kind of exported file"):
        choose(tmp_path / "x.txt", np.zeros((1, 64, 64, 3), np.uint8))


def test_predict_and_evaluate_choose(model: Path, tmp_path: Path) -> None:
    """By `auto`, and for a bundle's folder, in which only what was verified counts."""
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (80, 70), (90, 10, 200)).save(tmp_path / "photos" / name / "1.png")
    said: list[str] = []
    plain = mn.predict(model, tmp_path / "photos")
    chosen = mn.predict(model, tmp_path / "photos", runtime="auto", on_note=said.append)
    assert [p.label for p in chosen] == [p.label for p in plain]
    assert said[0].startswith("runtime auto: model.onnx in")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "m.onnx").write_bytes(model.read_bytes())
    good = {"file": "m.onnx", "format": "onnx", "precision": "fp32", "verification": {"passed": True}}
    bad = {"file": "no.onnx", "format": "onnx", "precision": "int8", "verification": {"passed": False}}
    (bundle / "artifacts.json").write_text(json.dumps({"artifacts": [good, bad]}))
    assert [p.label for p in mn.predict(bundle, tmp_path / "photos")] == [p.label for p in plain]
    assert mn.evaluate(bundle, tmp_path / "photos").images == 2
