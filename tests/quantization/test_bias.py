"""Bias correction takes off what int8 adds to the means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mobilenets.errors import MisuseError
from mobilenets.model import MobileNet
from mobilenets.precision import Scheme
from mobilenets.quantization.bias import correct_biases
from mobilenets.quantization.taps import Twins, tapped, twins

COARSE = Scheme(per_channel=False)


def shift(pair: Twins, target: Twins, images: np.ndarray) -> float:
    """How far the mean of an int8 file's logits is from that of another's float file."""
    logits = pair.proto.graph.node[-1].input[0]
    (found,), (right,) = tapped(pair.int8(), [logits])(images), tapped(target.proto, [logits])(images)
    return float(np.abs(found.mean(0) - right.mean(0)).mean())


def test_means_come_nearer_to_floats(model: MobileNet, calibration: np.ndarray) -> None:
    corrected = correct_biases(model, calibration, COARSE)
    before, after = twins(model, calibration, COARSE), twins(corrected, calibration, COARSE)
    assert shift(after, before, calibration) < 0.8 * shift(before, before, calibration)


def test_only_biases_move(model: MobileNet, calibration: np.ndarray) -> None:
    told: list[tuple[int, int]] = []
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    corrected = correct_biases(model, calibration, COARSE, on_progress=lambda *done: told.append(done))
    moved = {key for key, value in corrected.state_dict().items() if not torch.equal(value, kept[key])}
    assert moved and all(key.endswith(".bias") for key in moved)
    assert "row01.conv.bn.bias" in moved
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items()), "the model stays"
    assert told[-1][0] == told[-1][1] == len(told)


def test_float_layers_stay(model: MobileNet, calibration: np.ndarray) -> None:
    every = frozenset(node.name for node in model.nodes)
    corrected = correct_biases(model, calibration, Scheme(keep_float=every))
    assert all(
        torch.allclose(value, corrected.state_dict()[key], atol=1e-5) for key, value in model.state_dict().items()
    )


def test_no_images_are_refused(model: MobileNet, calibration: np.ndarray) -> None:
    with pytest.raises(MisuseError, match="int8 needs calibration images"):
        correct_biases(model, calibration[:0])
