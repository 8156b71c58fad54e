"""Latency measured, not guessed: one image through the exported artifact in its runtime."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime import Session
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession
from mobilenets.table.rows import Network


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds for one image.

    Attributes:
        median_ms: median over `runs`.
        p90_ms: 90th percentile.
        min_ms: fastest run.
        runs: timed runs, after warming up.
        threads: threads inside an operator.
        runtime: name and version.
        precision: of the weights and activations.
        device: the processor.
    """

    median_ms: float
    p90_ms: float
    min_ms: float
    runs: int
    threads: int
    runtime: str
    precision: str
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.median_ms:.2f} ms median, {self.p90_ms:.2f} ms p90, {self.runs} runs, {self.threads} "
            f"thread{'s' if self.threads > 1 else ''}, {self.runtime} {self.precision}, {self.device}"
        )


@cache
def processor() -> str:
    """Name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("model name", "hardware", "cpu model")):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def time_call(
    call: Callable[[], object], *, runs: int = 50, warmup_s: float = 0.1, limit_s: float = 2.0
) -> list[float]:
    """Milliseconds of repeated calls, after `warmup_s` seconds (and at least 5 calls) of warming up.

    At least 10 calls are timed; beyond those, none starts after `limit_s` seconds.
    """
    start, calls = time.perf_counter(), 0
    while calls < 5 or time.perf_counter() - start < warmup_s:
        call()
        calls += 1
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < runs and (len(times) < 10 or time.perf_counter() - begin < limit_s):
        before = time.perf_counter()
        call()
        times.append((time.perf_counter() - before) * 1e3)
    return times


def time_session(session: Session, *, runs: int = 50, limit_s: float = 2.0) -> Latency:
    """Latency of one image through a loaded artifact."""
    size = session.preprocessing.resolution
    channels = len(session.preprocessing.mean)
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, channels), dtype=np.uint8)
    times = time_call(lambda: session.run(image), runs=runs, limit_s=limit_s)
    return Latency(
        float(np.median(times)),
        float(np.percentile(times, 90)),
        min(times),
        len(times),
        session.threads,
        f"{session.runtime} {session.version}",
        session.precision,
        processor(),
    )


def time_network(network: Network, *, threads: int = 1, runs: int = 50, limit_s: float = 2.0) -> Latency:
    """Latency of a network that has no weights yet: exported with random ones."""
    model = to_onnx(network, random_weights(network), Preprocessing.default(network.resolution, network.in_channels))
    session = OnnxRuntimeSession.open(model.SerializeToString(), threads=threads)
    return time_session(session, runs=runs, limit_s=limit_s)
