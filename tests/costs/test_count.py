"""Counts of small tables by hand, and laws that hold for every network."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.costs import BYTES, cost
from mobilenets.costs.printed import cells, describe_row, grouped, printed, used_columns
from mobilenets.table import Act, Network, dilate, scale
from mobilenets.table.nodes import Convolution
from mobilenets.table.rows import Bottleneck, Conv, DepthwiseSeparable, Linear, Pool
from mobilenets.zoo import INDEX, network

SMALL = Network(
    "small", "none", (Conv(3, 8, Act.RELU, 2), Bottleneck(3, 16, 8, True, Act.RELU), Pool(), Linear(10)), resolution=8
)


def by_name() -> dict[str, tuple[int, int, int, int]]:
    return {n.name: (n.params, n.macs, n.additions, n.elementwise) for n in cost(SMALL).nodes}


def test_every_node_by_hand() -> None:
    assert by_name() == {
        "row01.conv.conv": (3 * 9 * 8, 16 * 27 * 8, 16 * 26 * 8, 0),
        "row01.conv.bn": (16, 0, 0, 0),
        "row01.conv.act": (0, 0, 0, 128),
        "row02.expand.conv": (8 * 16, 16 * 8 * 16, 16 * 7 * 16, 0),
        "row02.expand.bn": (32, 0, 0, 0),
        "row02.expand.act": (0, 0, 0, 256),
        "row02.depthwise.conv": (9 * 16, 16 * 9 * 16, 16 * 8 * 16, 0),
        "row02.depthwise.bn": (32, 0, 0, 0),
        "row02.depthwise.act": (0, 0, 0, 256),
        "row02.squeeze.pool": (0, 0, 0, 256),
        "row02.squeeze.conv": (16 * 8 + 8, 16 * 8, 15 * 8, 0),
        "row02.squeeze.act": (0, 0, 0, 8),
        "row02.excite.conv": (8 * 16 + 16, 8 * 16, 7 * 16, 0),
        "row02.excite.act": (0, 0, 0, 16),
        "row02.excite.mul": (0, 0, 0, 256),
        "row02.project.conv": (16 * 8, 16 * 16 * 8, 16 * 15 * 8, 0),
        "row02.project.bn": (16, 0, 0, 0),
        "row02.add": (0, 0, 0, 128),
        "row03.pool": (0, 0, 0, 128),
        "row04.flatten": (0, 0, 0, 0),
        "row04.linear": (8 * 10 + 10, 80, 70, 0),
    }


def test_totals_bytes_and_batch_norm() -> None:
    c, nodes = cost(SMALL), by_name().values()
    assert (c.params, c.macs, c.additions, c.elementwise) == tuple(sum(column) for column in zip(*nodes, strict=True))
    assert c.multiplications == c.macs
    assert c.bn_channels == 8 + 16 + 16 + 8
    assert [c.weight_bytes(p) for p in BYTES] == [4 * c.params, 2 * c.params, c.params]
    assert "small 1 @8" in str(c)


@pytest.mark.parametrize("name", INDEX)
def test_rows_and_shares_sum_to_the_whole(name: str) -> None:
    c = cost(INDEX[name])
    assert sum(r.params for r in c.rows) == c.params
    assert sum(r.macs for r in c.rows) == c.macs
    assert sum(r.additions for r in c.rows) == c.additions
    assert len(c.rows) == len(INDEX[name].rows)
    assert sum(s.macs_percent for s in c.shares()) == pytest.approx(100)
    assert sum(s.params_percent for s in c.shares()) == pytest.approx(100)
    shapes = [c.rows[0].input_shape, *(r.output_shape for r in c.rows)]
    assert all(r.input_shape == shape for r, shape in zip(c.rows, shapes, strict=False))


@given(
    name=st.sampled_from(["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]),
    width=st.floats(0.25, 1.4), resolution=st.integers(32, 320),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_resolution_changes_macs_only(name: str, width: float, resolution: int) -> None:
    here, there = cost(scale(network(name), width, resolution)), cost(scale(network(name), width, resolution + 32))
    assert here.params == there.params
    assert here.macs < there.macs
    for n in here.nodes:
        if isinstance(n.node, Convolution):
            assert n.macs == n.weights * n.output_shape[1] * n.output_shape[2]
            assert n.additions == n.macs - n.activations


def test_activations_of_a_row_are_what_its_convolutions_write() -> None:
    assert cost(SMALL).rows[1].activations == 256 + 256 + 8 + 16 + 128


def test_printed_cells_leave_out_what_the_table_lacks() -> None:
    lines = printed(network("mobilenet_v1"))
    assert lines[1]._asdict() | {"t": "-", "n": "-"} == {
        "input": "112x112x32", "operator": "conv dw 3x3 + conv 1x1", "t": "-", "exp": "-", "out": "64", "n": "-",
        "se": "-", "nl": "R6", "s": "1",
    }  # fmt: skip
    assert used_columns(lines) == [0, 1, 4, 7, 8]


def test_grouped_rows_of_v1() -> None:
    groups = grouped(cost(network("mobilenet_v1")).rows)
    assert [int(line.n) for line, _ in groups] == [1, 1, 2, 2, 6, 2, 1, 1]
    assert [len(rows) for _, rows in groups] == [int(line.n) for line, _ in groups]


def test_a_new_stride_starts_a_new_group() -> None:
    twice = (DepthwiseSeparable(3, 8, Act.RELU, 2), DepthwiseSeparable(3, 8, Act.RELU, 2), Linear(2))
    assert [line.n for line, _ in grouped(cost(Network("made", "none", twice, resolution=32)).rows)] == ["1", "1", "1"]


@pytest.mark.parametrize("name", INDEX)
def test_every_row_can_be_printed_and_described(name: str) -> None:
    for entry in cost(INDEX[name]).rows:
        assert all(cells(entry))
        assert describe_row(entry.row)


def test_descriptions() -> None:
    assert describe_row(Bottleneck(5, 72, 40, True, Act.RELU, 2)) == "bneck 5x5, exp 72, out 40, SE, RE, s 2"
    assert describe_row(Conv(1, 1280, Act.HSWISH, norm=False)) == "conv2d 1x1, NBN, out 1280, HS, s 1"
    assert describe_row(Pool()) == "pool"
    assert describe_row(Linear(1000)) == "fc, out 1000"


def test_dilation_adds_macs_and_no_parameters() -> None:
    plain, dilated = cost(network("mobilenet_v2")), cost(dilate(network("mobilenet_v2"), 8))
    assert dilated.params == plain.params
    assert dilated.macs > plain.macs
