"""What every verb shares: one JSON object on stdout, or a table for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console


def stdout() -> Console:
    """Console for results: as wide as the terminal, or wide enough for every column where there is none."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)


def stderr() -> Console:
    """Console for progress and remarks."""
    return Console(stderr=True, highlight=False, markup=False)


def print_json(result: Mapping[str, Any]) -> None:
    """One JSON object on stdout. A number that is not finite becomes null: JSON has none."""
    print(json.dumps(_finite(result), indent=2, ensure_ascii=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
