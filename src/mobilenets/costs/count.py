"""Parameters, macs and bytes of every node: arithmetic on tables, no tensor is made.

Conventions, everywhere in the project:
    macs: one multiply and one add; convolutions and matrix products only, attention's two products among them (queries
        x keys x channels each, over all heads); batch norm counts as folded. Activations, residual adds, gates,
        normalisation of tokens, softmax, resizing and pooling are listed as `elementwise` (one a value, or a value read
        by pooling), never as macs.
    multiplications = macs; additions = (terms per output - 1) x outputs: bias (and folded batch norm) is not counted.
    params: weights, biases, learned tokens and factors, and two values per channel of a batch or layer norm (running
        statistics are not parameters).
    bytes: params x 4, 2 or 1 for fp32, fp16, int8; folding batch norm saves one value per channel more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, assert_never

from mobilenets.costs.memory import Peak, peak_activation
from mobilenets.precision import Precision
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
    Shape,
    Shuffle,
    Softmax,
    SplitHeads,
    WindowPool,
    row_of,
)
from mobilenets.table.rows import Network, Row

BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of one value."""


_Counts = tuple[int, int, int, int, int]
"""Params, weights, macs, additions and elementwise operations of a node, as `NodeCost` names them."""


class NodeCost(NamedTuple):
    """What one node costs; counts, not bytes."""

    node: Node
    params: int
    weights: int
    macs: int
    additions: int
    elementwise: int

    @property
    def name(self) -> str:
        """The node's address."""
        return self.node.name

    @property
    def row(self) -> int:
        """Number of the row (from 1)."""
        return row_of(self.node)

    @property
    def op(self) -> str:
        """Type of the node in the papers' words; see `operator`."""
        return operator(self.node)

    @property
    def output_shape(self) -> Shape:
        """`(c, h, w)`, or `(c,)` where it is flat."""
        return self.node.shape

    @property
    def multiplications(self) -> int:
        """Equal to `macs`."""
        return self.macs

    @property
    def activations(self) -> int:
        """Values in the output."""
        return _size(self.output_shape)


class RowCost(NamedTuple):
    """What one row of the printed table costs: the sum of its nodes.

    `activations` are the values that its convolutions and matrix products write: batch norm is folded into them, and
    non-linearities run where they stand.
    """

    number: int
    row: Row
    input_shape: Shape
    output_shape: Shape
    params: int
    macs: int
    additions: int
    activations: int

    @property
    def multiplications(self) -> int:
        """Equal to `macs`."""
        return self.macs


class Share(NamedTuple):
    """Part of the whole that one type of operator takes, in percent (V1, Table 2: weights without bias or norm)."""

    op: str
    macs_percent: float
    params_percent: float


@dataclass(frozen=True)
class Cost:
    """Cost of a network: `graph` in running order, `counts` of each node, and totals. See the module's conventions."""

    network: Network
    graph: tuple[Node, ...]
    counts: tuple[_Counts, ...]
    params: int
    macs: int
    additions: int
    elementwise: int

    @property
    def multiplications(self) -> int:
        """Equal to `macs`."""
        return self.macs

    @cached_property
    def nodes(self) -> tuple[NodeCost, ...]:
        """What each node costs, in running order."""
        return tuple([NodeCost(node, *counts) for node, counts in zip(self.graph, self.counts, strict=True)])

    @property
    def bn_channels(self) -> int:
        """Channels that pass a batch norm: each holds 2 of `params` and 2 running statistics."""
        return sum([node.shape[0] for node in self.graph if type(node) is BatchNorm])

    def weight_bytes(self, precision: Precision = "fp32") -> int:
        """Bytes of all parameters."""
        return self.params * BYTES[precision]

    @cached_property
    def folded(self) -> dict[str, str]:
        """Norms and factors that fold away, each with what it folds into; see `folded_into`."""
        return folded_into(self.graph)

    @cached_property
    def peak(self) -> Peak:
        """Peak activation memory, elementwise nodes in place where their input dies; see `peak_activation`."""
        return peak_activation(self.graph, self.network, in_place=True, folded=self.folded)

    def peak_activation_bytes(self, precision: Precision = "fp32", *, in_place: bool = True) -> int:
        """Bytes of the activations that are alive together at the worst moment, the input image included."""
        peak = self.peak if in_place else peak_activation(self.graph, self.network, in_place=False)
        return peak.values * BYTES[precision]

    @cached_property
    def rows(self) -> tuple[RowCost, ...]:
        """Costs summed over the rows of the printed table."""
        network = self.network
        shape: Shape = (network.in_channels, network.resolution, network.resolution)
        sums: dict[int, list[NodeCost]] = {}
        for node in self.nodes:
            sums.setdefault(node.row, []).append(node)
        rows = []
        for number, row in enumerate(network.rows, 1):
            nodes = sums.get(number, [])
            out = nodes[-1].output_shape if nodes else shape
            # a row that ends in tokens lets the map flow on as it is; a detector's last row has values of anchors
            out = shape if len(out) == 2 and number < len(network.rows) else out
            rows.append(RowCost(number, row, shape, out, *_totals(nodes)))
            shape = out
        return tuple(rows)

    def shares(self) -> list[Share]:
        """Share of macs and of weights per operator type, largest macs first (V1, Table 2)."""
        macs: dict[str, int] = {}
        weights: dict[str, int] = {}
        for node in self.nodes:
            if node.macs:
                macs[node.op] = macs.get(node.op, 0) + node.macs
                weights[node.op] = weights.get(node.op, 0) + node.weights
        total, total_weights = sum(macs.values()), sum(weights.values())
        ranked = sorted(macs, key=lambda op: -macs[op])
        return [Share(op, 100 * macs[op] / total, 100 * weights[op] / total_weights) for op in ranked]

    def __str__(self) -> str:
        return (
            f"{self.network.label}: {self.params:,} params, {self.macs:,} macs, "
            f"{self.weight_bytes() / 1e6:.2f} MB fp32, "
            f"peak activations {self.peak_activation_bytes() / 1e6:.2f} MB fp32"
        )


def cost(network: Network, *, training: bool = False) -> Cost:
    """Count a network: parameters, macs, additions, shapes, bytes, peak activation memory.

    With `training` as it is trained, where that differs from what is deployed (MobileOne's branches).

    Raises:
        MisuseError: the resolution is too small for a row.
    """
    graph = lower(network, training=training)
    shapes: dict[str, Shape] = {node.name: node.shape for node in graph}
    shapes[INPUT] = (network.in_channels, network.resolution, network.resolution)
    counts = tuple([_count(node, shapes) for node in graph])
    params, _, macs, additions, elementwise = map(sum, zip(*counts, strict=True))
    return Cost(network, graph, counts, params, macs, additions, elementwise)


def _totals(nodes: list[NodeCost]) -> tuple[int, int, int, int]:
    """Params, macs, additions and written activations of some nodes."""
    return (
        sum(n.params for n in nodes),
        sum(n.macs for n in nodes),
        sum(n.additions for n in nodes),
        sum(n.activations for n in nodes if n.macs),
    )


def _size(shape: Shape) -> int:
    return math.prod(shape)


def operator(node: Node) -> str:
    """Type of a node in the papers' words: `conv 3x3`, `depthwise 5x5`, `pointwise`, `linear`..."""
    match node:
        case Convolution(kernel=kernel):
            if node.depthwise:
                return f"depthwise {kernel}x{kernel}"
            return "pointwise" if kernel == 1 else f"conv {kernel}x{kernel}"
        case FullyConnected():
            return "linear"
        case MatrixProduct():
            return "matmul"
        case BatchNorm():
            return "batch norm"
        case Activation():
            return str(node.function)
        case GlobalPool():
            return "global pool"
        case WindowPool():
            return f"{node.mode} pool {node.kernel}x{node.kernel}"
        case Flatten():
            return "flatten"
        case Multiply():
            return "multiply"
        case Add():
            return "add"
        case Concat():
            return "concat"
        case Scale():
            return "layer scale"
        case Shuffle():
            return "channel shuffle"
        case DynamicRelu():
            return "dynamic relu"
        case Parameter():
            return "learned tokens"
        case LayerNorm():
            return "layer norm"
        case Select():
            return "select token"
        case SplitHeads():
            return "split heads"
        case MergeHeads():
            return "merge heads"
        case Softmax():
            return "softmax"
        case Resize():
            return "resize"
        case PerAnchor():
            return "per anchor"
        case _:
            assert_never(node)


def _count(node: Node, shapes: dict[str, Shape]) -> _Counts:
    """Params, weights, macs, additions and elementwise operations: plain, since a search counts thousands of tables."""
    shape = node.shape
    match node:
        case Convolution():
            fan_in = node.in_channels // node.groups * node.kernel * node.kernel
            weights, outputs = shape[0] * fan_in, shape[0] * shape[1] * shape[2]
            params = weights + (shape[0] if node.bias else 0)
            return params, weights, outputs * fan_in, outputs * (fan_in - 1), 0
        case BatchNorm():
            return 2 * shape[0], 0, 0, 0, 0
        case Activation() | Multiply() | Softmax() | DynamicRelu() | Resize():
            return 0, 0, 0, 0, _size(shape)
        case Add():
            return 0, 0, 0, 0, _size(shape) * (len(node.inputs) - 1)
        case FullyConnected():
            out, outputs = shape[-1], _size(shape)
            weights = node.in_features * out
            return weights + out, weights, outputs * node.in_features, outputs * (node.in_features - 1), 0
        case MatrixProduct():
            outputs = _size(shape)
            return 0, 0, outputs * node.inner, outputs * (node.inner - 1), 0
        case LayerNorm():
            return 2 * shape[-1], 0, 0, 0, _size(shape)
        case Scale():
            return shape[0], 0, 0, 0, 0
        case Parameter():
            return _size(shape), 0, 0, 0, 0
        case GlobalPool():
            return 0, 0, 0, 0, _size(shapes[node.inputs[0]])
        case WindowPool():
            return 0, 0, 0, 0, _size(shape) * node.kernel * node.kernel
        case Flatten() | Concat() | Shuffle() | Select() | SplitHeads() | MergeHeads() | PerAnchor():
            return 0, 0, 0, 0, 0
        case _:
            assert_never(node)


__all__ = ["BYTES", "Cost", "NodeCost", "RowCost", "Share", "cost", "operator"]
