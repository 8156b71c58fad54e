"""Budgets: `5ms`, `2MB`, `50MMACs`, `1.5Mparams`, `900KB-ram`, combined with and."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields

from mobilenets.costs.sizes import Sizes
from mobilenets.errors import BudgetFormatError

_PREFIX = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_BYTES = {
    "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
}  # fmt: skip
_SECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_EXAMPLES = "5ms, 2MB, 50MMACs, 1.5Mparams, 900KB-ram"


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper bounds that must hold together; None where there is none.

    Attributes:
        latency_ms: median latency of one image through the artifact.
        file_bytes: size of the artifact.
        macs: multiply-accumulates.
        params: parameters.
        ram_bytes: peak activation memory in the artifact's precision, elementwise nodes in place.
    """

    latency_ms: float | None = None
    file_bytes: float | None = None
    macs: float | None = None
    params: float | None = None
    ram_bytes: float | None = None

    @property
    def text(self) -> str:
        """The budget in words: `5 ms and 2 MB`."""
        parts = [
            f"{self.latency_ms:g} ms" if self.latency_ms is not None else "",
            f"{self.file_bytes / 1e6:g} MB" if self.file_bytes is not None else "",
            f"{self.macs / 1e6:g} M macs" if self.macs is not None else "",
            f"{self.params / 1e6:g} M params" if self.params is not None else "",
            f"{self.ram_bytes / 1e3:g} KB of activations" if self.ram_bytes is not None else "",
        ]
        return " and ".join(part for part in parts if part)

    def times(self, factor: float) -> Budget:
        """Every limit so many times as large."""
        limits = {limit.name: getattr(self, limit.name) for limit in fields(self)}
        return Budget(**{name: None if value is None else factor * value for name, value in limits.items()})

    def load(self, counted: Sizes, latency_ms: float | None = None) -> float:
        """The largest part of a limit that a network takes: the budget is met up to 1.

        Args:
            counted: its sizes.
            latency_ms: its latency; None where the budget limits none.
        """
        pairs = (
            (latency_ms, self.latency_ms),
            (counted.file_bytes, self.file_bytes),
            (counted.macs, self.macs),
            (counted.params, self.params),
            (counted.ram_bytes, self.ram_bytes),
        )
        return max(value / limit for value, limit in pairs if value is not None and limit is not None)


def parse_budget(texts: str | Iterable[str]) -> Budget:
    """Read one or several budgets; the same kind twice keeps the smaller.

    KB and MB are powers of ten, KiB and MiB powers of two.

    Raises:
        BudgetFormatError: a number or unit that cannot be read, or a value that is not above 0.
    """
    limits: dict[str, float] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        kind, value = _parse_one(text)
        limits[kind] = min(value, limits.get(kind, value))
    if not limits:
        raise BudgetFormatError(f"no budget given: name at least one, such as {_EXAMPLES}.")
    return Budget(**limits)


def _parse_one(text: str) -> tuple[str, float]:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-zµ]+(?:-ram)?)\s*", text.lower())
    if match is None:
        raise BudgetFormatError(f"budget {text!r} cannot be read: expected a number and a unit, such as {_EXAMPLES}.")
    number, unit = float(match[1]), match[2]
    kind, factor = _unit(unit, text)
    if number <= 0:
        raise BudgetFormatError(f"budget {text!r} must be above 0.")
    return kind, number * factor


def _unit(unit: str, text: str) -> tuple[str, float]:
    if unit.endswith("-ram") and unit.removesuffix("-ram") in _BYTES:
        return "ram_bytes", _BYTES[unit.removesuffix("-ram")]
    if unit in _SECONDS:
        return "latency_ms", _SECONDS[unit]
    if unit in _BYTES:
        return "file_bytes", _BYTES[unit]
    for word, kind in (("macs", "macs"), ("params", "params")):
        if unit.endswith(word) and unit.removesuffix(word) in _PREFIX:
            return kind, _PREFIX[unit.removesuffix(word)]
    raise BudgetFormatError(
        f"budget {text!r} has an unknown unit {unit!r}: use ms (or us, s), KB or MB for the file, K/M/G + MACs, "
        f"K/M + params, KB-ram or MB-ram for activations; such as {_EXAMPLES}."
    )
