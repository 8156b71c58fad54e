"""What Linux tells of a browser's pages: how long each ran, and how long it waited for a processor."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Turn(NamedTuple):
    """Nanoseconds of a page's main thread, on which WebAssembly with one thread runs."""

    ran: int
    waited: int


def turns(group: int) -> dict[int, Turn]:
    """So far, for each page of a browser's process group, by process; empty where the system does not tell."""
    found: dict[int, Turn] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):  # processes come and go
            if os.getpgid(int(place.name)) == group and b"--type=renderer" in (place / "cmdline").read_bytes():
                ran, waited, _ = (place / "schedstat").read_text(encoding="ascii").split()
                found[int(place.name)] = Turn(int(ran), int(waited))
    return found


def between(before: dict[int, Turn], after: dict[int, Turn]) -> tuple[int, float] | None:
    """The page that ran most, and the part of its time in which others had the processor."""
    spent = {
        process: Turn(turn.ran - before[process].ran, turn.waited - before[process].waited)
        for process, turn in after.items()
        if process in before
    }
    if not spent:
        return None
    process = max(spent, key=lambda each: spent[each].ran)
    ran, waited = spent[process]
    return (process, waited / (ran + waited)) if ran else None
