"""What a device runs as one piece: the kernels of a deployed network."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple, assert_never

from mobilenets.table.folding import folded_into
from mobilenets.table.lower import lower
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Convolution,
    DynamicRelu,
    Flatten,
    FullyConnected,
    GlobalPool,
    LayerNorm,
    MatrixProduct,
    MergeHeads,
    Multiply,
    Node,
    Parameter,
    PerAnchor,
    Resize,
    Scale,
    Select,
    Shuffle,
    Softmax,
    SplitHeads,
    WindowPool,
)
from mobilenets.table.rows import Network


class Kernel(NamedTuple):
    """What the device runs as one piece; the key of a table entry. Sizes are those that decide its time."""

    kind: str
    in_channels: int
    out_channels: int
    size: int
    stride: int

    @property
    def key(self) -> str:
        """Key in the table's file."""
        return f"{self.kind} {self.in_channels} {self.out_channels} {self.size} {self.stride}"

    @property
    def window(self) -> int:
        """Height and width of what it slides over the map: 3 of `conv3`; 1 where it slides nothing."""
        return split_kind(self.kind)[1]


@lru_cache(maxsize=1024)
def split_kind(kind: str) -> tuple[str, int]:
    """A kind without its window, and the window: (`conv`, 3) of `conv3`; (`pool`, 1) where it slides nothing."""
    return kind.rstrip("0123456789"), int(re.sub(r"\D", "", kind) or 1)


def kernels(network: Network) -> dict[str, Kernel]:
    """Deployed kernels of a network by the name of the node that starts each; activations belong to the node before."""
    nodes = lower(network)
    return kernels_of(network, nodes, folded_into(nodes))


def kernels_of(network: Network, nodes: Sequence[Node], folded: Collection[str]) -> dict[str, Kernel]:
    """Deployed kernels of a network that is lowered already; `folded` names what `folded_into` finds."""
    found = {"preprocess": Kernel("preprocess", network.in_channels, network.in_channels, network.resolution, 1)}
    heights = {INPUT: network.resolution}
    for node in nodes:
        name, shape = node.name, node.shape
        if name not in folded:
            kernel = _kernel(node, heights[node.inputs[0]] if node.inputs else 1)
            if kernel is not None:
                found[name] = kernel
        heights[name] = shape[-1] if len(shape) > 1 else 1
    return found | _answer(network, nodes[-1])


def _answer(network: Network, logits: Node) -> dict[str, Kernel]:
    """What makes scores of the logits, in the last row; a classifier's softmax is too short to tell."""
    name = f"row{len(network.rows):02d}.answer"
    match network.task:
        case "classify":
            return {}
        case "detect":
            anchors, classes = logits.shape
            return {name: Kernel("sigmoids", classes, classes, anchors, 1)}
        case "segment":
            return {name: Kernel("pixels", network.classes, network.classes, network.resolution, 1)}
        case task:
            assert_never(task)


def _kernel(node: Node, entering: int) -> Kernel | None:
    """The kernel that a node starts; `entering` is the height of its input, which a pooling reads."""
    size = node.shape[-1] if len(node.shape) > 1 else 1
    match node:
        case Convolution():
            if node.groups == 1:
                # on 1x1 features it is a matrix times a vector, bound by reading the weights: another law
                kind = "vector" if size == entering == 1 else f"conv{node.kernel}"
                return Kernel(kind, node.in_channels, node.shape[0], size, node.stride)
            if node.depthwise:
                return Kernel(f"depthwise{node.kernel}", node.shape[0] // node.groups, node.shape[0], size, node.stride)
            return Kernel(f"grouped{node.kernel}", node.in_channels // node.groups, node.shape[0], size, node.stride)
        case Activation() | Flatten() | Select() | SplitHeads() | MergeHeads() | Parameter():
            return None  # fused with, a view of, or a constant beside the node before
        case FullyConnected():
            tokens = math.prod(node.shape[:-1])
            return Kernel("linear" if tokens == 1 else "tokens", node.in_features, node.shape[-1], tokens, 1)
        case MatrixProduct():
            # both sides' lengths decide, and how many heads there are
            return Kernel(f"matmul_{node.transposed}", node.inner, node.shape[-1], node.shape[0] * node.shape[1], 1)
        case GlobalPool():
            return Kernel("pool", node.shape[0], node.shape[0], entering, 1)
        case WindowPool():
            return Kernel(f"{node.mode}{node.kernel}", node.shape[0], node.shape[0], size, node.stride)
        case Multiply():
            return Kernel("multiply", node.shape[0], node.shape[0], size, 1)
        case Add():
            return Kernel("add", node.shape[0], node.shape[0], size, 1)
        case Concat() if len(node.shape) == 2:
            return Kernel("join", node.shape[1], node.shape[1], node.shape[0], 1)
        case Concat():
            return Kernel("concat", node.shape[0], node.shape[0], size, 1)
        case BatchNorm() | Scale():
            return Kernel("norm", node.shape[0], node.shape[0], size, 1)
        case Softmax() | LayerNorm() | DynamicRelu() | Shuffle():
            name = type(node).__name__.lower()
            return Kernel(name, node.shape[0], node.shape[0], max(1, math.prod(node.shape[1:])), 1)
        case Resize():
            return Kernel("resize", node.shape[0], node.shape[0], size, 1)
        case PerAnchor():
            return Kernel("per_anchor", node.shape[1], node.shape[1], node.shape[0], 1)
        case _:
            assert_never(node)
