"""Parts of a report that any verb can make: when, where, which files, which line does it again."""

from __future__ import annotations

import csv
import hashlib
import os
import platform
import shlex
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from mobilenets.latency import processor
from mobilenets.report.schema import Command, Epoch, File, Machine


def now() -> str:
    """The moment with its zone, to the second: `2026-01-31 14:05:00+01:00`."""
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")


def machine() -> Machine:
    """What runs this: processor, cores, memory, system."""
    found = Machine(name=processor(), kind="local", cores=os.cpu_count() or 1, system=platform.platform())
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_bytes"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return found


def command(what: str, *arguments: object) -> Command:
    """A line of this command line, quoted for a shell, and what it does; arguments that are None are left out."""
    return Command(what=what, line=shlex.join(["mobilenets", *(str(a) for a in arguments if a is not None)]))


def history(path: str | Path) -> list[Epoch]:
    """A training's `metrics.csv` as numbers; empty where there is none."""
    path = Path(path)
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Epoch(**{key: float(value) for key, value in line.items()}) for line in csv.DictReader(file)]  # type: ignore[typeddict-item]


def listed(paths: Iterable[str | Path], folder: str | Path) -> list[File]:
    """Files with size and hash, named from the report's folder where they lie in it; missing ones are left out."""
    found = [Path(path) for path in paths]
    return [
        File(
            file=str(path.relative_to(folder) if path.is_relative_to(folder) else path),
            file_bytes=path.stat().st_size,
            sha256=sha256(path),
        )
        for path in found
        if path.is_file()
    ]


def sha256(path: str | Path) -> str:
    """Of a file, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
