"""What an `adapt` ends with, before it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobilenets.adapting.trajectory import Kept
from mobilenets.exports import Verification
from mobilenets.latency import Latency
from mobilenets.model import MobileNet


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an `adapt` ended with.

    Attributes:
        model: fine-tuned; the float network behind an int8 file.
        artifact: its file.
        verification: of the file.
        latency: of the file.
        start_latency: of the start, timed in the same minute.
        way: all kept networks, latencies measured together at the end.
        met: whether the file is within the budget.
    """

    model: MobileNet
    artifact: Path
    verification: Verification
    latency: Latency
    start_latency: Latency
    way: tuple[Kept, ...]
    met: bool
