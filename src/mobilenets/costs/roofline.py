"""Roofline: how fast each deployed kernel could run by a machine's ceilings, and which ceiling holds it.

A kernel is a convolution or matrix product with the norm that folds into it and the activation that follows, or an
elementwise node or pooling of its own. Arithmetic: two operations a mac, one an elementwise value. Bytes: weights,
inputs and outputs once each, fp32 (the image as uint8). Intensity: operations a byte. Attainable time: the longer of
operations at the compute ceiling and bytes at the memory ceiling; `cached_ms` takes a cache's in place of the second,
and a real kernel lies between the two where some of its values are still in one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mobilenets.costs.count import BYTES, Cost, NodeCost
from mobilenets.table.folding import folded_into
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Convolution,
    Flatten,
    FullyConnected,
    MergeHeads,
    Node,
    Parameter,
    Select,
    Shape,
    SplitHeads,
)

PREPROCESS = "preprocess"
"""The kernel that scales the image."""

Bound = Literal["compute", "memory"]
Kind = Literal["conv", "depthwise", "pointwise", "linear", "attention", "elementwise"]
"""What a kernel mostly is; `linear` holds 1x1 convolutions of 1x1 maps too, `elementwise` pooling and adds."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What a machine can do at most, measured.

    Attributes:
        gflops: 10^9 float32 operations a second, in a large matrix product.
        memory_gbs: 10^9 bytes a second, read and written, in arrays beyond the caches.
        cache_gbs: the same in arrays of some hundred kilobytes.
        threads: that did it.
        device: the processor.
        runtime: what ran it.
    """

    gflops: float
    memory_gbs: float
    cache_gbs: float
    threads: int
    device: str
    runtime: str


@dataclass(frozen=True, slots=True)
class Piece:
    """One kernel under the roof.

    Attributes:
        name: of the node that starts it.
        op: of that node, in the papers' words.
        kind: what it mostly is.
        macs: multiply-accumulates.
        operations: two a mac, one an elementwise value.
        bytes: moved: weights, inputs and outputs.
        attainable_ms: by the ceilings of compute and memory.
        cached_ms: by those of compute and cache.
        bound: the ceiling that holds it.
        share: of the network's attainable time.
        measured_ms: inside the network, on the machine of the ceilings; None where it was not seen on its own.
    """

    name: str
    op: str
    kind: Kind
    macs: int
    operations: int
    bytes: int
    attainable_ms: float
    cached_ms: float
    bound: Bound
    share: float
    measured_ms: float | None = None

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.operations / self.bytes

    @property
    def attainable_gflops(self) -> float:
        """By the ceilings, 10^9 operations a second."""
        return self.operations / self.attainable_ms / 1e6

    @property
    def measured_gflops(self) -> float | None:
        """As measured."""
        return self.operations / self.measured_ms / 1e6 if self.measured_ms else None


@dataclass(frozen=True, slots=True)
class Roofline:
    """A network under a machine's roof.

    Attributes:
        network: its label.
        ceilings: of the machine.
        pieces: in running order.
        measured_ms: of a whole run, or None.
    """

    network: str
    ceilings: Ceilings
    pieces: tuple[Piece, ...]
    measured_ms: float | None = None

    @property
    def attainable_ms(self) -> float:
        """Sum over the kernels, all bytes from memory."""
        return sum(piece.attainable_ms for piece in self.pieces)

    @property
    def cached_ms(self) -> float:
        """Sum over the kernels, all bytes from a cache."""
        return sum(piece.cached_ms for piece in self.pieces)

    @property
    def kernels_ms(self) -> float:
        """Sum of the measured times of the kernels."""
        return sum(piece.measured_ms or 0.0 for piece in self.pieces)

    @property
    def agrees(self) -> bool:
        """Whether the kernels add up to the whole run, about: else another program had the processor in one of them."""
        return self.measured_ms is None or 0.7 < self.kernels_ms / self.measured_ms < 1.4

    def bound_share(self, bound: Bound) -> float:
        """Part of the attainable time in kernels that a ceiling holds."""
        return sum(piece.share for piece in self.pieces if piece.bound == bound)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, keys with units."""
        return {
            "network": self.network,
            "ceilings": asdict(self.ceilings),
            "attainable_ms": self.attainable_ms,
            "cached_ms": self.cached_ms,
            "kernels_ms": self.kernels_ms,
            "measured_ms": self.measured_ms,
            "agrees": self.agrees,
            "compute_bound_share": self.bound_share("compute"),
            "memory_bound_share": self.bound_share("memory"),
            "kernels": [asdict(piece) | {"intensity": piece.intensity} for piece in self.pieces],
        }


def roofline(
    counted: Cost,
    ceilings: Ceilings,
    measured_ms: Mapping[str, float] | None = None,
    whole_ms: float | None = None,
) -> Roofline:
    """Attainable time of every kernel of a network, and what holds it.

    Args:
        counted: the network's cost.
        ceilings: of the machine.
        measured_ms: kernel name -> milliseconds on that machine, where they were measured.
        whole_ms: of a whole run on that machine.
    """
    found = {} if measured_ms is None else measured_ms
    loads = _loads(counted)
    times = {name: _attainable(load, ceilings) for name, load in loads.items()}
    total = sum(attainable for attainable, _, _ in times.values())
    pieces = tuple(
        Piece(
            name, load.op, load.kind, load.macs, load.operations, load.bytes,
            times[name][0], times[name][1], times[name][2], times[name][0] / total, found.get(name) or None,
        )
        for name, load in loads.items()
    )  # fmt: skip
    return Roofline(counted.network.label, ceilings, pieces, whole_ms)


@dataclass
class _Load:
    """What a kernel has to do."""

    op: str
    kind: Kind
    macs: int
    operations: int
    bytes: int


def _attainable(load: _Load, ceilings: Ceilings) -> tuple[float, float, Bound]:
    """Milliseconds by compute and memory, by compute and cache, and which of the first two holds."""
    computing = load.operations / ceilings.gflops / 1e6
    moving = load.bytes / ceilings.memory_gbs / 1e6
    cached = max(computing, load.bytes / ceilings.cache_gbs / 1e6)
    return max(computing, moving), cached, "compute" if computing > moving else "memory"


def _loads(counted: Cost) -> dict[str, _Load]:
    """Every kernel by the name of the node that starts it, in running order."""
    network, owners = counted.network, kernel_of(counted.graph)
    values = network.in_channels * network.resolution**2
    found = {PREPROCESS: _Load(PREPROCESS, "elementwise", 0, 2 * values, values * (1 + BYTES["fp32"]))}
    shapes: dict[str, Shape] = {INPUT: (network.in_channels, network.resolution, network.resolution)}
    for entry in counted.nodes:
        node = entry.node
        shapes[node.name] = node.shape
        if owners[node.name] != node.name:
            found[owners[node.name]].operations += entry.elementwise  # an activation runs where it stands
            continue
        moved = sum(math.prod(shapes[name]) for name in node.inputs) + math.prod(node.shape) + _weights(entry)
        operations = 2 * entry.macs + entry.elementwise
        found[node.name] = _Load(entry.op, _kind(entry), entry.macs, operations, BYTES["fp32"] * moved)
    return found


def kernel_of(graph: Sequence[Node]) -> dict[str, str]:
    """Node -> the kernel that computes it: itself, or for what is folded, fused or a view that of its first input."""
    folded = folded_into(graph)
    owners = {INPUT: PREPROCESS}
    for node in graph:
        inside = node.name in folded or _is_view(node)
        # a constant that no input enters costs nothing of its own
        owners[node.name] = owners[node.inputs[0] if node.inputs else INPUT] if inside else node.name
    return owners


def _is_view(node: Node) -> bool:
    """Fused with, a view of, or a constant beside the node before."""
    return isinstance(node, Activation | Flatten | Select | SplitHeads | MergeHeads | Parameter)


def _weights(entry: NodeCost) -> int:
    """Values of its own that a kernel reads: weights and, after folding, a bias."""
    if isinstance(entry.node, Convolution | FullyConnected):
        return entry.weights + (entry.node.shape[0] if isinstance(entry.node, Convolution) else entry.node.shape[-1])
    return entry.params


def _kind(entry: NodeCost) -> Kind:
    node = entry.node
    if isinstance(node, Convolution):
        if node.depthwise:
            return "depthwise"
        if node.kernel > 1:
            return "conv"
        return "linear" if _is_vector(node.shape) else "pointwise"
    if isinstance(node, FullyConnected):
        return "linear"
    return "attention" if entry.macs else "elementwise"


def _is_vector(shape: Shape) -> bool:
    return math.prod(shape[1:]) == 1
