"""Anchors, coder, matching and suppression, in NumPy and torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mobilenets.errors import MisuseError
from mobilenets.heads import BACKGROUND, anchors, corners, decode, detections, encode, iou, match, suppress
from mobilenets.table import lower, outputs
from mobilenets.zoo import INDEX, network
from mobilenets.zoo.heads import ssdlite

KINDS = pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])


def boxes(n: int, seed: int = 0) -> Any:
    generator = np.random.default_rng(seed)
    low = generator.uniform(0, 0.7, (n, 2))
    return np.concatenate([low, low + generator.uniform(0.05, 0.3, (n, 2))], 1).astype(np.float32)


@pytest.mark.parametrize("resolution", [96, 300, 320, 511])
@pytest.mark.parametrize("name", ["ssd_mobilenet_v1", "ssdlite_mobilenet_v3_small", "ssdlite_squeezenet"])
def test_there_is_an_anchor_for_every_output(name: str, resolution: int) -> None:
    net = replace(network(name), resolution=resolution)
    found = anchors(net)
    assert found.dtype == np.float32
    assert found.shape == outputs(lower(net))[0].shape
    assert (found[:, :2] > 0).all() and (found[:, :2] < 1).all() and (found[:, 2:] > 0).all()


def test_anchors_by_scale_and_ratio() -> None:
    found = anchors(replace(network("ssd_mobilenet_v1"), resolution=300))
    assert len(found) == 3 * 19**2 + 6 * (10**2 + 5**2 + 3**2 + 2**2 + 1) == 1917
    np.testing.assert_allclose(found[0], [1 / 38, 1 / 38, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(found[1, 2:], [0.2 * 2**0.5, 0.2 / 2**0.5], rtol=1e-6)
    np.testing.assert_allclose(found[3, :2], [3 / 38, 1 / 38], rtol=1e-6)  # x runs first
    second = found[3 * 361 :][:6, 2:]
    np.testing.assert_allclose(second[:, 0] * second[:, 1], [0.35**2] * 5 + [0.35 * 0.5], rtol=1e-6)
    np.testing.assert_allclose(second[:, 0] / second[:, 1], [1, 2, 0.5, 3, 1 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(found[-1], [0.5, 0.5, (0.95 * 1) ** 0.5, (0.95 * 1) ** 0.5], rtol=1e-6)


def test_torchvisions_layout_has_six_anchors_everywhere() -> None:
    net = replace(ssdlite(INDEX["mobilenet_v3_large"], anchors=(6,) * 6), resolution=320)
    assert len(anchors(net)) == 6 * (20**2 + 10**2 + 5**2 + 3**2 + 2**2 + 1)


def test_a_classifier_has_no_anchors() -> None:
    with pytest.raises(MisuseError, match=r"mobilenet_v2 has no anchors: it is no detector\. `ssdlite_mobilenet_v2`"):
        anchors(INDEX["mobilenet_v2"])


@KINDS
def test_the_coder_is_tfs_and_its_own_inverse(kind: Any) -> None:
    around = np.array([[0.5, 0.5, 0.2, 0.4]], np.float32)
    box = np.array([[0.45, 0.3, 0.75, 0.9]], np.float32)
    code = encode(kind(box), kind(around))
    expected = [(0.6 - 0.5) / 0.2 * 10, (0.6 - 0.5) / 0.4 * 10, np.log(0.3 / 0.2) * 5, np.log(0.6 / 0.4) * 5]
    np.testing.assert_allclose(np.asarray(code)[0], expected, rtol=1e-5)
    many, places = boxes(200), anchors(replace(network("ssdlite_mobilenet_v2"), resolution=96))[:200]
    again = decode(encode(kind(many), kind(places)), kind(places))
    assert type(again) is type(kind(many))
    np.testing.assert_allclose(np.asarray(again), many, atol=1e-5)


@KINDS
def test_iou(kind: Any) -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 1, 1], [3, 3, 3, 3]], np.float32)
    b = np.array([[1, 1, 3, 3], [0, 0, 1, 1]], np.float32)
    found = np.asarray(iou(kind(a), kind(b)))
    np.testing.assert_allclose(found, [[1 / 7, 1 / 4], [0, 1], [0, 0]], atol=1e-6)


@KINDS
def test_every_box_is_learned_by_some_anchor(kind: Any) -> None:
    places = anchors(replace(network("ssdlite_mobilenet_v2"), resolution=128))
    truth = boxes(5, seed=3)
    learned = np.asarray(match(kind(places), kind(truth)))
    overlaps = np.asarray(iou(corners(places), truth))
    assert set(range(5)) <= set(learned.tolist()) <= {BACKGROUND, *range(5)}
    for anchor, box in enumerate(learned.tolist()):
        best = anchor in overlaps.argmax(0)
        assert (box == BACKGROUND) == (overlaps[anchor].max() < 0.5 and not best)
        assert box == BACKGROUND or best or box == overlaps[anchor].argmax()
    assert (np.asarray(match(kind(places), kind(truth[:0]))) == BACKGROUND).all()


def greedy(found: Any, classes: Any, overlap: float) -> list[bool]:
    """The textbook's walk."""
    kept: list[int] = []
    for i in range(len(found)):
        rivals = [j for j in kept if classes[j] == classes[i]]
        if not rivals or iou(found[i : i + 1], found[rivals]).max() <= overlap:
            kept.append(i)
    return [i in kept for i in range(len(found))]


@KINDS
@pytest.mark.parametrize("overlap", [0.1, 0.3, 0.6])
def test_suppression_is_the_greedy_one_class_by_class_and_image_by_image(kind: Any, overlap: float) -> None:
    found = np.stack([boxes(150, seed) for seed in range(3)])
    classes = np.random.default_rng(0).integers(0, 3, (3, 150))
    kept = np.asarray(suppress(kind(found), kind(classes), overlap))
    expected = [greedy(found[i], classes[i], overlap) for i in range(3)]
    assert kept.tolist() == expected
    assert 0 < kept.sum() < kept.size


@KINDS
def test_detections_of_a_batch(kind: Any) -> None:
    places = anchors(replace(network("ssdlite_mobilenet_v2"), resolution=96))
    truth = np.array([[0.1, 0.1, 0.4, 0.5], [0.5, 0.5, 0.9, 0.8]], np.float32)
    codes, scores = np.zeros((2, len(places), 4), np.float32), np.full((2, len(places), 4), 0.01, np.float32)
    codes[:] = encode(np.broadcast_to(truth[0], places.shape), places)
    codes[1, 50:] = encode(np.broadcast_to(truth[1], places[50:].shape), places[50:])
    scores[0, 3, 2], scores[0, 9, 2], scores[0, 7, 1] = 0.9, 0.8, 0.7  # the second is the first again
    scores[1, 60, 3] = 0.6
    first, second = detections(kind(codes), kind(scores), kind(places))
    assert np.asarray(first.classes).tolist() == [2, 1]
    np.testing.assert_allclose(np.asarray(first.scores), [0.9, 0.7])
    np.testing.assert_allclose(np.asarray(first.boxes), [truth[0]] * 2, atol=1e-5)
    assert np.asarray(second.classes).tolist() == [3]
    np.testing.assert_allclose(np.asarray(second.boxes), truth[1:], atol=1e-5)
    assert len(detections(kind(codes), kind(scores), kind(places), most=1)[0].scores) == 1
    assert len(detections(kind(codes), kind(scores), kind(places), score=0.95)[0].scores) == 0
