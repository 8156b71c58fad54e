"""Laws of detectors and segmenters as modules and ONNX files: a sample of the grid of heads and backbones."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from making import lively, pixels
from mobilenets.costs import cost
from mobilenets.latency.table import kernels
from mobilenets.model import AnchorOutputs, MobileNet, arrays, build, load, normalise, save
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import Network, lower, outputs, scale, with_classes
from mobilenets.table.rows import Upsample
from mobilenets.zoo import INDEX, network
from mobilenets.zoo.heads import HEADS, deeplabv3, ssd

BACKBONES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small")
ODD = ("mobile_former_26m", "mobile_one_s0", "mobilenet_v4_hybrid_medium", "xception", "squeezenet", "vgg16")
SAMPLE = [f"{head}_{name}" for head in HEADS for name in BACKBONES] + [
    f"{head}_{name}" for head in ("ssdlite", "deeplabv3", "lraspp") for name in ODD
]
EVERY_BACKBONE = [f"{head}_{name}" for head, name in zip(cycle(HEADS), INDEX, strict=False)]
"""One head each, in turn: the whole grid takes minutes."""
NAMES = pytest.mark.parametrize("name", SAMPLE)


def small(name: str) -> Network:
    return scale(network(name), 0.25, 96)


def answers(model: MobileNet, images: torch.Tensor) -> list[torch.Tensor]:
    out = model(images)
    return list(out) if isinstance(out, AnchorOutputs) else [out]


@pytest.mark.parametrize("name", EVERY_BACKBONE)
def test_counts_and_shapes_are_pytorchs(name: str) -> None:
    net = replace(network(name), resolution=192)
    with torch.device("meta"):
        model, image = MobileNet(net).eval(), torch.empty(1, net.in_channels, 192, 192)
    counted = cost(net)
    assert counted.params == sum(p.numel() for p in model.parameters())
    with FlopCounterMode(display=False) as flops:
        found = answers(model, image)
    assert flops.get_total_flops() == 2 * counted.macs
    assert [tuple(value.shape[1:]) for value in found] == [node.shape for node in outputs(lower(net))]
    taps = model.taps(image, [node.name for node in model.nodes])
    assert {name: tuple(value.shape[1:]) for name, value in taps.items()} == {n.name: n.shape for n in model.nodes}


@NAMES
def test_every_parameter_has_a_gradient_and_other_sizes_go_through(name: str) -> None:
    net = small(name)
    torch.manual_seed(0)
    model = MobileNet(net, training=True).train()
    size = 96 if net.padding == "valid" else 128
    sum(value.square().mean() for value in answers(model, torch.randn(2, 3, size, size))).backward()
    missing = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing


@NAMES
def test_onnx_is_pytorch_and_a_checkpoint_comes_back(name: str, tmp_path: Path) -> None:
    net = small(name)
    torch.manual_seed(0)
    model = lively(build(net, preprocessing=Preprocessing(96)))
    images = pixels(3, 96)
    with torch.inference_mode():
        tensor = normalise(torch.from_numpy(images), model.info.preprocessing)
        found = answers(model, tensor)
        again = load(save(model, tmp_path / "model.safetensors"))
        assert again.info.task == net.task and again.network == net
        assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
        expected = [*found[:-1], model.probabilities(found[-1])]
    proto = to_onnx(net, arrays(model), model.info.preprocessing)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == (
        ["boxes", "scores"] if net.task == "detect" else ["probabilities"]
    )
    with torch.inference_mode():
        exact = answers(
            copy.deepcopy(model).double(), normalise(torch.from_numpy(images), model.info.preprocessing).double()
        )
        exact[-1] = model.probabilities(exact[-1])
    for mine, theirs, true in zip(session.run(None, {"image": images}), expected, exact, strict=True):
        assert mine.shape == tuple(theirs.shape)
        assert theirs.std() > 1e-3, "outputs that are all alike would prove nothing"
        # as near to the truth as PyTorch itself in float32
        assert np.abs(mine - true.numpy()).max() < max(1e-5, 5 * float((theirs - true).abs().max()))


@pytest.mark.parametrize("size", [65, 97, 513])
@pytest.mark.parametrize("align", [True, False])
def test_resizing_in_onnx_is_pytorchs_at_odd_sizes(size: int, align: bool) -> None:
    net = scale(replace(deeplabv3(INDEX["mobilenet_v2"], 3, atrous=False), padding="same"), 0.25, size)
    net = replace(net, rows=(*net.rows[:-1], Upsample(align)))
    proto = to_onnx(net, random_weights(net), Preprocessing(size), taps=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    before, after = session.run(["row20.conv.conv", "row21.resize"], {"image": pixels(1, size)})
    expected = F.interpolate(torch.from_numpy(before), (size, size), mode="bilinear", align_corners=align).numpy()
    np.testing.assert_allclose(after, expected, atol=1e-4 * np.abs(expected).max())


@NAMES
def test_a_latency_table_sees_heads_and_untrained_ones_can_be_written(name: str) -> None:
    net = small(name)
    assert any(key.startswith(f"row{len(net.rows):02d}.") for key in kernels(net))
    assert to_onnx(net, random_weights(net), Preprocessing(96)).graph.node


def test_peak_memory_counts_both_outputs_and_not_an_image_that_is_only_measured() -> None:
    net = scale(ssd(INDEX["mobilenet_v1"], 500), 0.25, 96)
    boxes, classes = outputs(lower(net))
    assert cost(net).peak.at == classes.name
    assert cost(net).peak.values == 2 * classes.shape[0] * classes.shape[1] + boxes.shape[0] * 4
    segmenter = replace(with_classes(network("raspp_mobilenet_v2"), 200), resolution=512)
    assert cost(segmenter).peak.at == "row21.resize"
    assert cost(segmenter).peak.values == 200 * 512 * 512 + 200 * 32 * 32
