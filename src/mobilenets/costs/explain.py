"""The arithmetic of standard, depthwise, pointwise and separable convolution (V1, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from mobilenets.errors import MisuseError
from mobilenets.table.lower import lower
from mobilenets.table.nodes import Convolution, row_of
from mobilenets.table.rows import Network

LIMIT = 65536
"""Largest size, channels and filters that are accepted: beyond it a slip of the keyboard is likelier than a layer."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution in V1's symbols.

    Attributes:
        kernel: D_K, height and width of the kernel.
        channels: M, input channels.
        filters: N, output channels.
        size: D_F, height and width of the *output* (the paper's stride is 1 and its padding keeps the size).
        name: where the layer stands; empty for one made of numbers.
    """

    kernel: int
    channels: int
    filters: int
    size: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to compute the layer: the mult-adds' formula, in symbols and in numbers, and the counts.

    No bias and no batch norm is counted: `additions` = (terms per output - 1) x outputs.
    """

    name: str
    formula: str
    numbers: str
    multiplications: int
    additions: int
    params: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """The four kinds, and what the separable one costs as a part of the standard one."""

    layer: Layer
    kinds: tuple[Kind, Kind, Kind, Kind]

    @property
    def ratio(self) -> Fraction:
        """1/N + 1/D_K^2, what V1's equation (5) says."""
        return Fraction(1, self.layer.filters) + Fraction(1, self.layer.kernel**2)

    @property
    def measured(self) -> Fraction:
        """Multiplications counted, separable over standard: equal to `ratio`."""
        standard, *_, separable = self.kinds
        return Fraction(separable.multiplications, standard.multiplications)


def explain(layer: Layer) -> Explanation:
    """Count a layer as a standard, a depthwise, a pointwise and a separable convolution."""
    k, m, n, f = layer.kernel, layer.channels, layer.filters, layer.size
    depthwise = _kind("depthwise", "D_K D_K M D_F D_F", (k, k, m, f, f), outputs=m * f * f, params=k * k * m)
    pointwise = _kind("pointwise", "M N D_F D_F", (m, n, f, f), outputs=n * f * f, params=m * n)
    return Explanation(
        layer,
        (
            _kind("standard", "D_K D_K M N D_F D_F", (k, k, m, n, f, f), outputs=n * f * f, params=k * k * m * n),
            depthwise,
            pointwise,
            _sum("separable", depthwise, pointwise),
        ),
    )


def _kind(name: str, symbols: str, factors: tuple[int, ...], *, outputs: int, params: int) -> Kind:
    multiplications = 1
    for factor in factors:
        multiplications *= factor
    formula, numbers = symbols.replace(" ", " x "), " x ".join(map(str, factors))
    return Kind(name, formula, numbers, multiplications, multiplications - outputs, params)


def _sum(name: str, first: Kind, second: Kind) -> Kind:
    return Kind(
        name,
        f"{first.formula} + {second.formula}",
        f"{first.numbers} + {second.numbers}",
        first.multiplications + second.multiplications,
        first.additions + second.additions,
        first.params + second.params,
    )


def layer_of_numbers(
    size: int, channels: int, kernel: int, filters: int, stride: int, padding: Literal["valid", "symmetric"]
) -> Layer:
    """A layer from its sizes; `size` is the input's.

    Raises:
        MisuseError: a number that is not positive, or a kernel that does not fit the input.
    """
    given = {"size": size, "channels": channels, "kernel": kernel, "filters": filters, "stride": stride}
    for name, value in given.items():
        if not 1 <= value <= LIMIT:
            raise MisuseError(f"`{name}` (={value}) must be between 1 and {LIMIT}.")
    if padding == "symmetric" and kernel % 2 == 0:
        raise MisuseError(f"`kernel` (={kernel}) must be odd to be padded on both sides alike; or use padding valid.")
    padded = size + (kernel - 1 if padding == "symmetric" else 0)
    if kernel > padded:
        raise MisuseError(
            f"`kernel` (={kernel}) does not fit an input of {size}x{size} pixels without padding: "
            "make it smaller, or use padding symmetric."
        )
    return Layer(kernel, channels, filters, (padded - kernel) // stride + 1)


def layer_of_network(network: Network, number: int) -> Layer:
    """The depthwise and the pointwise convolution of one row of a table, as one layer.

    Raises:
        MisuseError: no such row, or one that has no depthwise convolution.
    """
    nodes = lower(network)
    usable = [row_of(node) for node in nodes if node.name.endswith(".depthwise.conv")]
    if not usable:
        raise MisuseError(f"network {network.name!r} has no separable convolution: choose a MobileNet.")
    if number not in usable:
        rows = ", ".join(map(str, usable))
        raise MisuseError(f"row {number} of {network.name} is not a separable convolution. These are: {rows}.")
    convolutions = [n for n in nodes if isinstance(n, Convolution) and row_of(n) == number]
    depthwise = next(n for n in convolutions if n.name.endswith(".depthwise.conv"))
    pointwise = convolutions[-1]
    return Layer(
        depthwise.kernel, depthwise.in_channels, pointwise.out_channels, depthwise.shape[1],
        name=f"{network.label}, row {number}: {depthwise.name} and {pointwise.name}",
    )  # fmt: skip
