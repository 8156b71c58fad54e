"""Building a device's latency table: artifacts timed there, laws fitted to their times, their error measured."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.errors import DeviceError
from mobilenets.files import cache_folder, write_text
from mobilenets.latency.artifacts import Artifact, artifacts, build_set, held_out
from mobilenets.latency.cache import cache_path, read_table, write_table
from mobilenets.latency.devices import Device, Link
from mobilenets.latency.kernels import kernels
from mobilenets.latency.laws import Laws, fit_laws
from mobilenets.latency.measure import Ending, Model, interleave, loaded
from mobilenets.latency.table import LatencyTable, TableError, table_key
from mobilenets.metrics import Task
from mobilenets.precision import Precision
from mobilenets.table.rows import Network

TOGETHER = 6
"""Artifacts whose rounds are interleaved: the best of three moments some seconds apart."""
ROUNDS = 3
ROUND_S = 0.06
AGAIN, AGAIN_MARK = 4, ", again"
"""Of so many artifacts one is visited twice: those that were slowest against the fit."""

Progress = Callable[[int, int], None]


def table_for(
    device: Device,
    *,
    task: Task = "classify",
    threads: int = 1,
    precision: Precision = "fp32",
    ending: Ending | None = None,
    quick: bool = False,
    on_progress: Progress | None = None,
) -> LatencyTable:
    """The table of a device: from the cache, or built now and cached where the cache can be written.

    Args:
        device: what it is of.
        task: of the networks that it shall predict.
        threads: threads inside an operator.
        precision: of the networks.
        ending: of detectors and segmenters, what their files get behind the raw outputs.
        quick: where it must be built, from whole networks alone and without measuring its error: a third of the time,
            which knows only the families that it is built from (median error over 20 networks of them: 5 %).
        on_progress: called with artifacts measured so far, and all.

    Raises:
        DeviceError: the device cannot be reached, or does not run ONNX files.
    """
    with device.connect() as link:
        task = "classify" if task == "multi-label" else task  # the same networks
        key = table_key(link.name, onnx_runtime(device, link), precision, threads, task, inside=ending is not None)
        cached = read_table(cache_folder(), key)
        if cached is not None:
            return cached
        table = build_table(
            device, link, task=task, threads=threads, precision=precision, ending=ending, quick=quick,
            on_progress=on_progress,
        )  # fmt: skip
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
    task: Task = "classify",
    threads: int = 1,
    precision: Precision = "fp32",
    ending: Ending | None = None,
    check: Sequence[Network] | None = None,
    quick: bool = False,
    on_progress: Progress | None = None,
) -> LatencyTable:
    """Time artifacts of networks on a device and fit the table.

    What was measured is kept after each handful of artifacts: building again after a stop goes on from there.

    Args:
        device: of the link.
        link: open connection to it.
        networks: None takes `build_set(task)`.
        task: of the networks.
        threads: threads inside an operator.
        precision: int8 quantizes each artifact, which takes about a second more.
        ending: of detectors and segmenters, what their files get behind the raw outputs.
        check: networks to measure the error with; None takes `held_out`.
        quick: whole networks alone, each visited once, the error not measured.
        on_progress: called with artifacts measured so far, and all.

    Raises:
        DeviceError: the connection broke, or the device cannot run an artifact.
    """
    chosen = build_set(task) if networks is None else networks
    listed = artifacts(chosen, parts=not quick)
    parts = list({part.label: part for part in listed}.values())  # a network given twice counts once
    unseen = [
        Artifact(f"{network.label} of {network.classes}, unseen", network)
        for network in (check if check is not None else () if quick else held_out(chosen, task))
    ]
    again = 0 if quick else len(parts) // AGAIN
    runtime = onnx_runtime(device, link)
    key = table_key(link.name, runtime, precision, threads, task, inside=ending is not None)
    visits = _Visits(link, key, threads, precision, ending, on_progress)
    visits.total = len(parts) + again + 2 * len(unseen)
    wanted = [*parts, *unseen]
    random.Random(0).shuffle(wanted)  # so that a busy minute does not hit one family, or the test alone
    visits.time(wanted, "")
    # what a busy moment made slow, and the whole test: the faster of two visits counts
    laws = _fit(parts, visits.best())
    slow = sorted(parts, key=lambda part: _fitted_ms(laws, part) / visits.best()[part.label])[:again]
    visits.time([*slow, *unseen], AGAIN_MARK)
    best = visits.best()
    laws = _fit(parts, best)
    measured = {part.label: best[part.label] for part in parts}
    table = LatencyTable(
        link.name, runtime, threads, precision, laws.entries, laws.scale, laws.coefficients, measured, task=task,
        inside=ending is not None,
    )  # fmt: skip
    pairs = {test.label: (table.predict_ms(test.network), best[test.label]) for test in unseen}
    return replace(table, error=TableError.of(pairs)) if pairs else table


def _fit(parts: Sequence[Artifact], times_ms: Mapping[str, float]) -> Laws:
    return fit_laws([list(kernels(p.network).values()) for p in parts], [times_ms[p.label] for p in parts])


def _fitted_ms(laws: Laws, part: Artifact) -> float:
    return sum(laws.entries[kernel.key] for kernel in kernels(part.network).values())


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


class _Visits:
    """Artifacts timed so far on a link, kept on disk as they grow: the best of the interleaved rounds' medians."""

    def __init__(
        self, link: Link, key: str, threads: int, precision: Precision, ending: Ending | None,
        on_progress: Progress | None,
    ) -> None:  # fmt: skip
        self.link, self.key, self.threads, self.precision, self.ending = link, key, threads, precision, ending
        self.on_progress = on_progress
        self.total = 0
        self.times_ms = _kept(key)

    def time(self, wanted: Sequence[Artifact], mark: str) -> None:
        """Time artifacts that were not timed under this mark."""
        missing = [artifact for artifact in wanted if artifact.label + mark not in self.times_ms]
        for start in range(0, len(missing), TOGETHER):
            group = missing[start : start + TOGETHER]
            models = [Model.random(artifact.network, self.precision, self.ending) for artifact in group]
            with loaded(self.link, models, threads=self.threads, own_process=False) as timings:
                for _ in interleave(timings, rounds=ROUNDS, limit_s=ROUND_S):
                    pass
            for artifact, timing in zip(group, timings, strict=True):
                self.times_ms[artifact.label + mark] = min(r.undisturbed_ms for r in timing.rounds)
            with contextlib.suppress(OSError):
                write_text(_partial(self.key), json.dumps({"key": self.key, "times_ms": self.times_ms}))
            if self.on_progress is not None:
                self.on_progress(min(len(self.times_ms), self.total), self.total)

    def best(self) -> dict[str, float]:
        """Label -> the fastest visit."""
        found: dict[str, float] = {}
        for name, value in self.times_ms.items():
            label = name.removesuffix(AGAIN_MARK)
            found[label] = min(value, found.get(label, value))
        return found


def _partial(key: str) -> Path:
    return cache_path(cache_folder(), key).with_suffix(".part.json")


def _kept(key: str) -> dict[str, float]:
    """What an interrupted building has measured."""
    try:
        data = json.loads(_partial(key).read_text(encoding="utf-8"))
        return {str(k): float(v) for k, v in data["times_ms"].items()} if data["key"] == key else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
