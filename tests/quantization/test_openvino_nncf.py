"""NNCF on our OpenVINO models: near float, addresses obeyed, scaling in float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenets.errors import MissingExtraError, MisuseError, UnknownNameError
from mobilenets.model import MobileNet, arrays
from mobilenets.onnx import to_onnx
from mobilenets.precision import Scheme
from mobilenets.quantization.openvino_nncf import quantize_openvino

openvino = pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
pytest.importorskip("nncf", reason="the extra `openvino` is not installed")


@pytest.fixture(scope="module")
def ir(model: MobileNet, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path: Path = tmp_path_factory.mktemp("ir") / "model.onnx"
    proto = to_onnx(model.network, arrays(model), model.info.preprocessing, model.info.classes)
    path.write_bytes(proto.SerializeToString())
    return openvino.convert_model(path)


@pytest.fixture(scope="module")
def int8(ir: Any, calibration: np.ndarray) -> Any:
    return quantize_openvino(ir, calibration)


def run(model: Any, images: np.ndarray) -> np.ndarray:
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]


def quantized_values(model: Any) -> set[str]:
    return {
        operation.input(0).get_source_output().get_node().get_friendly_name()
        for operation in model.get_ordered_ops()
        if operation.get_type_name() == "FakeQuantize"
    }


def test_int8_says_what_float_says(ir: Any, int8: Any, unseen: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = unseen
    expected, found = run(ir, images), run(int8, images)
    assert (found.argmax(1) == labels).mean() > 0.9
    assert 0 < np.abs(expected - found).max() < 0.5
    assert not quantized_values(ir), "the model that was given stays"


def test_scaling_stays_float(int8: Any) -> None:
    values = quantized_values(int8)
    assert "input" in values, "the first convolution's input, behind the scaling"
    assert not values & {"image", "preprocess.cast", "preprocess.scale"}


@pytest.mark.parametrize("address", ["row02.depthwise.conv", "row03.expand.conv", "row03.expand.bn"])
def test_named_nodes_stay_in_float(ir: Any, calibration: np.ndarray, address: str) -> None:
    kept = quantize_openvino(ir, calibration[:4], Scheme(keep_float=frozenset({address})))
    weights = {
        operation.get_friendly_name(): operation.input(1).get_source_output().get_node().get_type_name()
        for operation in kept.get_ordered_ops()
        if operation.get_type_name() in ("Convolution", "GroupConvolution")
    }
    stem = address.rpartition(".")[0]
    assert weights.pop(f"{stem}.bn/WithoutBiases") in ("Constant", "Reshape")
    assert set(weights.values()) == {"Multiply"}, "all others read their weights out of int8"


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_other_calibrations_hold_too(
    ir: Any, calibration: np.ndarray, unseen: tuple[np.ndarray, np.ndarray], method: Any
) -> None:
    found = run(quantize_openvino(ir, calibration, Scheme(calibration=method)), unseen[0])
    assert (found.argmax(1) == unseen[1]).mean() > 0.9


def test_wrong_requests(ir: Any, int8: Any, calibration: np.ndarray) -> None:
    with pytest.raises(MisuseError, match="int8 needs calibration images"):
        quantize_openvino(ir, calibration[:0])
    with pytest.raises(MisuseError, match="int8 already"):
        quantize_openvino(int8, calibration)
    with pytest.raises(UnknownNameError, match=r"unknown node 'row03\.expandd\.conv'\. Did you mean row03\.expand"):
        quantize_openvino(ir, calibration, Scheme(keep_float=frozenset({"row03.expandd.conv"})))


def test_a_missing_extra_is_named(ir: Any, calibration: np.ndarray, hidden: Any) -> None:
    hidden("nncf")
    with pytest.raises(MissingExtraError, match=r"int8 for OpenVINO needs nncf.*mobilenets\[openvino\]"):
        quantize_openvino(ir, calibration)
