"""Latency of a device: measured, and predicted from a per-node table."""

from __future__ import annotations

from pathlib import Path

from mobilenets.files import cache_folder
from mobilenets.latency.cache import write_table
from mobilenets.latency.measure import Latency, processor, time_call, time_network, time_session
from mobilenets.latency.profiling import build_set, build_table, local_table
from mobilenets.latency.table import LatencyTable
from mobilenets.runtime import open_artifact
from mobilenets.table.rows import Network

__all__ = [
    "Latency",
    "LatencyTable",
    "benchmark",
    "build_set",
    "build_table",
    "cache_folder",
    "local_table",
    "processor",
    "time_call",
    "time_network",
    "time_session",
    "write_table",
]


def benchmark(model: str | Path | Network, *, threads: int = 1, runs: int = 100) -> Latency:
    """Latency of one image: an exported file, or a network (exported with random weights).

    Raises:
        MisuseError: no such file, or not an exported one.
    """
    if isinstance(model, Network):
        return time_network(model, threads=threads, runs=runs, limit_s=10.0)
    return time_session(open_artifact(model, threads=threads), runs=runs, limit_s=10.0)
