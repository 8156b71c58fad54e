"""The machine that one sits at, in a fresh process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mobilenets.latency.devices.process import RunnerLink, started
from mobilenets.latency.package import BOOTSTRAP


@dataclass(frozen=True, slots=True)
class Local:
    """The machine that this runs on."""

    text: str = "local"
    remark: str = ""

    @contextmanager
    def connect(self) -> Iterator[RunnerLink]:
        """Start a runner; it ends with the block."""
        with started([sys.executable, "-c", BOOTSTRAP], self.text, sys.executable, _ended) as link:
            yield link


def _ended(code: int, stderr: str) -> str:
    last = stderr.splitlines()[-1] if stderr else ""
    return f"the measuring process ended (exit code {code}){': ' + last if last else '.'}"
