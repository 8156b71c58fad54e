"""Nodes: what a machine runs. One frozen type per primitive, each with its inputs and its output shape.

They are named tuples, which are made four times as fast as frozen dataclasses: a search makes hundreds a candidate.

A node's name is its address, `row04.depthwise.conv`: state-dict key, feature tap, latency-table key, export name.
Shapes leave the batch out: `(c, h, w)`, or `(c,)` after flattening.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from mobilenets.table.rows import Act

Shape = tuple[int, ...]
INPUT = "input"
"""Name of the value that enters the network."""


class Convolution(NamedTuple):
    """Convolution. `pads` are top, left, bottom, right, in pixels (ONNX order)."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    in_channels: int
    kernel: int
    stride: int
    dilation: int
    groups: int
    pads: tuple[int, int, int, int]
    bias: bool

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.shape[0]

    @property
    def depthwise(self) -> bool:
        """One filter per input channel."""
        return self.groups > 1 and self.groups == self.in_channels


class BatchNorm(NamedTuple):
    """Batch normalisation over channels; folded into the convolution before it wherever the network is deployed."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    eps: float
    momentum: float


class Activation(NamedTuple):
    """Elementwise non-linearity."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    function: Act


class GlobalPool(NamedTuple):
    """Mean over height and width, kept as 1 x 1."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class WindowPool(NamedTuple):
    """Windowed maximum or mean; `pads` as in `Convolution` (a mean never counts padding)."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    mode: Literal["max", "mean"]
    kernel: int
    stride: int
    pads: tuple[int, int, int, int]
    ceil: bool


class Flatten(NamedTuple):
    """(c, h, w) to (c * h * w,)."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class FullyConnected(NamedTuple):
    """Matrix product with bias over the last axis: of a flat input, or of every token."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    in_features: int


class Multiply(NamedTuple):
    """Elementwise product; the second input is broadcast over height and width."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class Add(NamedTuple):
    """Elementwise sum of two values or more: the residual, or parallel branches."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class Concat(NamedTuple):
    """Joined along channels."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class Scale(NamedTuple):
    """Product with a learned factor per channel, `initial` at the start; folded into the convolution before it."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    initial: float


class Shuffle(NamedTuple):
    """Channels of `groups` groups interleaved: channel (group, i) becomes (i, group)."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    groups: int


class DynamicRelu(NamedTuple):
    """max(x a1, x a2) per channel; the second input is a1 and a2 behind a gate, of (2 c,) in [0, 1].

    a1 = 2 v, a2 = 2 v - 1, so that the middle of the gate is a plain ReLU (arXiv 2003.10027, section 3.2).
    """

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class Parameter(NamedTuple):
    """A learned value that no input enters; its batch is 1 and broadcasts."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class LayerNorm(NamedTuple):
    """Normalisation over the last axis, with a learned scale and shift."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    eps: float


class Select(NamedTuple):
    """One token of (tokens, d): (d,)."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    token: int


class SplitHeads(NamedTuple):
    """Channels in heads, (heads, c / heads, length): of a map (c, h, w) with length h w, or of tokens (length, c)."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class MergeHeads(NamedTuple):
    """Back from heads (heads, c / heads, length) to tokens (length, c), or to a map (c, h, w).

    The second input of a map is one of the same height and width: training changes them.
    """

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class MatrixProduct(NamedTuple):
    """Product of two values over their last two axes, times `factor`; `inner` is the length that is summed.

    One of the two is transposed: the first, a^T b, for attention's scores, or the second, a b^T, for what they weigh.
    A second input with one head serves all heads of the first (multi-query).
    """

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    inner: int
    transposed: Literal["first", "second"]
    factor: float


class Softmax(NamedTuple):
    """Softmax over the last axis."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


class Resize(NamedTuple):
    """Bilinear to the height and width of the second input, of which nothing else is read.

    `align` puts the centres of the corner pixels on one another; without it the corners themselves.
    """

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    align: bool


class PerAnchor(NamedTuple):
    """A map (a k, h, w) as k values for each of a anchors at each place: (h w a, k)."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


Node = (
    Convolution
    | BatchNorm
    | Activation
    | Add
    | Multiply
    | GlobalPool
    | WindowPool
    | Flatten
    | FullyConnected
    | Concat
    | Scale
    | Shuffle
    | DynamicRelu
    | Parameter
    | LayerNorm
    | Select
    | SplitHeads
    | MergeHeads
    | MatrixProduct
    | Softmax
    | Resize
    | PerAnchor
)


def predictors(nodes: Sequence[Node], *ends: str) -> list[str]:
    """Kernels that give a network's answers: those before its outputs with nothing but joins and resizing between.

    Args:
        nodes: of a network, in order.
        ends: outputs to look at; all where none is named.
    """
    by_name = {node.name: node for node in nodes}
    waiting, found = list(ends or (node.name for node in outputs(nodes))), []
    while waiting:
        node = by_name.get(waiting.pop())
        if isinstance(node, Convolution | FullyConnected):
            found.append(node.name)
        elif isinstance(node, Resize | Add | Concat | PerAnchor | Flatten):
            waiting += node.inputs[:1] if isinstance(node, Resize) else node.inputs
    return found


def outputs(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes that no other reads: logits, or a detector's `boxes` and `classes`."""
    read = {name for node in nodes for name in node.inputs}
    return tuple(node for node in nodes if node.name not in read)


def row_of(node: Node) -> int:
    """Number of the row (from 1) that a node belongs to."""
    return int(node.name[3 : node.name.index(".")])
