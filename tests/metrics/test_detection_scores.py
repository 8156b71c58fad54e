"""COCO's numbers: by hand where a hand can, by pycocotools where it cannot."""

from __future__ import annotations

import contextlib
import io
import json
import math

import numpy as np
import pytest

from mobilenets.data.annotations import Boxes, Corners
from mobilenets.heads import Detections
from mobilenets.metrics import detection

SIZE = (400, 200)
CLASSES = ("cell", "platelet", "never")


def there(*objects: tuple[Corners, int], hard: tuple[bool, ...] = ()) -> Boxes:
    return Boxes(tuple(o[0] for o in objects), tuple(o[1] for o in objects), hard, SIZE)


def found(*boxes: tuple[Corners, float, int]) -> Detections:
    corners = np.array([b[0] for b in boxes], np.float64).reshape(-1, 4) / (*SIZE, *SIZE)
    return Detections(corners, np.array([b[1] for b in boxes]), np.array([b[2] for b in boxes], np.int64))


A, B, NOWHERE = (10.0, 10.0, 60.0, 60.0), (100.0, 50.0, 300.0, 150.0), (320.0, 10.0, 390.0, 90.0)
HALF = (10.0, 10.0, 60.0, 42.0)
"""Overlaps A by 0.64."""


def test_boxes_where_the_objects_are_score_1_whatever_the_images_shape() -> None:
    got = detection.scores([there((A, 0), (B, 1))], [found((B, 0.8, 1), (A, 0.9, 0))], CLASSES)
    assert (got.ap, got.ap50, got.ap75, got.recall) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    assert got.objects.tolist() == [1, 1, 0]
    assert got.class_ap[:2] == pytest.approx([1.0, 1.0])
    assert math.isnan(got.class_ap[2]), "no object of it"
    assert got.thresholds[0] == pytest.approx(0.9) and got.thresholds[1] == pytest.approx(0.8)


def test_average_precision_by_hand() -> None:
    """Best first: wrong, right at IoU 0.64, so precision is 1/2 up to recall 1/2; the second object is never found."""
    got = detection.scores([there((A, 0), (B, 0))], [found((NOWHERE, 0.9, 0), (HALF, 0.6, 0))], CLASSES)
    assert got.ap50 == pytest.approx(51 / 101 / 2)
    assert got.ap == pytest.approx(51 / 101 / 2 * 3 / 10), "0.50, 0.55 and 0.60 of ten thresholds"
    assert got.ap75 == 0.0
    assert got.recall == pytest.approx(0.5 * 3 / 10)
    assert got.precision[0, :51] == pytest.approx(0.5)
    assert not got.precision[0, 51:].any()
    assert got.thresholds[0, 1] == pytest.approx(0.6)
    assert not got.thresholds[0, 51:].any()


def test_the_wrong_class_is_a_miss_and_a_false_positive() -> None:
    got = detection.scores([there((A, 0))], [found((A, 0.9, 1))], CLASSES)
    assert got.ap == 0.0
    assert math.isnan(got.class_ap[1]), "nothing of that class is there to find"


def test_hard_objects_are_neither_hits_nor_misses() -> None:
    easy = there((A, 0), (B, 0), hard=(False, True))
    for boxes in (found((A, 0.5, 0)), found((B, 0.9, 0), (A, 0.5, 0))):
        got = detection.scores([easy], [boxes], CLASSES)
        assert got.ap == pytest.approx(1.0)
        assert got.objects[0] == 1
    wrong = detection.scores([easy], [found((NOWHERE, 0.9, 0), (A, 0.5, 0))], CLASSES)
    assert wrong.ap == pytest.approx(0.5)


def test_sizes() -> None:
    small = (0.0, 0.0, 20.0, 20.0)
    got = detection.scores([there((small, 0), (B, 0))], [found((B, 0.9, 0))], CLASSES)
    assert (got.small, got.large) == pytest.approx((0.0, 1.0))
    assert math.isnan(got.medium)


def test_nothing_found_and_nothing_there() -> None:
    assert detection.scores([there((A, 0))], [found()], CLASSES).ap == 0.0
    assert math.isnan(detection.scores([there()], [found((A, 0.9, 0))], CLASSES).ap)


def test_tensors_are_taken_too_and_the_result_is_json() -> None:
    torch = pytest.importorskip("torch")
    boxes = Detections(*(torch.from_numpy(np.asarray(each)) for each in found((A, 0.9, 0))))
    got = detection.scores([there((A, 0))], [boxes], CLASSES)
    assert json.loads(json.dumps(got.to_dict()))["per_class"][0]["ap50"] == pytest.approx(1.0)


def test_the_numbers_are_pycocotools(capsys: pytest.CaptureFixture[str]) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(3)
    truth, boxes = [], []
    for _ in range(40):
        count = int(rng.integers(0, 6))
        at = rng.uniform(0, 100, (count, 2))
        corners = np.concatenate([at, at + rng.uniform(5, 200, (count, 2))], 1)
        labels = rng.integers(0, 2, count)
        truth.append(Boxes(tuple(map(tuple, corners.tolist())), tuple(labels.tolist()),
                           tuple((rng.random(count) < 0.1).tolist()), SIZE))  # fmt: skip
        moved = np.concatenate([corners + rng.normal(0, 6, corners.shape), rng.uniform((0, 0, 99, 99), 199, (2, 4))])
        boxes.append(Detections(moved / (*SIZE, *SIZE), rng.random(count + 2), np.append(labels, [0, 1])))
    got = detection.scores(truth, boxes, CLASSES[:2])
    theirs = coco.COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        theirs.dataset = detection._labelled(truth, 2)
        theirs.createIndex()
        judge = COCOeval(theirs, theirs.loadRes(detection._found(truth, boxes)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    ours = [got.ap, got.ap50, got.ap75, got.small, got.medium, got.large, got.recall]
    assert ours == pytest.approx([*judge.stats[:6], judge.stats[8]], abs=1e-9)
    assert 0.05 < got.ap < 0.95
    assert capsys.readouterr().out == "", "the counting itself is silent"
