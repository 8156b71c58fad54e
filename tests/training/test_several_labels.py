"""Images with any number of classes: sigmoids from the loss to the exported file, mean average precision as score."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import mobilenets as mn
from mobilenets.cli import _run
from mobilenets.metrics import average_precision, mean_average_precision
from mobilenets.runtime import open_artifact
from mobilenets.training import Recipe

COLOURS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with patches of one, two, three or none of three colours, and a CSV that says which."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("colours")
    random = np.random.default_rng(0)
    lines = ["path,label,split"]
    for i in range(400):
        present = [c for c in range(3) if random.random() < 0.45]
        image = random.integers(0, 60, (48, 48, 3), dtype=np.uint8)
        for c in present:
            y, x = random.integers(0, 28, 2)
            image[y : y + 20, x : x + 20, 2 - c] = 255
        Image.fromarray(image).save(folder / f"{i}.png")
        split = "train" if i < 340 else "val" if i < 375 else "test"
        lines.append(f"{i}.png,{'|'.join(COLOURS[c] for c in present)},{split}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def trained(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    network = mn.scale(mn.network("mobilenet_v1"), 0.25, 48)
    recipe = Recipe(epochs=12, batch_size=16, optimizer="adamw", lr=1e-2, precision="fp32", low_resolution=1.0)
    mn.train(network, colours / "labels.csv", out=out, recipe=recipe, weights="none")
    return out


def test_average_precision_by_hand() -> None:
    truth = np.array([[1, 0], [0, 0], [1, 0], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.4]], np.float32)
    found = average_precision(truth, scores)
    assert found[0] == pytest.approx((1 / 1 + 2 / 3) / 2) and np.isnan(found[1])
    assert mean_average_precision(truth, scores) == found[0]
    ties = average_precision(np.array([[1], [0]]), np.array([[0.5], [0.5]], np.float32))
    assert ties[0] == 0.5  # whichever of the two came first would be chance


def test_it_learns_and_says_so_under_the_metrics_name(trained: Path) -> None:
    model = mn.load(trained / "best.safetensors")
    assert model.info.task == "multi-label" and model.info.classes == COLOURS
    assert model.info.metrics["val_map"] > 0.85
    lines = list(csv.DictReader((trained / "metrics.csv").open()))
    assert max(float(line["val_map"]) for line in lines) == model.info.metrics["val_map"]
    assert (trained / "precision.png").is_file() and not (trained / "confusion.png").exists()
    assert (trained / "samples.png").is_file()


def test_the_artifact_says_the_same(trained: Path, colours: Path, tmp_path: Path) -> None:
    proof = mn.export(trained / "best.safetensors", tmp_path / "m.onnx", images=[colours])
    assert proof.passed
    session = open_artifact(tmp_path / "m.onnx")
    assert session.task == "multi-label"
    said = session.run(np.zeros((1, 48, 48, 3), np.uint8))
    assert said.sum() != pytest.approx(1.0, abs=0.05)
    first, second = (
        mn.evaluate(model, colours / "labels.csv") for model in (tmp_path / "m.onnx", trained / "best.safetensors")
    )
    assert first.task == "multi-label" and first.images == 25
    assert first.metric == pytest.approx(second.metric, abs=1e-3) and first.metric > 0.8


def test_labels_are_joined(trained: Path, colours: Path) -> None:
    from PIL import Image

    both = np.zeros((48, 48, 3), np.uint8)
    both[4:24, 4:24, 0] = both[24:44, 24:44, 2] = 255
    Image.fromarray(both).save(colours / "both.bmp")
    (found,) = mn.predict(trained / "best.safetensors", colours / "both.bmp")
    named = set(str(found.label).split("|"))
    assert named == {name for name, score in found.top if score >= 0.5} and {"red", "blue"} <= named


def test_verbs(trained: Path, colours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, table = str(trained / "best.safetensors"), str(colours / "labels.csv")
    assert _run(["evaluate", model, table]) == 0
    assert "mAP" in capsys.readouterr().out
    assert _run(["evaluate", model, table, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["task"] == "multi-label" and len(result["average_precision"]) == 3 and result["map"] > 0.8
