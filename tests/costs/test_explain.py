"""The arithmetic of V1's section 3.1."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.costs import cost
from mobilenets.costs.explain import Layer, explain, layer_of_network, layer_of_numbers
from mobilenets.errors import MisuseError
from mobilenets.table import row_of, scale
from mobilenets.table.rows import Bottleneck, DepthwiseSeparable
from mobilenets.zoo import INDEX, network

POSITIVE = st.integers(1, 512)


def test_the_example_by_hand() -> None:
    standard, depthwise, pointwise, separable = explain(layer_of_numbers(6, 3, 3, 5, 1, "valid")).kinds
    assert (standard.multiplications, depthwise.multiplications, pointwise.multiplications) == (2160, 432, 240)
    assert (separable.multiplications, separable.params) == (672, 27 + 15)
    assert (standard.params, standard.additions) == (135, 80 * 26)
    assert (depthwise.additions, pointwise.additions) == (48 * 8, 80 * 2)
    assert standard.numbers == "3 x 3 x 3 x 5 x 4 x 4"
    assert separable.formula == "D_K x D_K x M x D_F x D_F + M x N x D_F x D_F"


def test_v1_claims_eight_to_nine_times() -> None:
    ratio = explain(Layer(3, 512, 512, 14)).ratio
    assert ratio == Fraction(1, 512) + Fraction(1, 9)
    assert 8 < 1 / ratio < 9


@given(st.builds(Layer, st.integers(1, 11), POSITIVE, POSITIVE, POSITIVE))
def test_the_ratio_is_the_measured_one(layer: Layer) -> None:
    explained = explain(layer)
    assert explained.ratio == explained.measured
    standard, *_, separable = explained.kinds
    assert Fraction(separable.params, standard.params) == explained.ratio
    for kind in explained.kinds:
        total = sum(_product(term) for term in kind.numbers.split(" + "))
        assert total == kind.multiplications, "the printed numbers make the printed count"


def _product(term: str) -> int:
    value = 1
    for factor in term.split(" x "):
        value *= int(factor)
    return value


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small"])
def test_rows_of_networks_agree_with_the_counter(name: str) -> None:
    net = scale(INDEX[name], 0.5, 160)
    nodes = cost(net).nodes
    for number, row in enumerate(net.rows, 1):
        if isinstance(row, DepthwiseSeparable | Bottleneck):
            separable = explain(layer_of_network(net, number)).kinds[3]
            parts = [n for n in nodes if row_of(n.node) == number]
            two = [n for n in parts if n.name.split(".")[1] in ("depthwise", "pointwise", "project")]
            assert sum(n.macs for n in two) == separable.multiplications
            assert sum(n.additions for n in two) == separable.additions
            assert sum(n.weights for n in two) == separable.params


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.sampled_from(["valid", "symmetric"]))
def test_output_sizes_are_pytorchs(size: int, kernel: int, stride: int, padding: str) -> None:
    import torch
    from torch.nn import functional as F

    if (padding == "symmetric" and kernel % 2 == 0) or (padding == "valid" and kernel > size):
        return
    layer = layer_of_numbers(size, 2, kernel, 3, stride, padding)  # type: ignore[arg-type]
    pad = (kernel - 1) // 2 if padding == "symmetric" else 0
    x, w = torch.empty(1, 2, size, size, device="meta"), torch.empty(3, 2, kernel, kernel, device="meta")
    assert F.conv2d(x, w, None, stride, pad).shape[2] == layer.size


@pytest.mark.parametrize(("numbers", "message"), [
    ((0, 3, 3, 5, 1, "valid"), r"`size` \(=0\) must be between 1 and 65536"),
    ((6, -3, 3, 5, 1, "valid"), r"`channels` \(=-3\) must be between"),
    ((6, 3, 0, 5, 1, "valid"), r"`kernel` \(=0\)"), ((6, 3, 3, 0, 1, "valid"), r"`filters` \(=0\)"),
    ((6, 3, 3, 5, 0, "valid"), r"`stride` \(=0\)"), ((70000, 3, 3, 5, 1, "valid"), "between 1 and 65536"),
    ((6, 3, 7, 5, 1, "valid"), r"`kernel` \(=7\) does not fit an input of 6x6 pixels"),
    ((6, 3, 4, 5, 1, "symmetric"), r"`kernel` \(=4\) must be odd"),
])  # fmt: skip
def test_impossible_layers_are_refused(numbers: tuple[int, int, int, int, int, str], message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        layer_of_numbers(*numbers)  # type: ignore[arg-type]


def test_rows_without_a_depthwise_convolution_are_refused() -> None:
    with pytest.raises(MisuseError, match=r"row 1 of mobilenet_v1 is not a separable convolution. These are: 2, 3, 4"):
        layer_of_network(network("mobilenet_v1"), 1)
    with pytest.raises(MisuseError, match="row 99 of mobilenet_v1"):
        layer_of_network(network("mobilenet_v1"), 99)
    with pytest.raises(MisuseError, match="'vgg16' has no separable convolution"):
        layer_of_network(network("vgg16"), 1)
