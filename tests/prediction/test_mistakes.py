"""Worst mistakes and confusion as a report holds them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from making import picture, tiny
from mobilenets.data.folder import Sample
from mobilenets.exports import export
from mobilenets.prediction import WorstMistakes, confusion, evaluate_samples, open_model, score

CLASSES = ("cat", "dog", "owl")


def seen(
    labels: list[int | tuple[int, ...]], rows: list[list[float]], channels: int = 3, limit: int = 24
) -> WorstMistakes:
    found = WorstMistakes(CLASSES, limit)
    samples = [Sample(Path(f"{i}.jpg"), label) for i, label in enumerate(labels)]
    images = np.stack([np.full((200, 200, channels), 10 * i, np.uint8) for i in range(len(labels))])
    found.see(samples, images, np.array(rows, np.float32))
    return found


def test_the_least_probability_for_the_truth_comes_first(tmp_path: Path) -> None:
    rows = [[0.9, 0.05, 0.05], [0.6, 0.4, 0.0], [0.5, 0.01, 0.49], [0.3, 0.3, 0.4]]
    found = seen([0, 1, 1, 0], rows).write(tmp_path)
    assert (found["images"], found["wrong"]) == (4, 3)
    assert [one["name"] for one in found["shown"]] == ["2.jpg", "3.jpg", "1.jpg"]
    worst = found["shown"][0]
    assert (worst["true"], worst["predicted"]) == ("dog", "cat")
    assert worst["confidence"] == pytest.approx(0.5) and worst["true_confidence"] == pytest.approx(0.01)
    with Image.open(tmp_path / worst["picture"]) as shown:
        assert shown.size == (160, 160) and abs(shown.getpixel((5, 5))[0] - 20) <= 2, "the picture is its own"
    json.dumps(found)


def test_only_the_worst_are_kept_and_equal_ones_by_their_order(tmp_path: Path) -> None:
    found = seen([1] * 9, [[0.8, 0.1, 0.1]] * 9, limit=4).write(tmp_path)
    assert found["wrong"] == 9
    assert [one["name"] for one in found["shown"]] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert len(list((tmp_path / "mistakes").iterdir())) == 4
    assert seen([1], [[0.8, 0.1, 0.1]], limit=0).write(tmp_path / "none")["shown"] == []


def test_several_classes_an_image(tmp_path: Path) -> None:
    rows = [[0.9, 0.8, 0.1], [0.9, 0.1, 0.1], [0.4, 0.3, 0.2]]
    found = seen([(0, 1), (0, 2), (1,)], rows).write(tmp_path)
    assert found["wrong"] == 2
    assert [(one["true"], one["predicted"]) for one in found["shown"]] == [("cat|owl", "cat"), ("dog", "nothing")]
    assert "true_confidence" not in found["shown"][0]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, "RGB")])
def test_pictures_of_other_channels(channels: int, mode: str, tmp_path: Path) -> None:
    found = seen([1], [[0.8, 0.1, 0.1]], channels).write(tmp_path)
    with Image.open(tmp_path / found["shown"][0]["picture"]) as shown:
        assert shown.mode == mode


def test_a_scored_model_tells_its_mistakes_in_one_pass(tmp_path: Path) -> None:
    export(tiny(), tmp_path / "model.onnx")
    predictor = open_model(tmp_path / "model.onnx")
    samples = [Sample(picture(tmp_path / f"{i}.png", seed=i), i % 3) for i in range(40)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    samples.insert(5, Sample(broken, 0))
    worst = WorstMistakes(predictor.classes)
    found = evaluate_samples(predictor, samples, on_batch=worst.see)
    part = worst.write(tmp_path)
    assert part["images"] == found.images == 40
    assert part["wrong"] == 40 - round(found.top1 * 40)
    for one in part["shown"]:
        sample = next(s for s in samples if s.path.name == one["name"])
        assert isinstance(sample.label, int) and predictor.classes[sample.label] == one["true"] != one["predicted"]


def test_confusion_in_counts_and_pairs() -> None:
    rows = [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.9, 0.0], [0.1, 0.9, 0.0], [0.1, 0.9, 0.0]]
    found = confusion(score(np.array(rows, np.float32), [0, 1, 0, 0, 1], (), CLASSES), "model.onnx on 5 images")
    assert found is not None
    assert (found["images"], found["right"], found["of"]) == (5, 3, "model.onnx on 5 images")
    assert found["counts"] == [[1, 2, 0], [0, 2, 0], [0, 0, 0]]
    assert found["pairs"] == [{"true": "cat", "predicted": "dog", "count": 2, "images": 3}]
    assert [one["recall"] for one in found["classes"]] == [pytest.approx(1 / 3), 1.0, None]
    json.dumps(found, allow_nan=False)


def test_a_thousand_classes_keep_their_largest_pairs_only() -> None:
    rows: NDArray[np.float32] = np.zeros((2000, 1000), np.float32)
    truth = [i % 1000 for i in range(2000)]
    for i, label in enumerate(truth):
        rows[i, 7 if label < 50 else label] = 1.0
    found = confusion(score(rows, list(truth)))
    assert found is not None and "counts" not in found
    assert len(found["pairs"]) == 30 and all(pair["predicted"] == "7" and pair["count"] == 2 for pair in found["pairs"])
    assert len(json.dumps(found)) < 100_000


def test_several_classes_an_image_have_no_confusion() -> None:
    rows = np.array([[0.9, 0.1, 0.0]], np.float32)
    assert confusion(score(rows, [(0, 1)], (), CLASSES)) is None
