"""Equalization changes what int8 loses, and nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from making import lively, pixels
from mobilenets.model import MobileNet, arrays, build, normalise
from mobilenets.onnx.weights import chains_of, deployed_weight
from mobilenets.quantization.equalize import Pair, equalize, pairs_of
from mobilenets.table import scale
from mobilenets.table.lower import lower
from mobilenets.table.nodes import Convolution
from mobilenets.zoo import INDEX


def small(name: str, size: int = 64) -> MobileNet:
    torch.manual_seed(0)
    return lively(build(scale(INDEX[name], 0.35, size), 5))


def skewed(model: MobileNet, seed: int = 0) -> MobileNet:
    """The same function with channels whose ranges are far apart: each pair's factors drawn from 1/30 to 30."""
    made, generator = copy.deepcopy(model), np.random.default_rng(seed)
    with torch.no_grad():
        for pair in pairs_of(lower(model.network)):
            if pair.clipped:
                continue
            modules = dict(made.named_modules())
            norm = modules.get(pair.first.removesuffix(".conv") + ".bn", modules[pair.first])
            second = modules[pair.second]
            factor = torch.from_numpy(np.exp(generator.uniform(-3.4, 3.4, len(norm.weight)))).float()
            norm.weight.mul_(factor.reshape(-1, *(1,) * (norm.weight.dim() - 1)))
            norm.bias.mul_(factor)
            depthwise = isinstance(second, torch.nn.Conv2d) and second.groups > 1
            second.weight.div_(factor.reshape((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)))
    return made


def logits(model: MobileNet, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(normalise(torch.from_numpy(images), model.info.preprocessing)).numpy()


def spread(model: MobileNet) -> float:
    """How far the largest weights of a layer's output channels are apart, on average over layers (log)."""
    nodes, weights = lower(model.network), arrays(model)
    chains = chains_of(nodes)
    found = []
    for node in nodes:
        if isinstance(node, Convolution):
            weight, _, _ = deployed_weight(node, chains.get(node.name, ()), weights)
            largest = np.abs(weight.reshape(len(weight), -1)).max(1)
            found.append(np.log(largest[largest > 1e-6]).std())
    return float(np.mean(found))


def test_pairs_of_v2_have_one_reader_and_no_residual_between() -> None:
    pairs = pairs_of(lower(INDEX["mobilenet_v2"]))
    assert Pair("row02.depthwise.conv", "row02.project.conv", "row02.depthwise.act") in pairs
    assert Pair("row02.project.conv", "row03.expand.conv") in pairs, "linear, read once"
    firsts = {pair.first for pair in pairs}
    assert "row03.project.conv" not in firsts, "its output is also added to the next row's"


def test_no_factor_passes_h_swish_or_a_gate() -> None:
    between = {(pair.first, pair.second) for pair in pairs_of(lower(INDEX["mobilenet_v3_small"]))}
    assert ("row03.expand.conv", "row03.depthwise.conv") in between, "ReLU"
    assert ("row05.expand.conv", "row05.depthwise.conv") not in between, "h-swish"
    assert ("row02.depthwise.conv", "row02.project.conv") not in between, "squeeze-and-excite"


@pytest.mark.parametrize("name", ["mobilenet_v3_small_minimalistic", "mobilenet_v3_small", "mobilenet_v4_conv_small"])
def test_exact_behind_relu_and_nothing(name: str) -> None:
    model, images = skewed(small(name)), pixels(8, 64)
    before, after = logits(model, images), logits(equalize(model, images), images)
    assert np.abs(before - after).max() <= 1e-5 * max(1.0, np.abs(before).max())


def test_ranges_come_together() -> None:
    model = skewed(small("mobilenet_v3_small_minimalistic"))
    assert spread(equalize(model, pixels(2, 64))) < 0.5 * spread(model)


def test_a_relu6_bounds_the_factors() -> None:
    """Nothing reaches the clip that did not before, on the images that were looked at."""
    model, images = small("mobilenet_v2"), pixels(8, 64)
    made = equalize(model, images)
    assert any(pair.clipped for pair in pairs_of(lower(model.network)))
    assert np.abs(logits(model, images) - logits(made, images)).max() < 1e-4
    weights, moved = arrays(model), arrays(made)
    assert any(np.abs(weights[key] - moved[key]).max() > 1e-3 for key in weights if key.endswith("conv.weight"))


def test_per_tensor_int8_gains(unseen: tuple[np.ndarray, np.ndarray]) -> None:
    from mobilenets.onnx import to_onnx
    from mobilenets.onnx.quantized import quantize_onnx
    from mobilenets.precision import Scheme
    from mobilenets.runtime.onnxruntime import OnnxRuntimeSession

    model, images = skewed(small("mobilenet_v3_small_minimalistic")), pixels(16, 64)

    def error(of: MobileNet) -> float:
        proto = to_onnx(of.network, arrays(of), of.info.preprocessing, tuple("abcde")).SerializeToString()
        int8 = quantize_onnx(proto, images, Scheme(per_channel=False))
        runs = [OnnxRuntimeSession.open(data).run(images) for data in (proto, int8)]
        return float(np.abs(runs[0] - runs[1]).mean())

    assert error(equalize(model, images)) < 0.7 * error(model)
