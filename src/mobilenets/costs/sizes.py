"""What a budget may limit of a network, counted from its table."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.costs.count import BYTES, Cost, cost
from mobilenets.precision import Precision
from mobilenets.table.rows import Network

GRAPH_BYTES: dict[Precision, int] = {"fp32": 250, "fp16": 400, "int8": 1000}
"""Of an exported file beyond its weights, per node; measured 180 to 240 in fp32. int8 has nodes beside each."""
CHANNEL_BYTES = 18
"""Of an int8 file per normalised channel: its scale, its zero point, its 32-bit bias."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counted costs of a network, as `Budget` names them.

    Attributes:
        macs: multiply-accumulates.
        params: parameters.
        ram_bytes: peak activation bytes in the artifact's precision.
        file_bytes: expected size of the artifact.
    """

    macs: int
    params: int
    ram_bytes: int
    file_bytes: int


def sizes(network: Network, precision: Precision = "fp32") -> Sizes:
    """Counted costs of a network whose artifact has a precision."""
    return sizes_of(cost(network), precision)


def sizes_of(counted: Cost, precision: Precision = "fp32") -> Sizes:
    """Counted costs of a network that is counted already."""
    folded = counted.params - counted.bn_channels  # batch norm's two values become one bias
    channels = CHANNEL_BYTES * counted.bn_channels if precision == "int8" else 0
    return Sizes(
        counted.macs,
        counted.params,
        counted.peak_activation_bytes("int8" if precision == "int8" else "fp32"),  # fp16 files compute in fp32
        BYTES[precision] * folded + channels + GRAPH_BYTES[precision] * len(counted.graph),
    )
