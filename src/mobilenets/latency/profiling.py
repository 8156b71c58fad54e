"""Building a latency table: the runtime's own profiler times every kernel inside real networks.

There caches and memory layouts are what they will be; kernels timed alone come out too fast.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.files import cache_folder
from mobilenets.latency.cache import device_key, read_table, write_table
from mobilenets.latency.measure import time_session
from mobilenets.latency.table import Kernel, LatencyTable, kernels
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession, raw_session
from mobilenets.table import scale, with_classes
from mobilenets.table.lower import lower
from mobilenets.table.nodes import INPUT
from mobilenets.table.rows import Network
from mobilenets.zoo import FAMILIES, INDEX


def profile(network: Network, *, threads: int, runs: int = 15) -> tuple[dict[str, float], float]:
    """Median milliseconds of each kernel key inside one network, and of a whole unprofiled run."""
    model = to_onnx(
        network, random_weights(network), Preprocessing.default(network.resolution, network.in_channels)
    ).SerializeToString()
    found = kernels(network)
    whole = time_session(OnnxRuntimeSession.open(model, threads=threads), runs=runs, limit_s=1.0).median_ms
    with tempfile.TemporaryDirectory() as folder:
        session = raw_session(model, threads=threads, profile=str(Path(folder) / "profile"))
        size = network.resolution
        image = np.zeros((1, size, size, network.in_channels), np.uint8)
        for _ in range(runs):
            session.run(None, {"image": image})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _by_kernel(events, found, _owners(network, found)), whole


def _by_kernel(
    events: list[dict[str, Any]], found: Mapping[str, Kernel], owners: Mapping[str, str]
) -> dict[str, float]:
    """Kernel key -> milliseconds. What the runtime inserts (layout changes) goes to the kernel that ran before it."""
    per_run: dict[str, list[float]] = {name: [] for name in found}
    current = "preprocess"
    seen: dict[str, float] = {}
    events = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    for event in sorted(events, key=lambda e: e["ts"]):
        name = _node_name(event["name"], owners)
        if name == "preprocess.transpose" and seen:
            _close_run(seen, per_run)
            seen = {}
        current = "preprocess" if name.startswith("preprocess.") else owners.get(name, current)
        seen[current] = seen.get(current, 0.0) + event["dur"] / 1e3
    _close_run(seen, per_run)
    by_key: dict[str, list[float]] = {}
    for name, times in per_run.items():
        # a kernel that never ran was fused with another: free, where one of its like was not
        by_key.setdefault(found[name].key, []).append(float(np.median(times[2:] or times)) if times else 0.0)
    return {key: float(np.mean(values)) for key, values in by_key.items() if any(values)}


def _node_name(event: str, owners: Mapping[str, str]) -> str:
    """The node that an event is of: runtimes append what they fused or how they lay it out, and we what is a part."""
    name = event.removesuffix("_kernel_time").partition("/")[0].removesuffix("_nchwc").removesuffix("_bn")
    while name not in owners and "." in name and not name.startswith("preprocess."):
        name = name.rpartition(".")[0]
    return name


def _owners(network: Network, found: Mapping[str, Kernel]) -> dict[str, str]:
    """Node name -> the kernel that computes it: itself, or for what is folded or fused that of its first input."""
    owners = {INPUT: "preprocess"}
    for node in lower(network):
        # a constant that no input enters costs nothing of its own
        owners[node.name] = node.name if node.name in found else owners[node.inputs[0] if node.inputs else INPUT]
    return owners


def _close_run(seen: Mapping[str, float], per_run: dict[str, list[float]]) -> None:
    for name, milliseconds in seen.items():
        per_run[name].append(milliseconds)


def build_set() -> list[Network]:
    """The networks that a table is built from: every family, each width and resolution several times."""
    families = [INDEX[name] for name in FAMILIES]
    widths, resolutions = (0.25, 0.35, 0.5, 0.75, 1.0, 1.25), (96, 128, 160, 192, 224)
    networks = []
    for i, family in enumerate(families):
        # diagonals through the grid, shifted from family to family: each family at every width and every resolution
        for j in range(len(widths)):
            width = widths[(i + j) % len(widths)]
            resolution = resolutions[(2 * i + 3 * j) % len(resolutions)]
            networks.append(with_classes(scale(family, width, resolution), (10, 1000, 100, 2)[(i + j) % 4]))
    return networks


def build_table(
    networks: Iterable[Network] | None = None,
    *,
    threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> LatencyTable:
    """Profile networks on this machine and calibrate: about a third of a second each."""
    chosen = build_set() if networks is None else list(networks)
    samples: dict[str, list[float]] = {}
    sums: list[tuple[float, int, float]] = []
    measured: dict[str, float] = {}
    for i, network in enumerate(chosen):
        times, whole = profile(network, threads=threads)
        for key, milliseconds in times.items():
            samples.setdefault(key, []).append(milliseconds)
        found = kernels(network)
        sums.append((sum(times.get(kernel.key, 0.0) for kernel in found.values()), len(found), whole))
        measured[network.label] = whole
        if on_progress is not None:
            on_progress(i + 1, len(chosen))
    entries = {key: float(np.mean(values)) for key, values in samples.items()}
    factor, overhead = _calibrate(sums)
    return LatencyTable(device_key(threads), entries, overhead, factor, measured)


def _calibrate(sums: list[tuple[float, int, float]]) -> tuple[float, float]:
    """(factor, overhead per kernel) that turn sums of kernels into whole runs, by relative least squares.

    The overhead is often negative: recording a kernel takes a microsecond of its own.
    """
    x = np.array([[total / whole, count / whole] for total, count, whole in sums])
    factor, overhead = np.linalg.lstsq(x, np.ones(len(sums)), rcond=None)[0]
    return float(factor), float(overhead)


def local_table(*, threads: int = 1, on_progress: Callable[[int, int], None] | None = None) -> LatencyTable:
    """The table of this machine: from the cache, or built now and cached where the cache can be written."""
    cached = read_table(cache_folder(), device_key(threads))
    if cached is not None:
        return cached
    table = build_table(threads=threads, on_progress=on_progress)
    with contextlib.suppress(OSError):  # a full or read-only disk costs the next run ten seconds, not this one its end
        write_table(table, cache_folder())
    return table
