"""Peak activation memory by liveness: which values must be alive together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from itertools import chain
from typing import NamedTuple

from mobilenets.table.folding import folded_into
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    DynamicRelu,
    Flatten,
    MergeHeads,
    Multiply,
    Node,
    Resize,
    Scale,
    Select,
    Softmax,
    SplitHeads,
    outputs,
)
from mobilenets.table.rows import Network

_VIEWS = frozenset((Flatten, Select, SplitHeads, MergeHeads))
_ELEMENTWISE = frozenset((Activation, Add, Multiply, BatchNorm, Scale, Softmax, DynamicRelu))


class Peak(NamedTuple):
    """The worst moment: `values` alive (not bytes) while node `at` runs."""

    values: int
    at: str


def peak_activation(
    nodes: tuple[Node, ...], network: Network, *, in_place: bool = True, folded: Collection[str] | None = None
) -> Peak:
    """Largest number of activation values alive at once when the nodes run in order.

    The input image is one of them; learned tokens are weights, not activations. Batch norm and layer scale are folded
    into the convolution before them; flattening and splitting into heads are views: none has a buffer of its own. With
    `in_place`, an activation, a gate, a softmax or a residual add writes over its first input where nothing else needs
    that input any more. What a kernel allocates inside (im2col and the like) is not counted. `folded` names what
    `folded_into` finds, where that is known already.
    """
    # of what a value is resized to, the size is read and no value
    reads = [node.inputs[:1] if type(node) is Resize else node.inputs for node in nodes]
    uses = Counter(chain.from_iterable(reads))
    uses.update(node.name for node in outputs(nodes))  # they are read after the last node
    folded = folded_into(nodes) if folded is None else folded
    buffer_of = {INPUT: INPUT}
    size = {INPUT: network.in_channels * network.resolution**2}
    waiting = {INPUT: uses[INPUT]}
    live = most = size[INPUT]
    at = nodes[0].name
    for node, inputs in zip(nodes, reads, strict=True):
        name = node.name
        first = buffer_of[inputs[0]] if inputs else ""
        kind = type(node)
        if name in folded or kind in _VIEWS or (in_place and kind in _ELEMENTWISE and waiting[first] == 1):
            buffer_of[name] = first
            waiting[first] += uses[name]
        else:
            buffer_of[name] = name
            size[name] = values = math.prod(node.shape) if inputs else 0
            waiting[name] = uses[name]
            live += values
            if live > most:
                most, at = live, name
        for source in inputs:
            buffer = buffer_of[source]
            waiting[buffer] -= 1
            if not waiting[buffer]:
                live -= size[buffer]
    return Peak(most, at)
