"""What a network costs, counted from its table: parameters, macs, bytes, peak memory. No torch."""

from mobilenets.costs.count import BYTES, Cost, NodeCost, RowCost, Share, cost
from mobilenets.costs.memory import Peak, peak_activation

__all__ = [
    "BYTES",
    "Cost",
    "NodeCost",
    "Peak",
    "RowCost",
    "Share",
    "cost",
    "peak_activation",
]
