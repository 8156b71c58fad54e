"""torchao's PT2E: exportable, near float, scaling and softmax in float, ReLU6 by the range behind it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from making import TOY, trained
from mobilenets.errors import MissingExtraError, MisuseError, UnknownNameError
from mobilenets.model import Deployed, MobileNet, addressed
from mobilenets.precision import Scheme
from mobilenets.quantization.pt2e import Backend, quantize_pt2e
from mobilenets.table.rows import Act, Conv, DepthwiseSeparable, Linear, Network, Pool

pytest.importorskip("torchao", reason="the extra `quant` is not installed")

CLIPPED = Network(
    "clipped",
    paper="none",
    resolution=32,
    rows=(
        Conv(3, 8, Act.RELU6, 2),
        DepthwiseSeparable(3, 16, Act.RELU6, 2),
        DepthwiseSeparable(3, 24, Act.RELU6, 2),
        Pool(),
        Linear(3),
    ),
)


def probabilities(module: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return module(torch.from_numpy(images)).numpy()


def operations(module: nn.Module) -> list[Any]:
    return [node for node in module.graph.nodes if node.op == "call_function"]  # type: ignore[union-attr]


def reads_float_weight(module: nn.Module, layer: str) -> bool:
    """Whether the convolution of a node reads its weight as it is, not out of int8."""
    wanted = re.compile(rf"network\.{re.escape(layer)}$")
    for node in operations(module):
        stack = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
        if "conv2d" in str(node.target) and any(wanted.search(path) for path in stack):
            return "dequantize" not in str(node.args[1].target)
    raise AssertionError(layer)


@pytest.fixture(scope="module")
def int8(model: MobileNet, calibration: np.ndarray) -> nn.Module:
    return quantize_pt2e(Deployed(model), calibration, Scheme(), backend="onnx")


def test_int8_says_what_float_says(model: MobileNet, int8: nn.Module, unseen: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = unseen
    expected, found = probabilities(Deployed(model), images), probabilities(int8, images)
    assert (expected.argmax(1) == labels).mean() > 0.9
    assert (found.argmax(1) == labels).mean() > 0.9
    assert 0 < np.abs(expected - found).max() < 0.5


def test_it_can_be_exported_for_any_batch(int8: nn.Module, unseen: tuple[np.ndarray, np.ndarray]) -> None:
    images = torch.from_numpy(unseen[0])
    shapes = ({0: torch.export.Dim("n", min=1, max=64)},)
    program = torch.export.export(int8, (images[:2],), dynamic_shapes=shapes).module()
    for n in (1, 5):
        assert torch.equal(program(images[:n]), int8(images[:n]))


def test_scaling_and_softmax_stay_float(int8: nn.Module) -> None:
    seen = [str(node.target) for node in operations(int8)]
    first, last = next(i for i, t in enumerate(seen) if "quantize_per_tensor" in t), len(seen) - 1
    before = seen[:first]
    assert sum("mul.Tensor" in t for t in before) == 1 and sum("add.Tensor" in t for t in before) == 1
    assert "softmax" in seen[last]


def test_named_nodes_stay_in_float(model: MobileNet, calibration: np.ndarray, int8: nn.Module) -> None:
    scheme = Scheme(keep_float=frozenset({"row03.expand.conv", "row02.excite.mul", "row03.add"}))
    kept = quantize_pt2e(Deployed(model), calibration, scheme, backend="onnx")
    assert reads_float_weight(kept, "row03.expand.conv")
    assert not reads_float_weight(kept, "row03.project.conv")
    assert not reads_float_weight(int8, "row03.expand.conv")


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_methods_of_calibration_differ(
    model: MobileNet, calibration: np.ndarray, int8: nn.Module, unseen: tuple[np.ndarray, np.ndarray], method: Any
) -> None:
    other = quantize_pt2e(Deployed(model), calibration, Scheme(calibration=method), backend="onnx")
    found = probabilities(other, unseen[0])
    assert (found.argmax(1) == unseen[1]).mean() > 0.9
    assert np.abs(found - probabilities(int8, unseen[0])).max() > 0


def test_a_relu6_is_quantized_by_the_range_behind_it(calibration: np.ndarray) -> None:
    model = trained(CLIPPED)
    with torch.no_grad():  # values far beyond 6 before the clip: they must not widen the range behind it
        model.get_submodule("row02.pointwise.bn").weight.mul_(20)
    int8 = quantize_pt2e(Deployed(model), calibration, Scheme(), backend="onnx")
    scales = [
        node.args[1]
        for node in operations(int8)
        if "quantize_per_tensor" in str(node.target) and "relu6" in str(getattr(node.args[0], "target", ""))
    ]
    assert len(scales) >= 4
    assert max(scales) <= 6 / 255 + 1e-6


def test_every_operation_carries_its_address(model: MobileNet, unseen: tuple[np.ndarray, np.ndarray]) -> None:
    named = addressed(model)
    assert {name for name, _ in named.named_modules()} >= {node.name for node in model.nodes}
    assert named.state_dict().keys() == model.state_dict().keys()
    images = torch.rand(2, 3, TOY.resolution, TOY.resolution)
    with torch.inference_mode():
        assert torch.equal(named(images), model(images))


@pytest.mark.parametrize(("backend", "package"), [("executorch", "executorch"), ("litert", "litert_torch")])
def test_backends_have_their_own_quantizer(
    model: MobileNet, calibration: np.ndarray, unseen: tuple[np.ndarray, np.ndarray], backend: Backend, package: str
) -> None:
    pytest.importorskip(package, reason=f"the extra `{backend}` is not installed")
    int8 = quantize_pt2e(Deployed(model), calibration, Scheme(), backend=backend)
    assert (probabilities(int8, unseen[0]).argmax(1) == unseen[1]).mean() > 0.9


def test_wrong_requests(model: MobileNet, calibration: np.ndarray) -> None:
    deployed = Deployed(model)
    with pytest.raises(MisuseError, match="int8 needs calibration images"):
        quantize_pt2e(deployed, calibration[:0], backend="onnx")
    with pytest.raises(MisuseError, match="h w c = 32x32x3, got uint8 48x32x32x1"):
        quantize_pt2e(deployed, calibration[..., :1], backend="onnx")
    with pytest.raises(UnknownNameError, match=r"unknown node 'row03\.expand'"):
        quantize_pt2e(deployed, calibration, Scheme(keep_float=frozenset({"row03.expand"})), backend="onnx")


def test_a_missing_extra_is_named(
    model: MobileNet, calibration: np.ndarray, monkeypatch: pytest.MonkeyPatch, hidden: Callable[[str], None]
) -> None:
    hidden("executorch")
    with pytest.raises(MissingExtraError, match=r"int8 for ExecuTorch needs executorch.*mobilenets\[executorch\]"):
        quantize_pt2e(Deployed(model), calibration, backend="executorch")
    hidden("torchao")
    with pytest.raises(MissingExtraError, match=r"int8 on PyTorch graphs needs torchao.*mobilenets\[quant\]"):
        quantize_pt2e(Deployed(model), calibration, backend="onnx")


def test_the_model_stays_as_it_was(model: MobileNet, calibration: np.ndarray) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    quantize_pt2e(Deployed(model), calibration[:4], backend="onnx")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
