"""Which widths can give, and what a narrower table is made of."""

from __future__ import annotations

import pytest
import torch

from making import small
from mobilenets.errors import MisuseError
from mobilenets.model import build
from mobilenets.search import dimensions, narrower, narrowest, with_width
from mobilenets.table import Network, lower
from mobilenets.table.rows import Act, Bottleneck, Conv, Linear, Pool
from mobilenets.weights import inherit
from mobilenets.zoo import INDEX, network

V3_SMALL = {
    "layer of rows 1, 2": 16,  # row 2 has no expansion convolution: its expansion is the stem's width
    "bottleneck of row 2": 16,
    "expansion of row 3": 72,
    "bottleneck of rows 3, 4": 24,
    "expansion of row 4": 88,
    "expansion of row 5": 96,
    "bottleneck of rows 5, 6, 7": 40,
    "expansion of row 6": 240,
    "expansion of row 7": 240,
    "expansion of row 8": 120,
    "bottleneck of rows 8, 9": 48,  # of the same resolution as those of 40, and of another width
    "expansion of row 9": 144,
    "expansion of row 10": 288,
    "bottleneck of rows 10, 11, 12": 96,
    "expansion of row 11": 576,
    "expansion of row 12": 576,
    "layer of row 13": 576,
    "layer of row 15": 1024,
}
REFUSED = ("hybrid", "mobile_former", "edgetpu_v2")


def test_v3_small() -> None:
    net = INDEX["mobilenet_v3_small"]
    assert {way.label: way.width(net) for way in dimensions(net)} == V3_SMALL


def test_a_head_gives_too() -> None:
    labels = [way.label for way in dimensions(network("ssdlite_mobilenet_v3_small"))]
    assert labels[-4:] == [f"layer of row {row}" for row in (14, 15, 16, 17)]
    labels = [way.label for way in dimensions(network("lraspp_mobilenet_v3_small"))]
    assert labels[-1] == "layer of row 14 (filters)"
    labels = [way.label for way in dimensions(network("deeplabv3_mobilenet_v2"))]
    assert any("layer of row 1" in label for label in labels)


@pytest.mark.parametrize("name", [n for n in INDEX if not any(word in n for word in REFUSED)])
def test_every_width_of_the_index_has_one_value_and_keeps_the_operators(name: str) -> None:
    net = INDEX[name]
    operators = [node.name for node in lower(net, training=True)]
    for way in dimensions(net):
        assert len({with_width(net, way, way.width(net)).rows, net.rows}) == 1, way.label
        width, found = next(narrower(net, way, 4))
        assert width < way.width(net) and width % 4 == 0
        assert [node.name for node in lower(found, training=True)] == operators


@pytest.mark.parametrize("name", [n for n in INDEX if any(word in n for word in REFUSED)])
def test_channels_that_cannot_be_chosen(name: str) -> None:
    with pytest.raises(MisuseError, match="cannot be chosen one by one"):
        dimensions(INDEX[name])


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_conv_small", "mnasnet_small",
        "mobile_one_s1", "ssdlite_mobilenet_v2", "lraspp_mobilenet_v3_small", "xception",
    ],
)  # fmt: skip
def test_weights_go_to_every_proposal(name: str) -> None:
    net = small(name, 0.5) if name in INDEX else network(name)
    torch.manual_seed(0)
    source = build(net, training=True)
    for way in dimensions(net):
        if (found := next(narrower(net, way, 4), None)) is not None:
            assert inherit(found[1], source).network.rows == found[1].rows


def test_widths_that_would_change_the_operators_are_left_out() -> None:
    rows = (
        Conv(3, 16, Act.RELU, 2),
        Bottleneck(3, 64, 24, False, Act.RELU, 1),
        Pool(),
        Linear(3),
    )
    net = Network("hand", paper="none", resolution=32, rows=rows)
    ways = {way.label: way for way in dimensions(net)}
    # 16 channels out of 16 would be a residual, an expansion of 16 no expansion
    assert [w for w, _ in narrower(net, ways["bottleneck of row 2"], 8)] == [8]
    assert [w for w, _ in narrower(net, ways["expansion of row 2"], 8)] == [56, 48, 40, 32, 24, 8]
    assert [w for w, _ in narrower(net, ways["layer of row 1"], 8)] == [8]


def test_two_widths_that_meet_stay_two() -> None:
    """The bottlenecks of 40 and 48 of one resolution may not become a residual on the way."""
    net = INDEX["mobilenet_v3_small"]
    ways = {way.label: way for way in dimensions(net)}
    assert 40 not in [w for w, _ in narrower(net, ways["bottleneck of rows 8, 9"], 8)]


def test_the_narrowest_is_as_narrow_as_it_gets() -> None:
    net = INDEX["mobilenet_v3_small"]
    end = narrowest(net, 8)
    assert not [way for way in dimensions(net) for _ in narrower(end, way, 8)]
    assert max(way.width(end) for way in dimensions(net)) <= 24
