"""What is folded away wherever a network is deployed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from mobilenets.table.nodes import BatchNorm, Convolution, FullyConnected, Node, Scale

_LINEAR = (Convolution, FullyConnected)
_FOLDING = (BatchNorm, Scale)


def folded_into(nodes: Sequence[Node]) -> dict[str, str]:
    """Norms and factors by name, each with the convolution or matrix product that it folds into.

    One folds where it is the only reader of such a node, or of one that folds. A batch norm that stands alone, as the
    one before V4's attention, is not among them.
    """
    uses = Counter(chain.from_iterable([node.inputs for node in nodes]))
    linear: dict[str, str] = {}
    folded: dict[str, str] = {}
    for node in nodes:
        name = node.name
        if type(node) in _LINEAR:
            linear[name] = name
        elif type(node) in _FOLDING:
            source = node.inputs[0]
            if source in linear and uses[source] == 1:
                folded[name] = linear[name] = linear[source]
    return folded
