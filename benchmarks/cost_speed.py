"""How fast networks are counted: each as printed, and a sweep of scaled variants on one core."""

from __future__ import annotations

import itertools
import time
from functools import partial

from benchmarks.tables import print_table, spread, times_ms
from mobilenets.costs import Peak, cost
from mobilenets.table import Network, scale
from mobilenets.zoo import INDEX

NAME = "cost"
RUNS = 50
VARIANTS = 10_000
SWEEP_BAR_S = 10


def run() -> None:
    """Print the time to lower and count a network, peak memory included."""
    rows = []
    for name, net in INDEX.items():
        taken = times_ms(partial(_count, net), RUNS)
        rows.append((name, *spread(taken), str(len(cost(net).nodes))))
    print_table("cost(network).peak, ms", ("network", "median", "best", "middle half", "n", "nodes"), rows)
    seconds = sweep()
    print(
        f"  {VARIANTS:,} variants of V3 (width x resolution), scaled, counted, peak memory: {seconds:.2f} s, one core "
        f"({seconds / VARIANTS * 1e3:.3f} ms each; bar {SWEEP_BAR_S} s)"
    )


def sweep() -> float:
    """Seconds that 10,000 scaled variants of V3-Large and V3-Small take."""
    widths = [0.25 + 0.0125 * i for i in range(100)]
    resolutions = [96 + 4 * i for i in range(50)]
    networks = [INDEX["mobilenet_v3_large"], INDEX["mobilenet_v3_small"]]
    start = time.perf_counter()
    for net, width, resolution in itertools.product(networks, widths, resolutions):
        _count(scale(net, width, resolution))
    return time.perf_counter() - start


def _count(net: Network) -> Peak:
    return cost(net).peak  # the one count that is put off until it is asked for
