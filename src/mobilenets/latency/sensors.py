"""What a machine says of itself: processor, temperature, clock, load, memory. Standard library only."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CPU_ZONES = ("cpu", "soc", "pkg")
"""What kernels call the thermal zones that hold processors."""


@cache
def processor() -> str:
    """Name of this machine: the board's where it has one (`Raspberry Pi 5 Model B`), else the processor's."""
    board = _read(Path("/proc/device-tree/model")).strip("\0 \n")
    if board:
        return board
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.lower().startswith(("model name", "hardware", "cpu model")):
            return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def temperature_c() -> float | None:
    """The hottest thermal zone of the processor in degrees Celsius; None where none can be read."""
    zones = sorted(Path("/sys/class/thermal").glob("thermal_zone*"))
    named = [zone for zone in zones if any(word in _read(zone / "type").lower() for word in CPU_ZONES)]
    return max((value / 1e3 for value in _numbers(zone / "temp" for zone in named or zones)), default=None)


def clock_mhz() -> float | None:
    """The fastest core's clock now; None where it cannot be read."""
    cores = Path("/sys/devices/system/cpu").glob("cpu[0-9]*")
    return max((value / 1e3 for value in _numbers(c / "cpufreq" / "scaling_cur_freq" for c in cores)), default=None)


def load_average() -> float | None:
    """Processes that ran or waited, averaged over the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def peak_bytes(process: str = "self") -> int | None:
    """Most memory that a process ever held (resident set); None where the system does not say."""
    for line in _read(Path("/proc") / process / "status").splitlines():
        # not getrusage's: that one remembers the process before `exec` too
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if process != "self":
        return None
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def readings() -> dict[str, float | None]:
    """Temperature, clock and load at this moment."""
    return {"temperature_c": temperature_c(), "clock_mhz": clock_mhz(), "load_average": load_average()}


def _numbers(paths: Iterator[Path]) -> Iterator[float]:
    for path in paths:
        text = _read(path).strip()
        if text.lstrip("-").isdigit():
            yield float(text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
