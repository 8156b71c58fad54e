"""Where latency tables are kept: one JSON file a device in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path

from mobilenets.files import write_text
from mobilenets.latency.measure import processor
from mobilenets.latency.table import Kernel, LatencyTable

FORMAT = 5
"""Raised when entries change their meaning: an older cached table is then built anew."""


def device_key(threads: int) -> str:
    """What a table's numbers hold for: processor, runtime, version, precision, threads."""
    import onnxruntime

    return f"{processor()} | onnxruntime {onnxruntime.__version__} fp32 | {threads} thread{'s' * (threads > 1)}"


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


def read_table(folder: Path, key: str) -> LatencyTable | None:
    """A kept table; None where there is none, or an outdated or damaged one."""
    path = _cache_path(folder, key)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["device"] != key:
            return None
        entries = {str(name): float(value) for name, value in data["entries"].items()}
        if not entries or any(len(name.split()) != len(fields(Kernel)) for name in entries):
            return None
        return LatencyTable(key, entries, float(data["overhead_ms"]), float(data["factor"]), dict(data["measured"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
