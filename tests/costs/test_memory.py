"""Peak activation memory: small cases by hand, and a slow oracle that walks every moment."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.costs import cost, peak_activation
from mobilenets.table import Act, Network, lower, scale
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    Convolution,
    DynamicRelu,
    Flatten,
    FullyConnected,
    MergeHeads,
    Multiply,
    Node,
    Scale,
    Select,
    Softmax,
    SplitHeads,
)
from mobilenets.table.rows import (
    Bottleneck,
    Conv,
    DepthwiseSeparable,
    Fire,
    Inception,
    Linear,
    MaxPool,
    Pool,
    Row,
    XceptionBlock,
)
from mobilenets.zoo import INDEX, network


def oracle(nodes: tuple[Node, ...], net: Network, *, in_place: bool) -> int:
    """The same question by brute force: who shares whose buffer, then the sum of all living ones at each moment."""
    readers: dict[str, list[int]] = {INPUT: []}
    for moment, node in enumerate(nodes):
        readers[node.name] = []
        for name in node.inputs:
            readers[name].append(moment)
    readers[nodes[-1].name].append(len(nodes))
    owner = {INPUT: INPUT}
    by_name = {node.name: node for node in nodes}
    views = Flatten | Select | SplitHeads | MergeHeads
    elementwise = Activation | Add | Multiply | BatchNorm | Scale | Softmax | DynamicRelu
    for moment, node in enumerate(nodes):
        if not node.inputs:
            owner[node.name] = node.name
            continue
        first = owner[node.inputs[0]]
        sharing = [name for name, buffer in owner.items() if buffer == first]
        later = [m for name in sharing for m in readers[name] if m > moment]
        twice = sum(owner[name] == first for name in node.inputs) > 1
        reuses = in_place and isinstance(node, elementwise) and not later and not twice
        owner[node.name] = first if isinstance(node, views) or folds(node, by_name, readers) or reuses else node.name
    size = {INPUT: net.in_channels * net.resolution**2}
    size |= {n.name: math.prod(n.shape) if n.inputs else 0 for n in nodes}
    born = {INPUT: 0} | {n.name: moment for moment, n in enumerate(nodes)}
    dies = dict.fromkeys(size, 0)
    for name, moments in readers.items():
        dies[owner[name]] = max(dies[owner[name]], *moments, 0)
    buffers = set(owner.values())
    return max(sum(size[b] for b in buffers if born[b] <= moment <= dies[b]) for moment in range(len(nodes)))


def folds(node: Node, by_name: dict[str, Node], readers: dict[str, list[int]]) -> bool:
    """A norm or factor right behind a convolution or matrix product that nobody else reads, or behind such a one."""
    before = by_name.get(node.inputs[0])
    if not isinstance(node, BatchNorm | Scale) or before is None or len(readers[before.name]) != 1:
        return False
    return isinstance(before, Convolution | FullyConnected) or folds(before, by_name, readers)


def table(*rows: Row, resolution: int = 8, channels: int = 4) -> Network:
    return Network("made", "none", (*rows, Pool(), Linear(3)), resolution=resolution, in_channels=channels)


def test_a_chain_holds_input_and_output() -> None:
    net = table(Conv(3, 16, Act.RELU), Conv(3, 2, Act.RELU))
    peak = peak_activation(lower(net), net)
    assert peak == (64 * 16 + 64 * 4, "row01.conv.conv")


def test_activations_take_a_buffer_when_nothing_is_in_place() -> None:
    net = table(Conv(3, 16, Act.RELU), Conv(3, 2, Act.RELU))
    assert peak_activation(lower(net), net, in_place=False) == (64 * 16 * 2, "row01.conv.act")


def test_a_residual_holds_its_source() -> None:
    net = table(Bottleneck(3, 24, 4, False, Act.RELU))
    # while the depthwise convolution runs: the block's input for the residual, the expansion, and its output
    assert peak_activation(lower(net), net) == (64 * (4 + 24 + 24), "row01.depthwise.conv")


def test_the_gate_is_small_and_multiplied_in_place() -> None:
    plain, gated = (table(Bottleneck(3, 24, 4, se, Act.RELU)) for se in (False, True))
    assert peak_activation(lower(plain), plain) == peak_activation(lower(gated), gated)


def test_v2_at_224() -> None:
    """The first strided block: its expansion, 96 channels at 112x112, and the depthwise output at 56x56."""
    c = cost(network("mobilenet_v2"))
    assert c.peak == (96 * (112 * 112 + 56 * 56), "row03.depthwise.conv")
    assert c.peak_activation_bytes("fp16") == 2 * c.peak.values
    assert c.peak_activation_bytes() == 4 * c.peak.values


ROWS = st.one_of(
    st.builds(Conv, st.sampled_from([1, 3]), st.integers(1, 32), st.sampled_from(Act), st.sampled_from([1, 2])),
    st.builds(DepthwiseSeparable, st.just(3), st.integers(1, 32), st.sampled_from(Act), st.sampled_from([1, 2])),
    st.builds(
        Bottleneck, st.sampled_from([3, 5]), st.integers(1, 64), st.integers(1, 4), st.booleans(),
        st.sampled_from(Act), st.sampled_from([1, 2]),
    ),
    st.builds(Fire, st.integers(1, 8), st.integers(1, 16), st.integers(1, 16)),
    st.builds(Inception, *(st.integers(1, 8) for _ in range(6))),
    st.builds(
        XceptionBlock, st.lists(st.integers(1, 16), min_size=1, max_size=3).map(tuple), st.just(2), st.booleans()
    ),
    st.builds(MaxPool, st.just(3), st.just(2), st.just(1)),
)  # fmt: skip


@given(st.lists(ROWS, min_size=1, max_size=8), st.integers(1, 40), st.integers(1, 4), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_table_agrees_with_the_oracle(rows: list[Row], resolution: int, channels: int, in_place: bool) -> None:
    net = table(*rows, resolution=resolution, channels=channels)
    nodes = lower(net)
    assert peak_activation(nodes, net, in_place=in_place).values == oracle(nodes, net, in_place=in_place)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("name", INDEX)
def test_every_network_agrees_with_the_oracle(name: str, in_place: bool) -> None:
    net = INDEX[name]
    nodes = lower(net)
    assert peak_activation(nodes, net, in_place=in_place).values == oracle(nodes, net, in_place=in_place)


@given(st.sampled_from(sorted(INDEX)), st.floats(0.25, 1.5))
@settings(max_examples=40, deadline=None)
def test_peak_holds_the_largest_step_and_in_place_only_helps(name: str, width: float) -> None:
    net = scale(INDEX[name], width)
    nodes = lower(net)
    sizes = {INPUT: net.in_channels * net.resolution**2} | {n.name: math.prod(n.shape) for n in nodes}
    steps = [
        sizes[n.name] + sum(sizes[i] for i in set(n.inputs))
        for n in nodes
        if isinstance(n, Convolution | FullyConnected)
    ]
    reused, fresh = (peak_activation(nodes, net, in_place=choice) for choice in (True, False))
    assert reused.values >= max(steps)
    assert reused.values <= fresh.values
    assert reused.at in sizes
