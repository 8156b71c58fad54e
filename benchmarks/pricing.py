"""How fast a search prices candidates that it never saw: counted sizes and predicted latency in one pass."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from benchmarks.tables import print_table, spread
from mobilenets.latency import LatencyTable
from mobilenets.latency.kernels import kernels
from mobilenets.latency.laws import PRIOR
from mobilenets.search import priced
from mobilenets.table import Network, scale
from mobilenets.table.rows import Bottleneck
from mobilenets.zoo import network

NAME = "pricing"
VARIANTS = 1000
BARS_MS = {"mobilenet_v3_large": 1.0, "ssdlite_mobilenet_v3_large": 1.0, "lraspp_mobilenet_v3_large": 1.0}


def run() -> None:
    """Print the time to price each of 1,000 random variants once, every kernel by the laws."""
    rows = []
    for name, bar_ms in BARS_MS.items():
        taken = prices_ms(network(name))
        rows.append((name, *spread(taken), f"{taken[VARIANTS * 9 // 10]:.2f}", f"{bar_ms:g}"))
    print_table(
        "priced(network, table), ms: random widths, resolutions and expansions, each priced once",
        ("network", "median", "best", "middle half", "n", "90th percentile", "bar of the median"),
        rows,
    )


def prices_ms(base: Network) -> list[float]:
    """Milliseconds that each variant took, sorted. The table starts without entries and keeps what it is asked."""
    draws = random.Random(0)
    networks = [variant(base, draws) for _ in range(VARIANTS)]
    table = invented_table(networks, draws)
    taken = []
    for candidate in networks:
        start = time.perf_counter()
        priced(candidate, table)
        taken.append((time.perf_counter() - start) * 1e3)
    return sorted(taken)


def variant(base: Network, draws: random.Random) -> Network:
    """Another width and resolution, and another expansion in each bottleneck."""
    smallest = 192 if base.backbone else 96
    scaled = scale(base, draws.randrange(50, 126) / 100, draws.randrange(smallest, 2 * smallest, 16))
    rows = tuple(_expanded(row, draws) if isinstance(row, Bottleneck) else row for row in scaled.rows)
    return replace(scaled, rows=rows)


def _expanded(row: Bottleneck, draws: random.Random) -> Bottleneck:
    return replace(row, expand=8 * draws.randint(row.expand // 16 + 1, row.expand // 7))


def invented_table(candidates: list[Network], draws: random.Random) -> LatencyTable:
    """A table of invented laws for the kinds of kernels in some networks: what it says takes as long as the truth."""
    kinds = {kernel.kind for candidate in candidates for kernel in kernels(candidate).values()}
    laws = {kind: tuple(draws.gauss(0, 0.3 * deviation) for deviation in PRIOR) for kind in sorted(kinds)}
    return LatencyTable("none", "none", 1, "fp32", {}, 1.0, laws, {})
