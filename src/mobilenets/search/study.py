"""One search that many processes and machines share: the same call on each, until there are as many trials as wanted.

    choices = {"resolution": (96, 128), "stage2.kernel": (3, 5, 7)}
    study = open_study("/shared/study.log", Plan(choices, objective="hard", budget="5 ms"))
    work(study, load, evaluate, trials=200)
    print(study.best())

A worker that dies loses its own trial only: the others see that its heart beats no more and replace the trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mobilenets.errors import MissingExtraError, MisuseError
from mobilenets.search.points import Choices, Key, Point, check_choices, key
from mobilenets.search.reward import MNASNET, Objective, pareto_front, values

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from mobilenets.search.ledger import Ledger

Searcher = Literal["evolution", "tpe", "nsga2", "random"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What all workers of a study must agree on.

    Attributes:
        choices: the values of every choice.
        objective: `reward` is ACC x load^exponent, `hard` the accuracy of what meets the budget, `front` both.
        searcher: who proposes points.
        budget: in words; it says what a load of 1 is.
        exponent: w of the reward.
        most_load: what is heavier is not evaluated; with `hard` it is 1, whatever is said here.
        population: of evolution and NSGA-II.
        sample: how many of the population compete to be the parent in evolution.
        search: mark of whatever else must be the same: how points are priced and scored.
    """

    choices: Choices
    objective: Objective = "reward"
    searcher: Searcher = "evolution"
    budget: str = ""
    exponent: float = MNASNET
    most_load: float = 1.5
    population: int = 50
    sample: int = 10
    search: str = ""

    @property
    def limit(self) -> float:
        """The largest load that is evaluated."""
        return 1.0 if self.objective == "hard" else self.most_load


@dataclass(frozen=True, slots=True)
class Trial:
    """A point that was evaluated.

    Attributes:
        number: in the order of starting, from 0; trials that were lost leave gaps.
        point: a value of every choice.
        accuracy: 0 to 1; what was not a number counts as 0.
        load: cost over budget.
        seconds: from start to result.
        worker: host and process.
    """

    number: int
    point: Point
    accuracy: float
    load: float
    seconds: float
    worker: str


class Study:
    """A study as this process sees it. Nothing is written by reading."""

    def __init__(self, ledger: Ledger, plan: Plan) -> None:
        self.ledger = ledger
        self.plan = plan
        self.forget()

    def forget(self) -> None:
        """Forget what was read; the next `refresh` reads it again."""
        self.completed: dict[int, Trial] = {}
        self.known: dict[Key, int] = {}
        self.running: list[Any] = []
        self._settled = 0  # up to this number all trials are over and read

    def refresh(self, learn: Callable[[Trial, Any], None] | None = None) -> list[Any]:
        """Read what happened since; `learn` is told of each new result. All trials of the storage, by number."""
        trials = self.ledger.trials()
        self.running = []
        for stored in trials[self._settled :]:
            if stored.state.name == "RUNNING":
                self.running.append(stored)
            elif stored.state.name == "COMPLETE" and stored.number not in self.completed:
                self._add(stored, learn)
        self._settled = self.running[0].number if self.running else len(trials)
        return trials

    def _add(self, stored: Any, learn: Callable[[Trial, Any], None] | None) -> None:
        seconds = (stored.datetime_complete - stored.datetime_start).total_seconds()
        accuracy, load = stored.values
        worker = str(stored.user_attrs.get("worker", ""))
        trial = Trial(stored.number, dict(stored.params), accuracy, load, seconds, worker)
        self.completed[trial.number] = trial
        self.known[key(trial.point)] = trial.number
        if learn is not None:
            learn(trial, stored)

    def trials(self, *, fresh: bool = True) -> list[Trial]:
        """What is complete, by number: by now, or of what was read last."""
        if fresh:
            self.refresh()
        return [self.completed[number] for number in sorted(self.completed)]

    def ranked(self, *, fresh: bool = True) -> list[Trial]:
        """Trials, those first that the objective likes best; with `front` those that no other dominates. See `trials`.

        Of equals the lighter one is first.
        """
        if self.plan.objective == "front":
            front = {trial.number for trial in self.front(fresh=fresh)}
            return sorted(self.trials(fresh=False), key=lambda t: (t.number not in front, -t.accuracy, t.load))
        likes = self._reward if self.plan.objective == "reward" else _accuracy
        return sorted(self.trials(fresh=fresh), key=lambda t: (-likes(t), t.load))

    def best(self, *, fresh: bool = True) -> Trial | None:
        """The largest reward; the most accurate that meets the budget, unless the objective is `reward`."""
        every = self.plan.objective == "reward"
        return next((t for t in self.ranked(fresh=fresh) if every or t.load <= 1), None)

    def _reward(self, trial: Trial) -> float:
        return values("reward", trial.accuracy, trial.load, self.plan.exponent)[0]

    def front(self, *, fresh: bool = True) -> list[Trial]:
        """The trials that no other dominates in accuracy and load, lightest first. See `trials`."""
        return pareto_front(self.trials(fresh=fresh), lambda t: (t.accuracy, t.load))


def open_study(storage: str | Path, plan: Plan, name: str = "search") -> Study:
    """Join a study, or begin it.

    Args:
        storage: a file on a disk that all workers see, or postgresql://USER:PASSWORD@HOST/DATABASE.
        plan: must be the one that the study was begun with.
        name: of the study in its storage.

    Raises:
        MisuseError: the study was begun with another plan, the storage cannot be used, or optuna is not installed.
        StudyError: the database cannot be reached.
    """
    check_plan(plan)
    ledger = _ledger(storage, name, create=True)
    mine = _settings(plan)
    if (there := ledger.settings(mine)).get("search") != plan.search:
        raise MisuseError(
            f"{ledger.where} holds the study of another search. To join it, give its shared.safetensors as --shared; "
            "for a new one, another place: another file, or another DATABASE."
        )
    if differing := _differences(there, mine):
        raise MisuseError(
            f"the study {name!r} in {ledger.where} was begun with other settings: {'; '.join(differing)}. "
            "Give the same settings, or another name or place to begin a new study."
        )
    return Study(ledger, plan)


def begun(storage: str | Path, name: str = "search") -> bool:
    """Whether a study is there.

    Raises:
        MisuseError: the storage cannot be used, or optuna is not installed.
        StudyError: the database cannot be reached.
    """
    need_optuna()
    if "://" not in str(storage) and not Path(storage).exists():
        return False
    from mobilenets.search.ledger import holds

    return holds(_opened(storage, create=False)[0], name)


def read_study(storage: str | Path, name: str = "search") -> Study:
    """A study that is there, with the plan that it was begun with.

    Raises:
        MisuseError: there is none.
        StudyError: the database cannot be reached.
    """
    import json

    ledger = _ledger(storage, name, create=False)
    kept = ledger.kept_settings()
    if kept is None:
        raise MisuseError(f"the study {name!r} in {ledger.where} has no settings: it is not one of a search.")
    settings = json.loads(kept)
    settings["choices"] = {name: tuple(chosen) for name, chosen in settings["choices"].items()}
    return Study(ledger, Plan(**settings))


def check_plan(plan: Plan) -> None:
    """Numbers that make sense.

    Raises:
        MisuseError: they do not.
    """
    check_choices(plan.choices)
    if not plan.most_load > 0 or not -math.inf < plan.exponent < 0:
        raise MisuseError(
            f"a limit of {plan.most_load} times the budget and an exponent of {plan.exponent}: expected "
            "a limit above 0 and a number below 0, such as -0.07."
        )
    if not 1 <= plan.sample <= plan.population or plan.population < 2:
        raise MisuseError(
            f"a sample of {plan.sample} from a population of {plan.population}: expected a population "
            "of 2 or more and a sample of 1 up to the population."
        )


def _ledger(storage: str | Path, name: str, *, create: bool) -> Ledger:
    need_optuna()
    from mobilenets.search.ledger import Ledger

    opened, where = _opened(storage, create=create)
    return Ledger(opened, where, name, create=create)


def _opened(storage: str | Path, *, create: bool) -> tuple[BaseStorage, str]:
    """The storage, and what to call it."""
    if "://" not in str(storage):
        from mobilenets.search.ledger import open_journal

        return open_journal(Path(storage), create=create), str(Path(storage))
    from mobilenets.search.postgresql import open_postgresql

    return open_postgresql(str(storage))


def need_optuna() -> None:
    """What a study is kept with.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("optuna", "search", purpose="a search") from error


def _accuracy(trial: Trial) -> float:
    return trial.accuracy


def _settings(plan: Plan) -> dict[str, Any]:
    choices = {name: list(chosen) for name, chosen in plan.choices.items()}
    return asdict(plan) | {"choices": choices}


def _differences(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> list[str]:
    flat = [_flat(theirs), _flat(mine)]
    names = flat[0] | flat[1]
    return [f"{n} {flat[0].get(n)} there, {flat[1].get(n)} here" for n in names if flat[0].get(n) != flat[1].get(n)]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    choices = {f"choice {name!r}": chosen for name, chosen in settings["choices"].items()}
    return choices | {name: repr(value) for name, value in settings.items() if name != "choices"}
