"""What benchmarks share: the machine in a line, timing with spread, and a printed table."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

PACKAGES = ("mobilenets", "torch", "numpy", "onnxruntime")


def machine() -> str:
    """Processor, cores, load, and the versions that matter; a load near the number of cores spoils a timing."""
    versions = [f"{name} {version}" for name in PACKAGES if (version := _version(name))]
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    system = f"{platform.system()} {platform.machine()}"
    parts = [_processor(), f"{os.cpu_count()} cores", load, system, f"Python {platform.python_version()}", *versions]
    return ", ".join(part for part in parts if part)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def times_ms(work: Callable[[], object], n: int) -> list[float]:
    """Wall milliseconds of n calls, sorted."""
    taken = []
    for _ in range(n):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1e3)
    return sorted(taken)


def spread(taken: Sequence[float]) -> list[str]:
    """Median, best and the middle half of sorted times, as cells."""
    quarters = statistics.quantiles(taken, n=4) if len(taken) > 1 else [taken[0]] * 3
    return [f"{quarters[1]:.2f}", f"{taken[0]:.2f}", f"{quarters[0]:.2f} - {quarters[2]:.2f}", str(len(taken))]


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people: the first column to the left, the others to the right."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    print(title)
    for line in lines:
        print("  " + line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True)))
