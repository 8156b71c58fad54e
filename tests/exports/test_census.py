"""Operators counted in the files that runtimes load, int8 against float, islands by address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenets.exports import census
from mobilenets.exports.census import Census, Operator, counted
from mobilenets.model import MobileNet
from mobilenets.table.nodes import Convolution, FullyConnected

Made = Callable[..., Path]


def kernels(model: MobileNet) -> int:
    return sum(isinstance(node, Convolution | FullyConnected) for node in model.nodes)


def test_islands_lie_between() -> None:
    operators = [
        Operator("Mul", False, None),
        Operator("Conv", True, "a"),
        Operator("HardSwish", False, None),
        Operator("Sigmoid", False, "gate"),
        Operator("Conv", True, "b"),
        Operator("Softmax", False, None),
    ]
    found = counted(operators)
    assert (found.quantized, found.floating) == (2, 4)
    assert found.islands == ("HardSwish after a", "gate")
    assert dict(found.kinds) == {"Mul": 1, "HardSwish": 1, "Sigmoid": 1, "Softmax": 1}
    assert str(found) == "2 int8, 4 float, 2 islands"
    assert counted([]) == Census()


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".c", ".pt2", ".tflite", ".pte"])
def test_float_files_have_no_int8(suffix: str, artifact_of: Made, toy: MobileNet) -> None:
    found = census(toy, artifact_of(suffix))
    assert found.remark == ""
    assert found.quantized == 0
    assert found.floating >= kernels(toy)
    assert found.islands == ()


@pytest.mark.parametrize(
    "suffix", [".onnx", ".xml", ".c", *(pytest.param(s, marks=pytest.mark.slow) for s in (".tflite", ".pte"))]
)
def test_every_kernel_is_int8(suffix: str, artifact_of: Made, toy: MobileNet) -> None:
    found = census(toy, artifact_of(suffix, "int8"))
    assert found.quantized >= kernels(toy)


def test_islands_by_address(artifact_of: Made, toy: MobileNet) -> None:
    """What ONNX Runtime has no int8 kernel for stands between int8 values: h-swish, and the gate's hard sigmoid."""
    addresses = {node.name for node in toy.nodes}
    found = census(toy, artifact_of(".onnx", "int8"))
    assert {"row01.conv.act", "row02.excite.act"} <= set(found.islands) <= addresses
    assert set(census(toy, artifact_of(".xml", "int8")).islands) <= addresses


def test_what_cannot_be_counted_is_said(toy: MobileNet, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"garbage")
    found = census(toy, path)
    assert "not counted" in str(found)
    assert str(path) in found.remark
