"""Latency of a device: measured, and predicted from a per-node table."""

from __future__ import annotations

from pathlib import Path

from mobilenets.files import cache_folder
from mobilenets.latency.artifacts import build_set
from mobilenets.latency.building import build_table, table_for
from mobilenets.latency.cache import write_table
from mobilenets.latency.devices import Device, device
from mobilenets.latency.measure import Latency, time_artifact, time_networks, time_session
from mobilenets.latency.sensors import processor
from mobilenets.latency.table import LatencyTable, TableError
from mobilenets.table.rows import Network

__all__ = [
    "Device",
    "Latency",
    "LatencyTable",
    "TableError",
    "benchmark",
    "build_set",
    "build_table",
    "cache_folder",
    "device",
    "processor",
    "table_for",
    "time_artifact",
    "time_networks",
    "time_session",
    "write_table",
]


def benchmark(
    model: str | Path | Network, *, threads: int = 1, seconds: float = 2.0, device: str | Device = "local"
) -> Latency:
    """Latency of one image: an exported file, or a network (exported with random weights).

    Args:
        model: the file or the network.
        threads: threads inside an operator.
        seconds: how long to time it.
        device: `local`, `ssh:user@host[:port]`, `adb[:serial]`, `browser[:webgpu]`.

    Raises:
        MisuseError: no such file or device, or a file that the device does not run.
        DeviceError: the device cannot be reached, or cannot run it.
    """
    from mobilenets.latency.devices import device as device_of

    where = device_of(device) if isinstance(device, str) else device
    if isinstance(model, Network):
        return time_networks(where, [model], threads=threads, runs=1_000_000, limit_s=seconds)[0]
    return time_artifact(where, model, threads=threads, seconds=seconds)
