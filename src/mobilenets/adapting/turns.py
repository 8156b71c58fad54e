"""A step's networks timed by turns with the start, each once."""

from __future__ import annotations

from collections.abc import Sequence

from mobilenets.search.timing import LOADED, TURNS_S, Clock, Costs
from mobilenets.table import Network

MOST = LOADED - 1
"""Proposals that are timed together with the network before them."""


class Turns:
    """What was timed last is not timed again: the proposal that is kept is one of those.

    Args:
        start: that all latencies are parts of.
        start_ms: its latency.
        clock: how networks are timed.
        costs: what a latency is of the budget.
    """

    def __init__(self, start: Network, start_ms: float, clock: Clock, costs: Costs) -> None:
        self.start, self.start_ms, self.clock, self.costs = start, start_ms, clock, costs
        self._last: dict[Network, tuple[float, int]] = {}

    def most(self, seconds: float) -> int:
        """Proposals that there is time to time, beside the network before them and the start."""
        return max(0, min(MOST, int(seconds / TURNS_S) - 2))

    def loads(self, networks: Sequence[Network]) -> list[float]:
        """Costs over budget by measurement."""
        pairs = zip(networks, self.ratios(networks), strict=True)
        return [self.costs.measured(network, ratio * self.start_ms, size)[1] for network, (ratio, size) in pairs]

    def ratios(self, networks: Sequence[Network]) -> list[tuple[float, int]]:
        """(latency as part of the start's, bytes of the file) of each."""
        if any(network not in self._last for network in networks):
            self._last = dict(zip(networks, self.clock.ratios(self.start, networks), strict=True))
        return [self._last[network] for network in networks]
