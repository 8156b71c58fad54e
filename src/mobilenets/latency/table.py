"""The per-node latency table of one device: built once by profiling, cached, read to predict any network.

A deployed kernel is a convolution with its batch norm and activation, a pooling, a gate, a residual add or the
classifier. The runtime's own profiler times every kernel inside real networks, where caches and memory layouts are what
they will be. An exact entry answers for a kernel that was seen; a law fitted per type of kernel (log time, quadratic
in the logs of its sizes) answers for the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError
from mobilenets.files import write_text
from mobilenets.latency.measure import processor, time_session
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession, raw_session
from mobilenets.table import scale, with_classes
from mobilenets.table.lower import lower
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalPool,
    Multiply,
    Node,
    WindowPool,
)
from mobilenets.table.rows import Network
from mobilenets.zoo import INDEX

FORMAT = 4
"""Raised when entries change their meaning: an older cached table is then built anew."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the device runs as one piece; the key of a table entry. Sizes are those that decide its time."""

    kind: str
    in_channels: int
    out_channels: int
    size: int
    stride: int

    @property
    def key(self) -> str:
        """Key in the table's file."""
        return f"{self.kind} {self.in_channels} {self.out_channels} {self.size} {self.stride}"


def kernels(network: Network) -> dict[str, Kernel]:
    """Deployed kernels of a network by the name of the node that starts each; activations belong to the node before."""
    found = {"preprocess": Kernel("preprocess", network.in_channels, network.in_channels, network.resolution, 1)}
    entering = network.resolution
    for node in lower(network):
        kernel = _kernel(node, entering)
        if kernel is not None:
            found[node.name] = kernel
        entering = node.shape[-1] if len(node.shape) > 1 else 1
    return found


def _kernel(node: Node, entering: int) -> Kernel | None:
    """The kernel that a node starts; `entering` is the height of the value before it, which a pooling reads."""
    size = node.shape[-1] if len(node.shape) > 1 else 1
    match node:
        case Convolution():
            if node.depthwise:
                return Kernel(f"depthwise{node.kernel}", 1, node.shape[0], size, node.stride)
            # on 1x1 features it is a matrix times a vector, bound by reading the weights: another law
            kind = "vector" if size == entering == 1 else f"conv{node.kernel}"
            return Kernel(kind, node.in_channels, node.shape[0], size, node.stride)
        case FullyConnected():
            return Kernel("linear", node.in_features, node.shape[0], 1, 1)
        case GlobalPool():
            return Kernel("pool", node.shape[0], node.shape[0], entering, 1)
        case WindowPool():
            return Kernel(f"{node.mode}{node.kernel}", node.shape[0], node.shape[0], size, node.stride)
        case Multiply():
            return Kernel("multiply", node.shape[0], node.shape[0], size, 1)
        case Add():
            return Kernel("add", node.shape[0], node.shape[0], size, 1)
        case Concat():
            return Kernel("concat", node.shape[0], node.shape[0], size, 1)
        case BatchNorm() | Activation() | Flatten():
            return None  # folded into, fused with, or a view of the node before
        case _:
            assert_never(node)


_FUSED = {"add", "multiply"}
"""Kinds that a runtime may compute inside the kernel before: a table without them takes them as free."""


@dataclass
class LatencyTable:
    """Entries in milliseconds by kernel key, and the calibration from their sum to a whole run.

    Attributes:
        device: processor, runtime, version and threads that the entries hold for.
        entries: median milliseconds of a kernel inside real networks.
        overhead_ms: time of a run outside its kernels, per kernel.
        factor: whole runs divided by what the entries sum to.
        measured: whole-network medians taken while building, for the report: label -> ms.
    """

    device: str
    entries: dict[str, float]
    overhead_ms: float = 0.0
    factor: float = 1.0
    measured: dict[str, float] = field(default_factory=dict)
    _laws: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def predict_ms(self, network: Network) -> float:
        """Milliseconds for one image: entries where a kernel was seen, the law of its kind where not.

        Raises:
            MisuseError: kernels of a kind that the table has no entry of.
        """
        found = kernels(network)
        known = {key.partition(" ")[0] for key in self.entries}
        if unknown := sorted({kernel.kind for kernel in found.values()} - known - _FUSED):
            raise MisuseError(
                f"{network.label}: the latency table has no kernel like {', '.join(unknown)}; it knows "
                f"{', '.join(sorted(known)) or 'none'}. Measure the network (`benchmark`), or give `build_table` one "
                "that has such kernels."
            )
        total = sum(self._kernel_ms(kernel) for kernel in found.values())
        return max(self.factor * total + self.overhead_ms * len(found), 0.1 * total)

    def _kernel_ms(self, kernel: Kernel) -> float:
        exact = self.entries.get(kernel.key)
        if exact is not None:
            return exact
        if not self._laws:
            self._laws = _fit_laws(self.entries)
        law = self._laws.get(kernel.kind)
        return float(np.exp(_features(kernel) @ law)) if law is not None else 0.0


def _features(kernel: Kernel) -> NDArray[np.float64]:
    """Logs of the sizes, their squares and products. Channels in blocks of 8: what vector units work in."""
    a, b, s = (
        np.log(-(-kernel.in_channels // 8) * 8.0),
        np.log(-(-kernel.out_channels // 8) * 8.0),
        np.log(kernel.size),
    )
    t = np.log(kernel.stride)
    # packed layouts want multiples of 4: others, as V1's unrounded channels, take a route that is several times slower
    odd_in, odd_out = (float(channels % 4 != 0) for channels in (kernel.in_channels, kernel.out_channels))
    return np.array([1.0, a, b, s, t, a * a, b * b, s * s, a * b, a * s, b * s, odd_in, odd_out])


def _fit_laws(entries: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
    """One ridge regression of log milliseconds per kind of kernel."""
    groups: dict[str, list[tuple[NDArray[np.float64], float]]] = {}
    for key, milliseconds in entries.items():
        kind, *sizes = key.split()
        kernel = Kernel(kind, *(int(v) for v in sizes))
        groups.setdefault(kind, []).append((_features(kernel), float(np.log(max(milliseconds, 1e-4)))))
    laws = {}
    for kind, samples in groups.items():
        x = np.stack([features for features, _ in samples])
        y = np.array([value for _, value in samples])
        ridge = 1e-2 * np.eye(x.shape[1])
        ridge[0, 0] = 1e-8
        laws[kind] = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    return laws


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
        name = event["name"].removesuffix("_kernel_time").removesuffix("_nchwc")
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


def _owners(network: Network, found: Mapping[str, Kernel]) -> dict[str, str]:
    """Node name -> the kernel that computes it: itself, or for what is folded or fused that of its first input."""
    owners = {INPUT: "preprocess"}
    for node in lower(network):
        owners[node.name] = node.name if node.name in found else owners[node.inputs[0]]
    return owners


def _close_run(seen: Mapping[str, float], per_run: dict[str, list[float]]) -> None:
    for name, milliseconds in seen.items():
        per_run[name].append(milliseconds)


def build_set() -> list[Network]:
    """The networks that a table is built from: every family, each width and resolution several times."""
    families = [network for name, network in INDEX.items() if name in FAMILIES]
    widths, resolutions = (0.25, 0.35, 0.5, 0.75, 1.0, 1.25), (96, 128, 160, 192, 224)
    networks = []
    for i, family in enumerate(families):
        # diagonals through the grid, shifted from family to family: each family at every width and every resolution
        for j in range(len(widths)):
            width = widths[(i + j) % len(widths)]
            resolution = resolutions[(2 * i + 3 * j) % len(resolutions)]
            networks.append(with_classes(scale(family, width, resolution), (10, 1000, 100, 2)[(i + j) % 4]))
    return networks


FAMILIES = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "mobilenet_v3_large_minimalistic",
    "mobilenet_v3_small_minimalistic",
)
"""Networks that scale to a grid of candidates."""


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


def device_key(threads: int) -> str:
    """What a table's numbers hold for: processor, runtime, version, precision, threads."""
    import onnxruntime

    return f"{processor()} | onnxruntime {onnxruntime.__version__} fp32 | {threads} thread{'s' * (threads > 1)}"


def cache_folder() -> Path:
    """`MOBILENETS_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("MOBILENETS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mobilenets"


def local_table(*, threads: int = 1, on_progress: Callable[[int, int], None] | None = None) -> LatencyTable:
    """The table of this machine: from the cache, or built now and cached where the cache can be written."""
    cached = _read(_cache_path(cache_folder(), device_key(threads)), device_key(threads))
    if cached is not None:
        return cached
    table = build_table(threads=threads, on_progress=on_progress)
    with contextlib.suppress(OSError):  # a full or read-only disk costs the next run ten seconds, not this one its end
        write_table(table, cache_folder())
    return table


def write_table(table: LatencyTable, folder: Path) -> Path:
    """Keep a table in a cache folder, under its device's name."""
    data = {
        "format": FORMAT,
        "device": table.device,
        "overhead_ms": table.overhead_ms,
        "factor": table.factor,
        "measured": table.measured,
        "entries": table.entries,
    }
    path = _cache_path(folder, table.device)
    write_text(path, json.dumps(data, indent=1))
    return path


def _cache_path(folder: Path, device: str) -> Path:
    return folder / "latency" / f"{hashlib.sha256(f'{FORMAT} {device}'.encode()).hexdigest()[:16]}.json"


def _read(path: Path, key: str) -> LatencyTable | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["device"] != key:
            return None
        entries = {str(name): float(value) for name, value in data["entries"].items()}
        if not entries or any(len(name.split()) != len(fields(Kernel)) for name in entries):
            return None
        return LatencyTable(key, entries, float(data["overhead_ms"]), float(data["factor"]), dict(data["measured"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # no cache, or a damaged one: it is built anew
