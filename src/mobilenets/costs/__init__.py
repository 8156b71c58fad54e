"""What a network costs, counted from its table: parameters, macs, bytes, peak memory. No torch."""

from mobilenets.costs.budget import Budget, parse_budget
from mobilenets.costs.count import BYTES, Cost, NodeCost, RowCost, Share, cost
from mobilenets.costs.memory import Peak, peak_activation
from mobilenets.costs.sizes import Sizes, sizes, sizes_of

__all__ = [
    "BYTES",
    "Budget",
    "Cost",
    "NodeCost",
    "Peak",
    "RowCost",
    "Share",
    "Sizes",
    "cost",
    "parse_budget",
    "peak_activation",
    "sizes",
    "sizes_of",
]
