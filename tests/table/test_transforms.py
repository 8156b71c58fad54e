"""Width, resolution, minimalistic, output stride and reduced tail."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.costs import cost
from mobilenets.errors import MisuseError
from mobilenets.table import Act, Network, dilate, minimalistic, reduce_tail, scale, with_classes
from mobilenets.table.rows import Bottleneck, Conv, Linear
from mobilenets.zoo import INDEX, network

FAMILIES = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]


@pytest.mark.parametrize("name", INDEX)
def test_width_one_is_the_printed_table(name: str) -> None:
    assert scale(INDEX[name]) is INDEX[name]


@pytest.mark.parametrize("name", INDEX)
def test_resolution_changes_no_row(name: str) -> None:
    scaled = scale(INDEX[name], resolution=256)
    assert scaled.rows == INDEX[name].rows
    assert scaled.resolution == 256


@given(name=st.sampled_from(FAMILIES), width=st.floats(0.2, 2.0))
@settings(max_examples=60, deadline=None)
def test_classes_never_scale_and_channels_are_multiples(name: str, width: float) -> None:
    net = scale(network(name), width)
    assert net.classes == 1000
    assert net.width == round(width, 6)
    for row in net.rows:
        if isinstance(row, Bottleneck):
            assert row.expand % 8 == row.out % 8 == 0


@given(name=st.sampled_from(FAMILIES), width=st.floats(0.25, 1.4), more=st.floats(0.05, 0.6))
@settings(max_examples=40, deadline=None)
def test_wider_never_costs_less(name: str, width: float, more: float) -> None:
    narrow, wide = cost(scale(network(name), width)), cost(scale(network(name), width + more))
    assert narrow.params <= wide.params
    assert narrow.macs <= wide.macs


def test_expansion_keeps_its_ratio_not_its_product() -> None:
    """V3-Large at 0.75 is the paper's 3,993,528 parameters; scaling the expansions themselves gives 3,377,576."""
    assert cost(scale(network("mobilenet_v3_large"), 0.75)).params == 3_993_528


def test_small_at_035_expands_by_six() -> None:
    net = scale(network("mobilenet_v3_small"), 0.35)
    last = [row for row in net.rows if isinstance(row, Conv)][1]
    assert last == Conv(1, 192, Act.HSWISH)


@pytest.mark.parametrize(("name", "width", "head"), [
    ("mobilenet_v2", 0.35, 1280), ("mobilenet_v2", 1.4, 1792), ("mobilenet_v3_large", 0.5, 1280),
    ("mobilenet_v3_large", 1.25, 1600), ("mobilenet_v3_small", 0.75, 1024), ("mobilenet_v3_small", 1.25, 1280),
])  # fmt: skip
def test_the_last_convolution_narrows_never_and_widens_with_width(name: str, width: float, head: int) -> None:
    rows = scale(network(name), width).rows
    assert [row for row in rows if isinstance(row, Conv)][-1].out == head


def test_a_full_head_without_a_convolution_is_no_trouble() -> None:
    net = Network("made", "none", (Linear(64), Linear(10)), resolution=8, head="full")
    assert scale(net, 0.5).rows == (Linear(32), Linear(10))


@pytest.mark.parametrize(("width", "resolution", "message"), [
    (0.0, None, r"`width` \(=0.0\) must be above 0"), (-1.0, None, "must be above 0"), (17.0, None, "at most 16"),
    (float("nan"), None, "must be above 0"), (1.0, 0, r"`resolution` \(=0\) must be between 1 and 4096"),
    (1.0, 5000, "between 1 and 4096"),
])  # fmt: skip
def test_impossible_scales_are_refused(width: float, resolution: int | None, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        scale(network("mobilenet_v2"), width, resolution)


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "mobilenet_v3_small"])
def test_minimalistic_has_none_of_the_three(name: str) -> None:
    net = minimalistic(network(name))
    assert net.name == f"{name}_minimalistic"
    assert minimalistic(net) == net
    for row in net.rows:
        assert getattr(row, "act", Act.RELU) in (Act.RELU, Act.NONE)
        if isinstance(row, Bottleneck):
            assert row.kernel == 3
            assert not row.se
    assert [getattr(r, "out", 0) for r in net.rows] == [getattr(r, "out", 0) for r in network(name).rows]


@pytest.mark.parametrize("stride", [0, -8, 3, 12])
def test_output_stride_is_a_power_of_two(stride: int) -> None:
    with pytest.raises(MisuseError, match=rf"`output_stride` \(={stride}\) must be a power of two"):
        dilate(network("mobilenet_v2"), stride)


def test_output_stride_keeps_parameters() -> None:
    assert cost(dilate(network("mobilenet_v3_large"), 8)).params == cost(network("mobilenet_v3_large")).params


def test_reduced_tail_halves_what_follows_c4() -> None:
    """V3, section 6.3: the expansion of the block that makes the last stride is C4 and stays."""
    rows = reduce_tail(network("mobilenet_v3_large")).rows
    assert rows[:13] == network("mobilenet_v3_large").rows[:13]
    assert rows[13] == Bottleneck(5, 672, 80, True, Act.HSWISH, 2)
    assert rows[14] == Bottleneck(5, 480, 80, True, Act.HSWISH)
    assert rows[16] == Conv(1, 480, Act.HSWISH)
    assert rows[-1] == Linear(1000)


def test_reduced_tail_needs_a_stride() -> None:
    flat = replace(network("mobilenet_v2"), rows=(Conv(3, 8, Act.RELU), Linear(10)))
    with pytest.raises(MisuseError, match="has no strided row"):
        reduce_tail(flat)


def test_classes() -> None:
    net = with_classes(network("squeezenet"), 7)
    assert net.classes == 7
    assert cost(net).nodes[-1].output_shape[0] == 7
    with pytest.raises(MisuseError, match=r"`classes` \(=0\) must be at least 1"):
        with_classes(net, 0)
    with pytest.raises(MisuseError, match="has no classifier row"):
        with_classes(replace(net, rows=net.rows[1:2]), 3)
