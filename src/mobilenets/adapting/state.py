"""What an `adapt` was asked for and how far it is, in one JSON file: an interrupted run goes on from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mobilenets.errors import MisuseError
from mobilenets.files import write_text
from mobilenets.precision import Precision
from mobilenets.search import Rule
from mobilenets.watching import Watcher

NAME = "adapt.json"
DELTA = 0.01
"""What a step takes off, as part of the start's cost, unless it is told otherwise."""


@dataclass
class State:
    """Progress of an `adapt`; the steps have files of their own.

    Attributes:
        path: where it is kept.
        model: resolved path of the network to begin with; empty where it was given as an object.
        data: resolved path of the data set.
        budgets: as the user gave them.
        minutes: for the whole run.
        delta: what a step takes off, as part of the start's cost.
        rule: how a step's proposal is chosen.
        device: where latency is measured.
        precision: of the artifact.
        threads: of the artifact.
        seed: of everything.
        spent_s: seconds used so far, over all sittings.
        start_ms: measured latency of the start.
        divisor: what widths are rounded to.
        scored: images that every proposal is scored on.
        steps_begun_s: seconds that were used when the first step began: what the steps may take is counted from there.
        tuning_s: seconds for the long fine-tuning, fixed when it begins; 0 before.
        tuned: whether it is over.
    """

    path: Path
    model: str
    data: str
    budgets: list[str]
    minutes: float
    delta: float
    rule: Rule
    device: str
    precision: Precision
    threads: int
    seed: int
    spent_s: float = 0.0
    start_ms: float = 0.0
    divisor: int = 0
    scored: int = 0
    steps_begun_s: float = 0.0
    tuning_s: float = 0.0
    tuned: bool = False

    def last(self, minutes: float, watcher: Watcher) -> None:
        """The run is to last so many minutes instead; the long fine-tuning gets what changes after it began."""
        more_s = 60 * (minutes - self.minutes)
        self.minutes = minutes
        if self.tuned and more_s > 0:
            watcher.note("the long fine-tuning is over: the minutes that were added change nothing.")
        elif self.tuning_s:
            self.tuning_s = max(self.tuning_s + more_s, 5.0)

    def arguments(self) -> list[str]:
        """What `mobilenets` takes to do the same: the verb, model, data, and what is not by default."""
        usual = {"delta": DELTA, "rule": "ratio", "device": "local", "precision": "fp32", "threads": 1, "seed": 0}
        told = [f"--{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        budgets = [f"--budget={text}" for text in self.budgets]
        model = self.model or str(self.path.parent / "steps" / "00.safetensors")
        return ["adapt", model, self.data, *budgets, f"--minutes={self.minutes:g}", *told]

    def write(self) -> None:
        """Write the state, whole or not at all."""
        write_text(self.path, json.dumps({k: v for k, v in self.__dict__.items() if k != "path"}, indent=1))

    @staticmethod
    def read(run: Path) -> State:
        """The state of an interrupted run.

        Raises:
            MisuseError: there is none, or it is damaged.
        """
        try:
            return State(path=run / NAME, **json.loads((run / NAME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise MisuseError(f"{run}: no interrupted adapt to resume ({error}); run without --resume.") from error
