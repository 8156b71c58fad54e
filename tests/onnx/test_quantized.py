"""Static int8 of our ONNX files: the contract stays, the numbers stay near, what was asked to stay float does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mobilenets
import onnx
from making import lively, pixels, small
from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.model import arrays, build
from mobilenets.onnx import to_onnx
from mobilenets.onnx.calibration import Histogram, calibrate
from mobilenets.onnx.quantized import quantize_onnx
from mobilenets.precision import Calibration, Scheme
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession, raw_session
from mobilenets.table import scale
from mobilenets.zoo import INDEX

CLASSES = ("ash", "beech", "cedar", "elm")
LOADERS = Path(mobilenets.__file__).parent / "exports" / "loaders" / "files"


def made(name: str) -> bytes:
    torch.manual_seed(3)
    model = lively(build(small(name), CLASSES))
    proto = to_onnx(model.network, arrays(model), model.info.preprocessing, model.info.classes)
    data: bytes = proto.SerializeToString()
    return data


@pytest.fixture(scope="module")
def v3() -> bytes:
    return made("mobilenet_v3_small")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return pixels(12, small("mobilenet_v3_small").resolution)


def stays_float(model: bytes, value: str) -> bool:
    """Whether the convolution that gives a value reads a float weight."""
    graph: Any = onnx.load_from_string(model).graph
    node = next(node for node in graph.node if value in node.output)
    return node.input[1] in {initializer.name for initializer in graph.initializer}


def test_exact_sums_are_asked_for_everywhere(v3: bytes) -> None:
    """What they change is seen on processors without VNNI alone; see the next test."""
    asked = raw_session(v3).get_session_options().get_session_config_entry("session.x64quantprecision")
    assert asked == "1" and "session.x64quantprecision" in (LOADERS / "loader.py.jinja").read_text()


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_conv_small"])
def test_int8_keeps_the_contract_and_comes_near_float(name: str) -> None:
    model = made(name)
    images = pixels(6, small(name).resolution)
    data = quantize_onnx(model, images)
    onnx.checker.check_model(onnx.load_from_string(data))
    before, after = OnnxRuntimeSession.open(model), OnnxRuntimeSession.open(data)
    assert (after.classes, after.preprocessing) == (before.classes, before.preprocessing)
    assert after.metadata["precision"] == "int8"
    assert json.loads(after.metadata["quantization"])["calibration"] == "minmax"
    expected, found = before.run(images), after.run(images)
    # without training, many weights are noise to be rounded: near is not equal
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.6
    assert np.abs(expected - found).max() > 0
    assert after.run(images[:1]).shape == (1, 4)


def test_weights_become_a_quarter(v3: bytes, images: np.ndarray) -> None:
    data = quantize_onnx(v3, images[:1], Scheme(per_channel=False))
    assert len(data) < 0.42 * len(v3)  # a small network: scales and names weigh something


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_a_method_gives_ranges_inside_those_seen(v3: bytes, images: np.ndarray, method: Calibration) -> None:
    proto = onnx.load_from_string(v3)
    seen, ranges = calibrate(proto, images, "minmax"), calibrate(proto, images, method)
    assert set(ranges) == set(seen)
    assert all(seen[n][0] - 1e-4 <= low <= high <= seen[n][1] + 1e-4 for n, (low, high) in ranges.items())
    narrower = [n for n in seen if ranges[n][1] - ranges[n][0] < 0.98 * (seen[n][1] - seen[n][0])]
    assert bool(narrower) == (method != "minmax")


def test_entropy_clips_few_numbers_only() -> None:
    """A gate's values, none near 0: clipped where they begin, one full bin would be told by one full bin exactly."""
    generator = np.random.default_rng(0)
    alone = 0.74 * 447.5 / 2048  # in the last of 448 bins, which is one of the ranges that are tried
    gate = np.concatenate([[alone, 0.74], generator.uniform(0.3, 0.74, 20_000)]).astype(np.float32)
    histogram = Histogram((float(gate.min()), float(gate.max())), "entropy")
    histogram.add(gate)
    assert histogram.range()[1] > 0.72
    tails = np.concatenate([generator.normal(0, 1, 50_000), generator.normal(0, 8, 50)]).astype(np.float32)
    histogram = Histogram((float(tails.min()), float(tails.max())), "entropy")
    histogram.add(tails)
    low, high = histogram.range()
    assert max(-low, high) < 0.8 * np.abs(tails).max(), "what is rare is clipped"
    assert (np.abs(tails) > max(-low, high)).mean() < 0.01


def test_percentile_leaves_out_what_is_rare() -> None:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("float", TensorProto.FLOAT, ["n", 10, 10, 3])
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 10, 10, 3])
    cast = helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT)
    model = helper.make_model(
        helper.make_graph([cast], "g", [image], [value]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    images = np.full((100, 10, 10, 3), 10, np.uint8)
    images[..., 1] = 20
    images[0, 0, 0, 0] = 250
    assert calibrate(model, images, "minmax")["float"] == (10, 250)
    low, high = calibrate(model, images, "percentile")["float"]
    assert (low, high) == pytest.approx((10, 20), abs=0.2)


def test_named_nodes_stay_in_float_and_no_others(v3: bytes, images: np.ndarray) -> None:
    every = quantize_onnx(v3, images)
    kept = quantize_onnx(v3, images, Scheme(keep_float=frozenset({"row04.project.conv"})))
    assert not stays_float(every, "row04.project.bn")
    assert stays_float(kept, "row04.project.bn")
    assert not stays_float(kept, "row03.project.bn")


@pytest.mark.parametrize("layer", ["row03.depthwise", "row03.project", "row10.linear"])
def test_onnxruntime_leaves_float_layers_alone(layer: str, tmp_path: Path) -> None:
    """It would give their weights one int8 scale when it loads the file."""
    import onnxruntime

    address = f"{layer}.conv" if layer != "row10.linear" else "row10.linear"
    network = scale(INDEX["mobilenet_v2"], 0.35, 32)
    network = replace(network, rows=(*network.rows[:8], *network.rows[-2:]))
    model = lively(build(network, CLASSES))
    data = to_onnx(network, arrays(model), model.info.preprocessing, CLASSES).SerializeToString()
    kept = quantize_onnx(data, pixels(4, 32), Scheme(keep_float=frozenset({address})))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(kept, options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx")
    floats = {i.name for i in loaded.graph.initializer if i.data_type == onnx.TensorProto.FLOAT}
    (node,) = (n for n in loaded.graph.node if n.name == (address if "linear" in layer else f"{layer}.bn"))
    assert node.input[1] in floats


def test_wide_values_have_16_bits(v3: bytes, images: np.ndarray) -> None:
    data = quantize_onnx(v3, images, Scheme(wide=frozenset({"row04.project.conv"})))
    zeros = {
        i.name: i.data_type for i in onnx.load_from_string(data).graph.initializer if i.name.endswith("zero_point")
    }
    wide = [name for name, kind in zeros.items() if kind == onnx.TensorProto.UINT16]
    assert wide == ["row04.project.bn_zero_point"]
    assert OnnxRuntimeSession.open(data).run(images[:1]).shape == (1, 4)


def test_scaling_and_softmax_stay_float(v3: bytes, images: np.ndarray) -> None:
    graph = onnx.load_from_string(quantize_onnx(v3, images)).graph
    readers = {name: node.op_type for node in graph.node for name in node.input}
    assert readers["image"] == "Transpose"
    assert readers["preprocess.transpose"] == "Cast"
    assert readers["preprocess.scale"] == "Add"
    producers = {name: node for node in graph.node for name in node.output}
    softmax = producers["probabilities"]
    assert softmax.op_type == "Softmax"
    assert producers[softmax.input[0]].op_type == "Gemm", "logits in 256 steps would tie"


def test_what_cannot_be_quantized_is_refused(v3: bytes, images: np.ndarray) -> None:
    with pytest.raises(MisuseError, match="int8 needs calibration images"):
        quantize_onnx(v3, images[:0])
    with pytest.raises(MisuseError, match="must be uint8 n h w c with h w c = 64x64x3, got uint8 12x32x32x3"):
        quantize_onnx(v3, images[:, :32, :32])
    with pytest.raises(
        UnknownNameError, match=r"unknown node 'row04\.projekt\.conv'\. Did you mean row04\.project\.conv"
    ):
        quantize_onnx(v3, images, Scheme(keep_float=frozenset({"row04.projekt.conv"})))
    with pytest.raises(MisuseError, match="int8 already"):
        quantize_onnx(quantize_onnx(v3, images[:1]), images[:1])
