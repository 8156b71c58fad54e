"""What a `search` was asked for and how far it is, in one JSON file: an interrupted run goes on from it."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mobilenets.errors import MisuseError
from mobilenets.files import check_same, write_text
from mobilenets.metrics import Task
from mobilenets.precision import Precision
from mobilenets.search import Objective, Point, Searcher
from mobilenets.search.space import Space
from mobilenets.searching.terms import Anchors, Terms

NAME = "search.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for; a resumed run must be asked for the same, but for the hours.

    Attributes:
        data: resolved path of the data set.
        budgets: as the user gave them.
        hours: for the whole run.
        task: what the data are read for; None where they tell.
        resolutions: of the input image in pixels; empty: those that the images show something new at.
        device: where latency is measured.
        precision: of the artifacts.
        threads: of the artifacts.
        searcher: who proposes networks.
        objective: what is made large.
        exponent: of the reward.
        keep: networks that are trained to the end.
        study: where workers share the study; empty for one of this run alone.
        trials: that the study shall have; 0 for as many as there is time for.
        seed: of everything.
        weights: what the shared weights begin with.
    """

    data: str
    budgets: tuple[str, ...]
    hours: float
    task: Task | None = None
    resolutions: tuple[int, ...] = ()
    device: str = "local"
    precision: Precision = "fp32"
    threads: int = 1
    searcher: Searcher = "evolution"
    objective: Objective = "hard"
    exponent: float = -0.07
    keep: int = 1
    study: str = ""
    trials: int = 0
    seed: int = 0
    weights: str = "none"

    def arguments(self) -> list[str]:
        """What `mobilenets` takes to do the same: the verb, the data, and what is not by default."""
        usual = Asked("", (), 0.0)
        names = (
            "task",
            "device",
            "precision",
            "threads",
            "searcher",
            "objective",
            "exponent",
            "keep",
            "trials",
            "seed",
            "weights",
        )
        told = [f"--{name}={getattr(self, name)}" for name in names if getattr(self, name) != getattr(usual, name)]
        told += [f"--resolution={size}" for size in self.resolutions]
        told += ["--study=STUDY"] if self.study else []  # it may hold a password
        return ["search", self.data, *(f"--budget={b}" for b in self.budgets), f"--hours={self.hours:g}", *told]


@dataclass
class State:
    """Progress of a `search`; the study's trials, the shared weights and the trained networks have files of their own.

    Attributes:
        path: where it is kept.
        asked: by the user.
        search: mark of the search, drawn at random; of another's whose shared weights were given.
        spent_s: seconds used so far, over all sittings.
        base: factor of the space's widths.
        choices: of the space, narrowed to the budget; empty before.
        anchors: of detectors.
        factor: measured over predicted latency, the median of some networks of the space.
        error: median error of the table on them after that, as part.
        scored: validation images that networks are scored on by shared weights.
        shared_s: seconds of training for the shared weights, fixed when it begins.
        explored_s: seconds spent in the study.
        chosen: points that went to the next rung, best first by the study; empty before.
        measured_ms: latency of their networks.
        rungs: score of a chosen network by "rung name": `shared`, `proxy`, `full`.
        source: where the weights come from that the shared ones began with; None for random ones.
        full_s: seconds of the full training of each, fixed when the first begins.
    """

    path: Path
    asked: Asked
    search: str = field(default_factory=lambda: uuid.uuid4().hex)
    spent_s: float = 0.0
    base: float = 1.0
    choices: dict[str, list[int | float | str | bool]] = field(default_factory=dict)
    anchors: Anchors | None = None
    factor: float = 1.0
    error: float | None = None
    scored: int = 0
    shared_s: float = 0.0
    explored_s: float = 0.0
    chosen: dict[str, Point] = field(default_factory=dict)
    measured_ms: dict[str, float] = field(default_factory=dict)
    rungs: dict[str, float] = field(default_factory=dict)
    source: str | None = None
    full_s: float = 0.0

    @property
    def minutes(self) -> float:
        """For the whole run."""
        return 60 * self.asked.hours

    def rung(self, rung: str) -> dict[str, float]:
        """Scores of one rung by the network's name."""
        start = f"{rung} "
        return {key.removeprefix(start): score for key, score in self.rungs.items() if key.startswith(start)}

    def space(self, task: str, classes: int) -> Space:
        """The narrowed space."""
        choices = {name: tuple(values) for name, values in self.choices.items()}
        return Space(task, classes, choices, self.base, self.anchors)

    def adopt(self, terms: Terms) -> None:
        """Go on from what the run that trained the shared weights decided."""
        self.search, self.base, self.choices, self.anchors = terms.search, terms.base, terms.choices, terms.anchors
        self.factor, self.error, self.scored = terms.factor, terms.error, terms.scored
        self.source = terms.source

    def write(self) -> None:
        """Write the state, whole or not at all."""
        values = {key: value for key, value in self.__dict__.items() if key not in ("path", "asked")}
        write_text(self.path, json.dumps({"asked": _hidden(asdict(self.asked)), **values}, indent=1))

    @staticmethod
    def read(run: Path, asked: Asked | None = None) -> State:
        """The state of an interrupted run.

        Args:
            run: its folder.
            asked: now; all but the hours must be what was asked for then. None: to look at it only.

        Raises:
            MisuseError: there is none, it is damaged, or something else was asked for.
        """
        try:
            values = json.loads((run / NAME).read_text(encoding="utf-8"))
            before = values.pop("asked")
            anchors = values.pop("anchors")
            told = before | {"study": "", **{name: tuple(before[name]) for name in ("budgets", "resolutions")}}
            state = State(run / NAME, asked or Asked(**told), **values)
            state.anchors = None if anchors is None else (tuple(anchors[0]), anchors[1], anchors[2])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise MisuseError(f"{run}: no interrupted search to resume ({error}); run without --resume.") from error
        if asked is not None:
            now = json.loads(json.dumps(_hidden(asdict(asked) | {"hours": before["hours"]})))
            check_same(run, before, now)
        return state


def _hidden(values: dict[str, object]) -> dict[str, object]:
    """Without the password of a database."""
    return values | {"study": bool(values["study"])}
