"""Masks counted by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mobilenets.data.annotations import IGNORED
from mobilenets.errors import MisuseError
from mobilenets.metrics.segmentation import Confusion, near_boundary

CLASSES = ("road", "car", "tree", "never")


def mask(*rows: str) -> np.ndarray:
    return np.array([[IGNORED if c == "." else int(c) for c in row] for row in rows], np.uint8)


def test_counts_by_hand() -> None:
    confusion = Confusion(CLASSES)
    confusion.add(mask("0011", "00.."), mask("0211", "0111"))
    confusion.add(mask("1"), mask("1"))
    got = confusion.scores()
    assert got.counts.tolist() == [[2, 1, 1, 0], [0, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert got.iou[:3] == pytest.approx([2 / 4, 3 / 4, 0.0])
    assert math.isnan(got.iou[3]), "neither there nor predicted"
    assert got.miou == pytest.approx((0.5 + 0.75 + 0.0) / 3), "trees are predicted, so they count"
    assert got.accuracy == pytest.approx(5 / 7)
    assert got.class_accuracy[:2] == pytest.approx([0.5, 1.0])
    assert got.mean_accuracy == pytest.approx(0.75), "over the classes that are there"
    assert json.loads(json.dumps(got.to_dict()))["per_class"][1] == {
        "class": "car", "pixels": 3, "iou": 0.75, "accuracy": 1.0,
    }  # fmt: skip


def test_pixels_near_a_boundary_are_left_out_of_one_score() -> None:
    truth, found = mask("0000000111111"), mask("0100000011111")
    confusion = Confusion(CLASSES, band_px=2)
    confusion.add(truth, found)
    got = confusion.scores()
    assert got.accuracy == pytest.approx(11 / 13)
    assert got.boundary_free_accuracy == pytest.approx(8 / 9), "two pixels on each side of the edge are out"


def test_the_band_goes_around_corners() -> None:
    truth = np.zeros((7, 7), np.uint8)
    truth[3, 3] = 1
    expected = np.zeros((7, 7), bool)
    expected[2:5, 2:5] = True
    np.testing.assert_array_equal(near_boundary(truth, 1), expected)
    expected[1:6, 1:6] = True
    np.testing.assert_array_equal(near_boundary(truth, 2), expected)
    assert near_boundary(truth, 50).all(), "a band wider than the mask"
    assert not near_boundary(truth, 0).any()


def test_nothing_counted_is_no_number() -> None:
    confusion = Confusion(CLASSES)
    confusion.add(mask(".."), mask("01"))
    got = confusion.scores()
    assert math.isnan(got.miou) and math.isnan(got.accuracy) and math.isnan(got.boundary_free_accuracy)


def test_masks_that_do_not_fit_are_refused() -> None:
    confusion = Confusion(CLASSES)
    with pytest.raises(MisuseError, match=r"the truth is \(1, 2\), the prediction \(1, 3\)"):
        confusion.add(mask("00"), mask("000"))
    with pytest.raises(MisuseError, match="the prediction has the value 7; classes are 0 to 3, 255 ignored"):
        confusion.add(mask("00"), mask("07"))
    with pytest.raises(MisuseError, match="the truth has the value 4"):
        confusion.add(mask("04"), mask("00"))
    assert not confusion.counts.any()
