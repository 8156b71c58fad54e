"""What long work tells while it goes on. Plain data and a silent listener: displays override what they show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of the history.

    Attributes:
        epoch: passes over the training images so far (a fraction where the clock cut in).
        step: optimiser steps so far.
        seconds: training time so far, validation included.
        lr: learning rate at the end.
        resolution: of the last batch, in pixels.
        train_loss: mean over the steps since the last line.
        val_loss: cross-entropy of the averaged weights on the validation images.
        val_score: their accuracy; with several labels an image, their mean average precision.
        images_per_s: training throughput since the last line.
        waiting: part of that time spent waiting for images: reading and augmenting them.
    """

    epoch: float
    step: int
    seconds: float
    lr: float
    resolution: int
    train_loss: float
    val_loss: float
    val_score: float
    images_per_s: float
    waiting: float = 0.0


@dataclass(frozen=True, slots=True)
class Tick:
    """What a progress display gets after each step."""

    fraction: float
    epoch: float
    loss: float
    images_per_s: float
    seconds_left: float
    waiting: float = 0.0


class Watcher:
    """What a training tells while it works; every method may be overridden.

    Attributes:
        metric: what the validations' score is called.
    """

    metric = "top-1"

    def started(self, folder: Path) -> None:
        """The run folder is made, or found again."""

    def phase(self, name: str, total: int | None = None) -> None:
        """A new phase begins; `total` counts its steps where known."""

    def advance(self, done: int, total: int) -> None:
        """Images decoded so far."""

    def looked(self, part: float, text: str) -> None:
        """How much of a phase is done, from 0 to 1, and how it stands in words."""

    def tick(self, tick: Tick) -> None:
        """A training step is done."""

    def epoch(self, line: Epoch, best: bool) -> None:
        """A validation is done."""

    def note(self, text: str) -> None:
        """Something the user should know."""
