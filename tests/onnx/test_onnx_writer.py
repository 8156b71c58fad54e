"""The torch-free writer against onnx.checker, ONNX Runtime, PyTorch, and torch.onnx's own exporter."""

from __future__ import annotations

import importlib.util
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.fusion import fuse_conv_bn_weights

import onnx
from making import HEAVY, SIZES, lively, noise, pixels, small
from mobilenets.model import MobileNet, arrays, build, normalise
from mobilenets.onnx import fold, random_weights, to_onnx
from mobilenets.onnx.writer import IMAGE, PROBABILITIES
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime.onnxruntime import raw_session
from mobilenets.table import Network, dilate, scale
from mobilenets.table import json as table_json
from mobilenets.table.nodes import BatchNorm, Parameter, Scale
from mobilenets.zoo import INDEX

LIGHT = [name for name in INDEX if name not in HEAVY]


def both(model: MobileNet, n: int = 3) -> tuple[np.ndarray, np.ndarray, Any]:
    """Probabilities of PyTorch and of ONNX Runtime for the same images, and the checked file."""
    proto = to_onnx(model.network, arrays(model), model.info.preprocessing, model.info.classes)
    onnx.checker.check_model(proto, full_check=True)
    images = pixels(n, model.network.resolution)
    with torch.inference_mode():
        expected = model(normalise(torch.from_numpy(images), model.info.preprocessing)).softmax(-1).numpy()
    found = raw_session(proto.SerializeToString()).run([PROBABILITIES], {IMAGE: images})[0]
    return expected, found, proto


def agree(model: MobileNet) -> None:
    expected, found, _ = both(model)
    assert expected.shape == found.shape == (3, model.network.classes)
    images = normalise(torch.from_numpy(pixels(3, model.network.resolution)), model.info.preprocessing)
    logits, own = noise(model, images)
    assert own.max() < 1e-3 * logits.abs().max()
    # a probability moves by at most half of what its logits move by
    assert (np.abs(expected - found) < np.maximum(1e-5, 2 * own.numpy())).all()
    assert np.ptp(expected, axis=1).min() > 1e-4, "probabilities that are all alike would prove nothing"


@pytest.mark.parametrize("name", LIGHT)
def test_onnxruntime_computes_what_torch_computes(name: str) -> None:
    torch.manual_seed(1)
    agree(lively(build(small(name), 10, training=True)))


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v3_large", "mobilenet_v4_hybrid_medium", "mobile_one_s0"])
@pytest.mark.parametrize("size", [63, 64])
def test_same_padding(name: str, size: int) -> None:
    torch.manual_seed(1)
    agree(lively(build(replace(scale(INDEX[name], 0.35, size), padding="same"), 10)))


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_dilation(padding: Any) -> None:
    torch.manual_seed(1)
    agree(lively(build(dilate(replace(small("mobilenet_v3_small"), padding=padding), 8), 10)))


def test_another_gate_and_eps() -> None:
    from mobilenets.table import Act

    torch.manual_seed(1)
    agree(lively(build(replace(small("mobilenet_v3_small"), gate=Act.SIGMOID, bn_eps=1e-5), 10)))


def test_preprocessing_is_inside() -> None:
    torch.manual_seed(1)
    chosen = Preprocessing(64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    agree(lively(build(small("mobilenet_v2"), 10, preprocessing=chosen)))


def test_batch_is_free_and_images_do_not_mix() -> None:
    model = lively(build(small("mobilenet_v3_small"), 10))
    _, together, proto = both(model, 3)
    session = raw_session(proto.SerializeToString())
    images = pixels(3, 64)
    alone = np.concatenate([session.run(None, {IMAGE: images[i : i + 1]})[0] for i in range(3)])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    np.testing.assert_allclose(together.sum(1), 1.0, atol=1e-5)


def test_metadata_there_and_back() -> None:
    network = small("mobilenet_v3_small")
    chosen = Preprocessing(64, crop=0.875)
    weights = random_weights(network)
    proto = to_onnx(network, weights, chosen, ("größe", "猫"), extra={"metrics": '{"top1": 0.5}'})
    back = onnx.load_model_from_string(proto.SerializeToString())
    metadata = {entry.key: entry.value for entry in back.metadata_props}
    assert table_json.from_dict(json.loads(metadata["table"])) == network
    assert Preprocessing.from_dict(json.loads(metadata["preprocessing"])) == chosen
    assert json.loads(metadata["classes"]) == ["größe", "猫"]
    assert json.loads(metadata["metrics"]) == {"top1": 0.5}
    assert metadata["task"] == "classify"
    assert raw_session(back.SerializeToString()).get_modelmeta().custom_metadata_map == metadata


@pytest.mark.parametrize("name", LIGHT)
def test_taps_are_torchs_taps(name: str) -> None:
    torch.manual_seed(1)
    model = lively(build(small(name, 0.25), 5))
    network = model.network
    proto = to_onnx(network, arrays(model), model.info.preprocessing, taps=True)
    session = raw_session(proto.SerializeToString())
    names = [output.name for output in session.get_outputs() if output.name != PROBABILITIES]
    images = pixels(2, network.resolution)
    with torch.inference_mode():
        expected = model.taps(normalise(torch.from_numpy(images), model.info.preprocessing), names)
    for tap, value in zip(names, session.run(names, {IMAGE: images}), strict=True):
        reference = expected[tap].numpy()
        assert value.shape == reference.shape, tap
        assert np.abs(value - reference).max() <= 1e-4 * max(1.0, np.abs(reference).max()), tap
    absent = {node.name for node in model.nodes} - set(names)
    for node in model.nodes:
        if node.name in absent and not isinstance(node, Parameter):
            after = [n for n in model.nodes if node.name in n.inputs]
            assert isinstance(after[0], BatchNorm | Scale), "only what a norm or a factor folds into has no value"


@pytest.mark.parametrize("name", INDEX)
def test_random_weights_have_the_models_shapes(name: str) -> None:
    network = INDEX[name] if name in HEAVY else scale(INDEX[name], 0.5)
    if name in HEAVY:
        network = _few_features(network)
    with torch.device("meta"):
        state = MobileNet(network).state_dict()
    wanted = {key: tuple(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    found = random_weights(network)
    assert {key: value.shape for key, value in found.items()} == wanted
    assert {str(value.dtype) for value in found.values()} == {"float32"}


def _few_features(network: Network) -> Network:
    from mobilenets.table.rows import Linear

    return replace(network, rows=tuple(Linear(8) if isinstance(row, Linear) else row for row in network.rows))


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "mobilenet_v1_full", "xception"])
def test_random_weights_keep_values_in_range(name: str) -> None:
    network = scale(INDEX[name], 0.5, SIZES.get(name, 64))
    proto = to_onnx(network, random_weights(network), Preprocessing(network.resolution), taps=True)
    session = raw_session(proto.SerializeToString())
    values = session.run(None, {IMAGE: pixels(1, network.resolution)})
    assert all(np.isfinite(value).all() and np.abs(value).max() < 1e7 for value in values)


@pytest.mark.parametrize("groups", [1, 8])
def test_fold_is_torchs(groups: int) -> None:
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((8, 8 // groups, 3, 3)).astype(np.float32)
    bias = generator.standard_normal(8).astype(np.float32)
    norm = {key: generator.uniform(0.2, 2.0, 8).astype(np.float32) for key in ("weight", "running_var")}
    norm |= {key: generator.standard_normal(8).astype(np.float32) for key in ("bias", "running_mean")}
    found_weight, found_bias = fold(weight, bias, norm, 1e-3)
    tensors = {key: torch.from_numpy(value) for key, value in norm.items()}
    expected_weight, expected_bias = fuse_conv_bn_weights(
        torch.from_numpy(weight),
        torch.from_numpy(bias),
        tensors["running_mean"],
        tensors["running_var"],
        1e-3,
        tensors["weight"],
        tensors["bias"],
    )
    np.testing.assert_allclose(found_weight, expected_weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found_bias, expected_bias.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert found_weight.dtype == found_bias.dtype == np.float32


def test_fold_survives_a_dead_channel() -> None:
    norm = {"weight": np.float32([1]), "bias": np.float32([2]), "running_mean": np.float32([0])}
    weight, bias = fold(
        np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32), norm | {"running_var": np.float32([0])}, 1e-3
    )
    assert np.isfinite(weight).all()
    assert bias[0] == 2


def test_no_weight_is_written_twice_or_left_out() -> None:
    model = lively(build(small("mobilenet_v3_small"), 4))
    _, _, proto = both(model, 1)
    names = [constant.name for constant in proto.graph.initializer]
    assert len(names) == len(set(names))
    stored = sum(int(np.prod(c.dims)) for c in proto.graph.initializer if not c.name.startswith("preprocess."))
    params = sum(p.numel() for p in model.parameters())
    channels = sum(m.num_features for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert stored == params - channels  # scale and shift become one bias


@pytest.mark.skipif(importlib.util.find_spec("onnxscript") is None, reason="onnxscript is not installed")
def test_torchs_exporter_agrees() -> None:
    torch.manual_seed(1)
    model = lively(build(small("mobilenet_v3_small"), 10))
    _, found, _ = both(model, 2)
    image = normalise(torch.from_numpy(pixels(2, 64)), model.info.preprocessing)
    buffer = io.BytesIO()
    program = torch.onnx.export(model, (image,), dynamo=True, verbose=False)
    assert program is not None
    program.save(buffer)
    session = raw_session(buffer.getvalue())
    logits = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    by_torch = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found, by_torch, atol=1e-5)
