"""The per-node latency table of one device: read to predict any network.

A deployed kernel is a convolution with its batch norm and activation, a pooling, a gate, a residual add or the
classifier. An exact entry answers for a kernel that was seen while the table was built; a law fitted per type of kernel
(log time, quadratic in the logs of its sizes) answers for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError
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


@dataclass(frozen=True, slots=True)
class Kernel:
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


def kernels(network: Network) -> dict[str, Kernel]:
    """Deployed kernels of a network by the name of the node that starts each; activations belong to the node before."""
    found = {"preprocess": Kernel("preprocess", network.in_channels, network.in_channels, network.resolution, 1)}
    heights = {INPUT: network.resolution}
    nodes = lower(network)
    folded = folded_into(nodes)
    for node in nodes:
        kernel = _kernel(node, heights[node.inputs[0]] if node.inputs else 1)
        if kernel is not None and node.name not in folded:
            found[node.name] = kernel
        heights[node.name] = node.shape[-1] if len(node.shape) > 1 else 1
    return found


def _kernel(node: Node, entering: int) -> Kernel | None:
    """The kernel that a node starts; `entering` is the height of its input, which a pooling reads."""
    size = node.shape[-1] if len(node.shape) > 1 else 1
    match node:
        case Convolution():
            if node.depthwise:
                return Kernel(f"depthwise{node.kernel}", node.shape[0] // node.groups, node.shape[0], size, node.stride)
            if node.groups > 1:
                inside = node.in_channels // node.groups
                return Kernel(f"grouped{node.kernel}", inside, node.shape[0], size, node.stride)
            # on 1x1 features it is a matrix times a vector, bound by reading the weights: another law
            kind = "vector" if size == entering == 1 else f"conv{node.kernel}"
            return Kernel(kind, node.in_channels, node.shape[0], size, node.stride)
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
        case Concat():
            return Kernel("concat", node.shape[0], node.shape[0], size, 1)
        case Resize():
            return Kernel("resize", node.shape[0], node.shape[0], size, 1)
        case PerAnchor():
            return Kernel("per_anchor", node.shape[1], node.shape[1], node.shape[0], 1)
        case BatchNorm() | Scale():
            return Kernel("norm", node.shape[0], node.shape[0], size, 1)
        case Softmax() | LayerNorm() | DynamicRelu() | Shuffle():
            name = type(node).__name__.lower()
            return Kernel(name, node.shape[0], node.shape[0], max(1, math.prod(node.shape[1:])), 1)
        case Activation() | Flatten() | Select() | SplitHeads() | MergeHeads() | Parameter():
            return None  # fused with, a view of, or a constant beside the node before
        case _:
            assert_never(node)


_FUSED = {"add", "multiply"}
"""Kinds that a runtime may compute inside the kernel before: a table without them takes them as free."""


@dataclass
class LatencyTable:
    """Entries in milliseconds by kernel key, and the calibration from their sum to a whole run.

    Attributes:
        device: processor, runtime, version and threads that the entries hold for.
        entries: median milliseconds of a kernel inside real networks.
        overhead_ms: time of a run outside its kernels, per kernel.
        factor: whole runs divided by what the entries sum to.
        measured: whole-network medians taken while building, for the report: label -> ms.
    """

    device: str
    entries: dict[str, float]
    overhead_ms: float = 0.0
    factor: float = 1.0
    measured: dict[str, float] = field(default_factory=dict)
    _laws: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def predict_ms(self, network: Network) -> float:
        """Milliseconds for one image: entries where a kernel was seen, the law of its kind where not.

        Raises:
            MisuseError: kernels of a kind that the table has no entry of.
        """
        found = kernels(network)
        known = {key.partition(" ")[0] for key in self.entries}
        if unknown := sorted({kernel.kind for kernel in found.values()} - known - _FUSED):
            raise MisuseError(
                f"{network.label}: the latency table has no kernel like {', '.join(unknown)}; it knows "
                f"{', '.join(sorted(known)) or 'none'}. Measure the network (`benchmark`), or give `build_table` one "
                "that has such kernels."
            )
        total = sum(self._kernel_ms(kernel) for kernel in found.values())
        return max(self.factor * total + self.overhead_ms * len(found), 0.1 * total)

    def _kernel_ms(self, kernel: Kernel) -> float:
        exact = self.entries.get(kernel.key)
        if exact is not None:
            return exact
        if not self._laws:
            self._laws = _fit_laws(self.entries)
        law = self._laws.get(kernel.kind)
        return float(np.exp(_features(kernel) @ law)) if law is not None else 0.0


def _features(kernel: Kernel) -> NDArray[np.float64]:
    """Logs of the sizes, their squares and products. Channels in blocks of 8: what vector units work in."""
    a, b, s = (
        np.log(-(-kernel.in_channels // 8) * 8.0),
        np.log(-(-kernel.out_channels // 8) * 8.0),
        np.log(kernel.size),
    )
    t = np.log(kernel.stride)
    # packed layouts want multiples of 4: others, as V1's unrounded channels, take a route that is several times slower
    odd_in, odd_out = (float(channels % 4 != 0) for channels in (kernel.in_channels, kernel.out_channels))
    return np.array([1.0, a, b, s, t, a * a, b * b, s * s, a * b, a * s, b * s, odd_in, odd_out])


def _fit_laws(entries: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
    """One ridge regression of log milliseconds per kind of kernel."""
    groups: dict[str, list[tuple[NDArray[np.float64], float]]] = {}
    for key, milliseconds in entries.items():
        kind, *sizes = key.split()
        kernel = Kernel(kind, *(int(v) for v in sizes))
        groups.setdefault(kind, []).append((_features(kernel), float(np.log(max(milliseconds, 1e-4)))))
    laws = {}
    for kind, samples in groups.items():
        x = np.stack([features for features, _ in samples])
        y = np.array([value for _, value in samples])
        ridge = 1e-2 * np.eye(x.shape[1])
        ridge[0, 0] = 1e-8
        laws[kind] = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    return laws
