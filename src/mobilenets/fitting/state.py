"""What a `fit` has found out so far, in one JSON file: an interrupted run goes on from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mobilenets.errors import MisuseError
from mobilenets.files import write_text
from mobilenets.latency import Latency
from mobilenets.metrics import Task
from mobilenets.precision import Precision

Effort = Literal["low", "medium", "high"]


@dataclass
class State:
    """Progress of a `fit`.

    Attributes:
        path: where it is kept.
        data: resolved folder of images.
        budgets: as the user gave them.
        minutes: for the whole run.
        threads: of the artifact.
        seed: of everything.
        weights: what networks start from.
        device: where latency is measured.
        precision: of the artifact.
        max_drop: what int8 may cost, as part of the metric.
        task: what the data are read for; None where they tell.
        effort: where networks come from: the index, and NetAdapt, and architecture search.
        architectures: whether the architecture search is over.
        searched: tables that it found.
        spent_s: seconds used so far, over all sittings.
        measured: latency by candidate label.
        train_s: training seconds per image by candidate label.
        scores: search results by "rung label".
        chosen: labels of the candidates in the search, once they are chosen.
        winner: label of the candidate that is trained, once the search is over.
        search_s: seconds for the whole search, fixed when it begins.
        final_s: seconds that were left for the winner then.
        trained: label of the winner once its training is over.
        stepped_down: labels that turned out over the budget after training.
    """

    path: Path
    data: str
    budgets: list[str]
    minutes: float
    threads: int
    seed: int
    weights: str = "none"
    device: str = "local"
    precision: Precision = "fp32"
    max_drop: float = 0.01
    task: Task | None = None
    effort: Effort = "low"
    architectures: bool = False
    searched: list[dict[str, Any]] = field(default_factory=list)
    spent_s: float = 0.0
    measured: dict[str, Latency] = field(default_factory=dict)
    train_s: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    chosen: list[str] = field(default_factory=list)
    winner: str | None = None
    search_s: float = 0.0
    final_s: float = 0.0
    trained: str | None = None
    stepped_down: list[str] = field(default_factory=list)

    def arguments(self) -> list[str]:
        """What `mobilenets` takes to do the same: the verb, the data, and what is not by default."""
        usual = State(self.path, "", [], 0.0, 1, 0, "auto")
        names = ("task", "effort", "device", "precision", "threads", "seed", "weights")
        told = [f"--{name}={getattr(self, name)}" for name in names if getattr(self, name) != getattr(usual, name)]
        if self.max_drop != usual.max_drop:
            told.append(f"--max-drop={100 * self.max_drop:g}")
        budgets = [f"--budget={text}" for text in self.budgets]
        return ["fit", self.data, *budgets, f"--minutes={self.minutes:g}", *told]

    def best_score(self, label: str) -> float | None:
        """Best score of a candidate in the search, or None."""
        scores = [score for key, score in self.scores.items() if key.partition(" ")[2] == label]
        return max(scores, default=None)

    def write(self) -> None:
        """Write the state, whole or not at all."""
        values: dict[str, Any] = {k: v for k, v in self.__dict__.items() if k != "path"}
        values["measured"] = {label: asdict(latency) for label, latency in self.measured.items()}
        write_text(self.path, json.dumps(values, indent=1))

    @staticmethod
    def read(path: Path) -> State:
        """Read the state of an interrupted run.

        Raises:
            MisuseError: there is none, or it is damaged.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["measured"] = {label: Latency(**latency) for label, latency in values["measured"].items()}
            return State(path=path, **values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise MisuseError(
                f"{path.parent}: no interrupted fit to resume ({error}); run without --resume."
            ) from error
