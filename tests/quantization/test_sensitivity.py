"""Which nodes int8 hurts: those that it was made to hurt."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mobilenets.errors import MisuseError
from mobilenets.model import MobileNet
from mobilenets.precision import Scheme
from mobilenets.quantization.sensitivity import Sensitivity, draw_sensitivity, sensitivity

HURT = "row03.depthwise.conv"


@pytest.fixture(scope="module")
def hurt(model: MobileNet) -> MobileNet:
    """The same function, but for one channel of one layer: a hundred times the weights of all others, and no input."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        made.get_submodule("row03.expand.bn").weight[0] = 0
        made.get_submodule("row03.expand.bn").bias[0] = -4  # h-swish is 0 there
        made.get_submodule(HURT).weight[0] = 100 * made.get_submodule(HURT).weight.abs().max()
    return made


@pytest.fixture(scope="module")
def found(hurt: MobileNet, calibration: np.ndarray) -> Sensitivity:
    return sensitivity(hurt, calibration[:8], Scheme(per_channel=False), calibration=calibration)


def test_the_layer_that_was_hurt_is_the_worst(found: Sensitivity) -> None:
    assert found.worst(1) == (HURT,)
    by_name = {node.address: node for node in found.nodes}
    assert by_name[HURT].alone_db < min(n.alone_db for n in found.nodes if n.address != HURT) - 3
    assert by_name["row01.conv.conv"].snr_db > by_name[HURT].snr_db


def test_per_channel_scales_mend_it(hurt: MobileNet, calibration: np.ndarray, found: Sensitivity) -> None:
    mended = sensitivity(hurt, calibration[:8], calibration=calibration)
    assert mended.snr_db > found.snr_db + 3
    assert mended.worst(1) != (HURT,)


def test_a_float_layer_is_not_listed(hurt: MobileNet, calibration: np.ndarray, found: Sensitivity) -> None:
    scheme = Scheme(per_channel=False, keep_float=frozenset({HURT}))
    without = sensitivity(hurt, calibration[:8], scheme, calibration=calibration)
    assert {node.address for node in found.nodes} - {node.address for node in without.nodes} == {HURT}
    assert without.snr_db > found.snr_db + 3, "what ONNX Runtime runs is float there indeed"


def test_nodes_are_weights_sums_and_gates_in_order(found: Sensitivity, hurt: MobileNet) -> None:
    names = [node.address for node in found.nodes]
    order = [node.name for node in hurt.nodes]
    assert names == sorted(names, key=order.index)
    assert {"row01.conv.conv", "row02.excite.mul", "row03.add", "row07.linear"} <= set(names)
    assert not any(name.endswith((".bn", ".act")) for name in names)


def test_picture_and_json(found: Sensitivity, tmp_path: Path) -> None:
    draw_sensitivity(found, tmp_path / "nodes.png", "toy")
    with Image.open(tmp_path / "nodes.png") as image:
        assert image.width > 800 and image.height > 300
    told = json.loads(json.dumps(found.to_dict()))
    assert told["worst"][0] == HURT and len(told["nodes"]) == len(found.nodes)


def test_no_images_are_refused(model: MobileNet, calibration: np.ndarray) -> None:
    with pytest.raises(MisuseError, match="int8 needs calibration images"):
        sensitivity(model, calibration[:0])
