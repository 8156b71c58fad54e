"""Outputs as boxes and masks: by hand, and the same with post-processing inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from making import pixels
from mobilenets.errors import MisuseError
from mobilenets.heads import anchors, detections, detections_in, masks_in
from mobilenets.model import normalise
from mobilenets.prediction import open_model
from mobilenets.prediction.answers import anchors_of, names_of


def test_a_checkpoint_and_its_file_give_the_same_named_outputs(detector: Any, segmenter: Any) -> None:
    for made, names in ((detector, {"boxes", "scores"}), (segmenter, {"probabilities"})):
        images = pixels(2, 96)
        ours = open_model(made.checkpoint, threads=1).outputs(images)
        theirs = open_model(made.artifact, threads=1).outputs(images)
        assert set(ours) == set(theirs) == names
        for name in names:
            np.testing.assert_allclose(ours[name], theirs[name], atol=2e-3)


def test_boxes_are_those_of_the_heads_room(detector: Any) -> None:
    images = pixels(2, 96)
    predictor = open_model(detector.memory, threads=1)
    with torch.inference_mode():
        out = detector.memory(normalise(torch.from_numpy(images), detector.memory.info.preprocessing))
    by_hand = detections(
        out.boxes.numpy(), out.classes.sigmoid().numpy(), anchors(detector.memory.network), score=0.5, most=7
    )
    found = detections_in(predictor.outputs(images), anchors_of(predictor), score=0.5, most=7)
    assert len(found) == 2 and len(found[0].boxes) == 7
    for ours, theirs in zip(found, by_hand, strict=True):
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-5)
        np.testing.assert_array_equal(ours.classes, theirs.classes)


def test_suppression_inside_the_file_is_taken_as_it_is() -> None:
    outputs = {
        "boxes": np.array([[[0.1, 0.2, 0.5, 0.6], [-0.1, 0, 1.2, 1], [9, 9, 9, 9]]] * 2, np.float32),
        "scores": np.array([[0.9, 0.4, 0.8]] * 2, np.float32),
        "classes": np.array([[2, 0, 1]] * 2, np.int32),
        "count": np.array([2, 0]),
    }
    first, second = detections_in(outputs, np.zeros((0, 4), np.float32), score=0.3)
    assert first.boxes.tolist() == [pytest.approx([0.1, 0.2, 0.5, 0.6]), [0, 0, 1, 1]]
    assert first.classes.tolist() == [2, 0]
    assert len(second.boxes) == 0
    (strict, _) = detections_in(outputs, np.zeros((0, 4), np.float32), score=0.5)
    assert strict.scores.tolist() == pytest.approx([0.9])
    assert len(detections_in(outputs, np.zeros((0, 4), np.float32), score=0.0, most=1)[0].boxes) == 1


def test_probabilities_are_resized_before_the_class_is_taken() -> None:
    """Left road, right sky, in between a third class that is never likely: its edge lies in the middle."""
    row = np.array([[0.9, 0.9, 0.1, 0.1], [0.1, 0.1, 0.9, 0.9], [0.0, 0.0, 0.0, 0.0]], np.float32)
    outputs = {"probabilities": np.repeat(row[:, None], 4, axis=1)[None]}  # 1 3 4 4
    (mask,) = masks_in(outputs, [(41, 10)])
    assert mask.shape == (10, 41) and mask.dtype == np.uint8
    assert (mask[:, :20] == 0).all() and (mask[:, 21:] == 1).all()
    (small,) = masks_in(outputs, [(2, 2)])
    assert small.tolist() == [[0, 1], [0, 1]]


def test_many_classes_are_resized_as_torch_does_it() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 3, (1, 21, 9, 9)).astype(np.float32))
    probabilities = logits.softmax(1)
    large = torch.nn.functional.interpolate(probabilities, size=(50, 70), mode="bilinear", align_corners=False)
    (mask,) = masks_in({"probabilities": probabilities.numpy()}, [(70, 50)])
    assert (mask == large[0].argmax(0).numpy()).mean() > 0.999


def test_a_mask_is_resized_to_the_nearest() -> None:
    (mask,) = masks_in({"mask": np.array([[[0, 7], [3, 9]]], np.uint8)}, [(4, 2)])
    assert mask.tolist() == [[0, 0, 7, 7], [3, 3, 9, 9]]


def test_names_and_anchors_travel_with_the_model(detector: Any, segmenter: Any) -> None:
    for kind in detector:
        predictor = open_model(kind, threads=1)
        assert names_of(predictor) == ("cell", "platelet", "bubble")
        np.testing.assert_array_equal(anchors_of(predictor), anchors(detector.memory.network))
    with pytest.raises(MisuseError, match="no detector"):
        anchors_of(open_model(segmenter.memory, threads=1))
