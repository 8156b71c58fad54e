"""Nodes: what a machine runs. One frozen type per primitive, each with its inputs and its output shape.

A node's name is its address, `row04.depthwise.conv`: state-dict key, feature tap, latency-table key, export name.
Shapes leave the batch out: `(c, h, w)`, or `(c,)` after flattening.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mobilenets.table.rows import Act

Shape = tuple[int, ...]
INPUT = "input"
"""Name of the value that enters the network."""


@dataclass(frozen=True, slots=True)
class Convolution:
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


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalisation over channels; folded into the convolution before it wherever the network is deployed."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    eps: float
    momentum: float


@dataclass(frozen=True, slots=True)
class Activation:
    """Elementwise non-linearity."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    function: Act


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """Mean over height and width, kept as 1 x 1."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class WindowPool:
    """Windowed maximum or mean; `pads` as in `Convolution` (a mean never counts padding)."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    mode: Literal["max", "mean"]
    kernel: int
    stride: int
    pads: tuple[int, int, int, int]
    ceil: bool


@dataclass(frozen=True, slots=True)
class Flatten:
    """(c, h, w) to (c * h * w,)."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class FullyConnected:
    """Matrix product with bias on a flat input."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    in_features: int


@dataclass(frozen=True, slots=True)
class Multiply:
    """Elementwise product; the second input is broadcast over height and width."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Add:
    """Elementwise sum: the residual."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Concat:
    """Joined along channels."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape


Node = (
    Convolution | BatchNorm | Activation | GlobalPool | WindowPool | Flatten | FullyConnected | Multiply | Add | Concat
)


def row_of(node: Node) -> int:
    """Number of the row (from 1) that a node belongs to."""
    return int(node.name[3 : node.name.index(".")])
