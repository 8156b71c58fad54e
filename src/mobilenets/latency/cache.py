"""Where latency tables are kept: one JSON file a device in the user's cache folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mobilenets.errors import MisuseError
from mobilenets.latency.table import FORMAT, LatencyTable


def cache_path(folder: Path, key: str) -> Path:
    """The file of a table's key."""
    return folder / "latency" / f"{hashlib.sha256(f'{FORMAT} {key}'.encode()).hexdigest()[:16]}.json"


def write_table(table: LatencyTable, folder: Path) -> Path:
    """Keep a table in a cache folder, under its key."""
    path = cache_path(folder, table.key)
    table.write(path)
    return path


def read_table(folder: Path, key: str) -> LatencyTable | None:
    """A kept table; None where there is none, or an outdated or damaged one."""
    try:
        table = LatencyTable.read(cache_path(folder, key))
    except MisuseError:
        return None
    return table if table.key == key else None
