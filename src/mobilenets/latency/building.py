"""Building a device's latency table: artifacts timed there, laws fitted to their times, their error measured."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from mobilenets.errors import DeviceError
from mobilenets.files import cache_folder, write_text
from mobilenets.latency.artifacts import Artifact, artifacts, build_set, held_out
from mobilenets.latency.cache import cache_path, read_table, write_table
from mobilenets.latency.devices import Device, Link
from mobilenets.latency.kernels import kernels
from mobilenets.latency.laws import fit_laws
from mobilenets.latency.measure import Model, interleave, loaded
from mobilenets.latency.table import LatencyTable, TableError, table_key
from mobilenets.precision import Precision
from mobilenets.table.rows import Network

TOGETHER = 6
"""Artifacts whose rounds are interleaved: the best of three moments some seconds apart."""
ROUNDS = 3
ROUND_S = 0.06

Progress = Callable[[int, int], None]


def table_for(
    device: Device, *, threads: int = 1, precision: Precision = "fp32", on_progress: Progress | None = None
) -> LatencyTable:
    """The table of a device: from the cache, or built now and cached where the cache can be written.

    Raises:
        DeviceError: the device cannot be reached, or does not run ONNX files.
    """
    with device.connect() as link:
        key = table_key(link.name, onnx_runtime(device, link), precision, threads)
        cached = read_table(cache_folder(), key)
        if cached is not None:
            return cached
        table = build_table(device, link, threads=threads, precision=precision, on_progress=on_progress)
    keep(table)
    return table


def keep(table: LatencyTable) -> None:
    """Put a table where `table_for` looks; what was measured on the way to it is no longer needed."""
    with contextlib.suppress(OSError):  # a full or read-only disk costs the next run a minute, not this one its end
        write_table(table, cache_folder())
        _partial(table.key).unlink(missing_ok=True)


def build_table(
    device: Device,
    link: Link,
    networks: Sequence[Network] | None = None,
    *,
    threads: int = 1,
    precision: Precision = "fp32",
    check: Sequence[Network] | None = None,
    on_progress: Progress | None = None,
) -> LatencyTable:
    """Time artifacts of networks on a device and fit the table.

    What was measured is kept after each handful of artifacts: building again after a stop goes on from there.

    Args:
        device: of the link.
        link: open connection to it.
        networks: None takes `build_set()`.
        threads: threads inside an operator.
        precision: int8 quantizes each artifact, which takes about a second more.
        check: networks to measure the error with; None takes `held_out`.
        on_progress: called with artifacts measured so far, and all.

    Raises:
        DeviceError: the connection broke, or the device cannot run an artifact.
    """
    chosen = build_set() if networks is None else networks
    unseen = held_out(chosen) if check is None else check
    parts = list({part.label: part for part in artifacts(chosen)}.values())  # a network given twice counts once
    tests = [Artifact(f"{network.label} of {network.classes}, unseen", network) for network in unseen]
    runtime = onnx_runtime(device, link)
    key = table_key(link.name, runtime, precision, threads)
    times = _measure(link, [*parts, *tests], key, threads, precision, on_progress)
    measured = {part.label: times[part.label] for part in parts}
    fitted = fit_laws([list(kernels(part.network).values()) for part in parts], list(measured.values()))
    table = LatencyTable(
        link.name, runtime, threads, precision, fitted.entries, fitted.scale, fitted.coefficients, measured
    )
    if not tests:
        return table
    pairs = {test.network.label: (table.predict_ms(test.network), times[test.label]) for test in tests}
    return LatencyTable(
        link.name, runtime, threads, precision, table.entries, table.scale, table.laws, measured, TableError.of(pairs)
    )


def onnx_runtime(device: Device, link: Link) -> str:
    """Name and version of what runs ONNX files on a device.

    Raises:
        DeviceError: nothing does.
    """
    found = link.runtimes.get("onnxruntime")
    if found is None:
        raise DeviceError(
            f"{device.text}: latency tables are measured with ONNX files, which nothing runs there. Install it there: "
            "python3 -m pip install numpy onnxruntime"
        )
    return found


def _measure(
    link: Link,
    wanted: Sequence[Artifact],
    key: str,
    threads: int,
    precision: Precision,
    on_progress: Progress | None,
) -> dict[str, float]:
    """Milliseconds of each artifact: the best of the interleaved rounds' medians, kept on disk as it grows."""
    times = _kept(key)
    missing = [artifact for artifact in wanted if artifact.label not in times]
    for start in range(0, len(missing), TOGETHER):
        group = missing[start : start + TOGETHER]
        models = [Model.random(artifact.network, precision) for artifact in group]
        with loaded(link, models, threads=threads, own_process=False) as timings:
            for _ in interleave(timings, rounds=ROUNDS, limit_s=ROUND_S):
                pass
            for artifact, timing in zip(group, timings, strict=True):
                times[artifact.label] = min(r.median_ms for r in timing.rounds)
        with contextlib.suppress(OSError):
            write_text(_partial(key), json.dumps({"key": key, "times_ms": times}))
        if on_progress is not None:
            on_progress(len(wanted) - len(missing) + start + len(group), len(wanted))
    return times


def _partial(key: str) -> Path:
    return cache_path(cache_folder(), key).with_suffix(".part.json")


def _kept(key: str) -> dict[str, float]:
    """What an interrupted building has measured."""
    try:
        data = json.loads(_partial(key).read_text(encoding="utf-8"))
        return {str(k): float(v) for k, v in data["times_ms"].items()} if data["key"] == key else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
