"""Peak activation memory by liveness: which values must be alive together."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import NamedTuple

from mobilenets.table.nodes import INPUT, Activation, Add, BatchNorm, Flatten, Multiply, Node
from mobilenets.table.rows import Network

_VIEWS = (BatchNorm, Flatten)
_ELEMENTWISE = (Activation, Add, Multiply)


class Peak(NamedTuple):
    """The worst moment: `values` alive (not bytes) while node `at` runs."""

    values: int
    at: str


def peak_activation(nodes: tuple[Node, ...], network: Network, *, in_place: bool = True) -> Peak:
    """Largest number of activation values alive at once when the nodes run in order.

    The input image is one of them. Batch norm is folded and flattening is a view: neither has a buffer of its own.
    With `in_place`, an activation, a gate or a residual add writes over its first input where nothing else needs that
    input any more. What a kernel allocates inside (im2col and the like) is not counted.
    """
    uses = Counter(chain.from_iterable(node.inputs for node in nodes))
    uses[nodes[-1].name] += 1  # the output is read after the last node
    reusing = (*_VIEWS, *_ELEMENTWISE) if in_place else _VIEWS
    buffer_of = {INPUT: INPUT}
    size = {INPUT: network.in_channels * network.resolution**2}
    waiting = {INPUT: uses[INPUT]}
    live = most = size[INPUT]
    at = nodes[0].name
    for node in nodes:
        name = node.name
        first = buffer_of[node.inputs[0]]
        if waiting[first] == 1 and isinstance(node, reusing):
            buffer_of[name] = first
            waiting[first] = uses[name] + 1  # the 1 is this node's own use, taken off below
        else:
            shape = node.shape
            buffer_of[name] = name
            size[name] = shape[0] if len(shape) == 1 else shape[0] * shape[1] * shape[2]
            waiting[name] = uses[name]
            live += size[name]
            if live > most:
                most, at = live, name
        for source in node.inputs:
            buffer = buffer_of[source]
            waiting[buffer] -= 1
            if not waiting[buffer]:
                live -= size[buffer]
    return Peak(most, at)
