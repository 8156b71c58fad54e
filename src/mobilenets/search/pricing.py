"""What a candidate costs: its counted sizes and its predicted latency, from one lowering of its table."""

from __future__ import annotations

from mobilenets.costs import Sizes, cost, sizes_of
from mobilenets.latency.kernels import kernels_of
from mobilenets.latency.table import LatencyTable
from mobilenets.precision import Precision
from mobilenets.table.rows import Network


def priced(network: Network, table: LatencyTable, precision: Precision = "fp32") -> tuple[Sizes, float]:
    """Sizes and predicted milliseconds of a network: what `sizes` and `LatencyTable.predict_ms` say, in one pass.

    Args:
        network: the candidate.
        table: of the device that it is for.
        precision: of its artifact.

    Raises:
        MisuseError: the resolution is too small for a row, or kernels of a kind that the table does not know.
    """
    found = cost(network)
    latency_ms = table.total_ms(network, kernels_of(network, found.graph, found.folded))
    return sizes_of(found, precision), latency_ms
