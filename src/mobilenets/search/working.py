"""A worker of a study: propose, claim, evaluate, tell, until all trials are complete; watch over other workers."""

from __future__ import annotations

import contextlib
import math
import os
import random
import socket
import threading
import time
import uuid
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mobilenets.errors import MisuseError, StudyError
from mobilenets.search.points import Point, key
from mobilenets.search.proposing import Prices, new_point
from mobilenets.search.reward import values
from mobilenets.search.study import Study, Trial

if TYPE_CHECKING:
    from mobilenets.search.samplers import Proposer

BEATS_MISSED = 6  # from then on a worker is taken for dead
LOOK_S = 0.5  # how often a worker that waits for the others looks again
ASK_S = 2.0  # how often a worker asks whether the study is closed


Ended = Literal["complete", "time", "exhausted", "closed"]


@dataclass(frozen=True, slots=True)
class Worked:
    """What one worker did.

    Attributes:
        ended: all trials are complete, the time is over, no point is left that fits, or the search has chosen already.
        trials: that it completed itself.
        seconds: in all.
        evaluating_s: of these, in `evaluate`.
        waiting_s: of these, for the last trials of other workers.
    """

    ended: Ended
    trials: int
    seconds: float
    evaluating_s: float
    waiting_s: float

    @property
    def share(self) -> float:
        """The searcher's own part of the time it worked: 0 to 1."""
        worked = self.seconds - self.waiting_s
        return 1 - self.evaluating_s / worked if worked > 0 else 0.0


def work(
    study: Study,
    load: Callable[[Point], float],
    evaluate: Callable[[Point], float],
    *,
    trials: int,
    seconds: float | None = None,
    seed: int = 0,
    heartbeat_s: float = 10.0,
    on_trial: Callable[[Trial], None] | None = None,
    canonical: Callable[[Point], Point] = dict,
) -> Worked:
    """Evaluate points until the study has as many trials as wanted, counted over all its workers.

    Args:
        study: from `open_study`; one `work` at a time on each.
        load: a point's cost over budget; asked often, so it should be quick. MisuseError: the point is no network.
        evaluate: a point's accuracy, 0 to 1. What it raises ends this worker and gives its trial back.
        trials: that shall be complete in the end. A worker that finds all of them taken waits for the others, to
            replace the trials of those that die.
        seconds: no trial is begun later than this.
        seed: of this study's draws; workers draw differently by themselves.
        heartbeat_s: between signs of life; after six that are missing a trial counts as lost.
        on_trial: told of each trial that is complete from now on, whoever evaluated it.
        canonical: a point to the one that stands for all points of the same network: only that is evaluated.

    Raises:
        BudgetUnmetError: nothing in the space fits.
        MisuseError: `evaluate` gave what is no accuracy.
        StudyError: the storage answers no more.
    """
    if trials < 1 or not heartbeat_s > 0:
        raise MisuseError(f"{trials} trials and a heartbeat of {heartbeat_s} s: expected at least one, and above 0 s.")
    prices = Prices(load, study.plan.limit, study.plan.budget, canonical)
    worker = _Worker(study, prices, evaluate, seed, heartbeat_s, on_trial)
    try:
        with worker.heart.beating():
            return worker.run(trials, math.inf if seconds is None else time.monotonic() + seconds)
    except BaseException:
        worker.give_back()
        raise
    finally:
        study.ledger.close()


class _Heart:
    """Signs of life beside the trial that is being evaluated, from a thread of their own."""

    def __init__(self, study: Study, every_s: float) -> None:
        self.trial_id: int | None = None
        self.every_s = every_s
        self._study = study
        self._stop = threading.Event()

    @contextmanager
    def beating(self) -> Iterator[None]:
        thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _beat(self) -> None:
        count = 0
        while not self._stop.wait(self.every_s):
            if (trial_id := self.trial_id) is not None:
                count += 1
                with contextlib.suppress(StudyError):  # whoever evaluates will meet it, too
                    self._study.ledger.note(trial_id, "beat", count)
        with contextlib.suppress(StudyError):
            self._study.ledger.close()  # connections belong to threads


class _Watch:
    """Who is alive, by this process's own clock: clocks of machines may differ, counts of beats do not."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}

    def dead(self, running: list[Any]) -> list[int]:
        now = time.monotonic()
        seen: dict[int, tuple[int, float]] = {}
        silent = []
        for trial in running:
            beat = trial.user_attrs.get("beat", 0)
            count, since = self._seen.get(trial._trial_id, (-1, now))
            seen[trial._trial_id] = (beat, now if beat != count else since)
            if now - seen[trial._trial_id][1] > BEATS_MISSED * trial.user_attrs.get("heartbeat_s", 10.0):
                silent.append(trial._trial_id)
        self._seen = seen
        return silent


class _Worker:
    def __init__(
        self,
        study: Study,
        prices: Prices,
        evaluate: Callable[[Point], float],
        seed: int,
        heartbeat_s: float,
        on_trial: Callable[[Trial], None] | None,
    ) -> None:
        self.study = study
        self.prices = prices
        self.evaluate = evaluate
        self.seed = seed
        self.heart = _Heart(study, heartbeat_s)
        self.token = uuid.uuid4().hex
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.on_trial = on_trial
        self.watch = _Watch()
        self.joined = False
        self.claims = 0
        self.done = 0
        self.evaluating_s = 0.0
        self.waiting_s = 0.0
        self.asked = -math.inf

    def run(self, trials: int, end: float) -> Worked:
        began = time.perf_counter()
        self.proposer = _proposer(self.study)
        self.study.forget()  # refresh tells of what is new, and the searcher knows nothing yet
        stored = self.study.refresh(self._learn)
        self.joined = True
        self._seed(f"joined at {len(stored)}")
        ended = self._loop(trials, end)
        return Worked(ended, self.done, time.perf_counter() - began, self.evaluating_s, self.waiting_s)

    def _loop(self, trials: int, end: float) -> Ended:
        while len(self.study.completed) < trials:
            if time.monotonic() >= end:
                return "time"
            if self._closed():
                return "closed"
            for trial_id in self.watch.dead(self.study.running):
                self.study.ledger.fail(trial_id)
            taken = len(self.study.completed) + len(self.study.running)
            point = self._new_point() if taken < trials else None
            if point is not None:
                self._try(point, trials)
            elif self.study.running:
                self._wait(end)
            elif taken < trials:
                return "exhausted"
            self.study.refresh(self._learn)
        return "complete"

    def _closed(self) -> bool:
        if time.monotonic() - self.asked < ASK_S:
            return False
        self.asked = time.monotonic()
        return self.study.ledger.closed()

    def _new_point(self) -> Point | None:
        self.proposer.begin()
        taken = ChainMap(self.study.known, {key(trial.params): trial.number for trial in self.study.running})
        choices = self.study.plan.choices
        asks = self.proposer.asks
        return new_point(self.proposer.ask, choices, self.prices, taken, self.rng, asks=asks)

    def _try(self, point: Point, trials: int) -> None:
        """Claim the point, and evaluate it unless somebody else was first."""
        ledger = self.study.ledger
        notes = {"worker": self.name, "token": self.token, "beat": 0, "heartbeat_s": self.heart.every_s}
        trial_id = ledger.claim(point, self.study.plan.choices, notes, self.proposer.marks)
        self.heart.trial_id = trial_id
        stored = self.study.refresh(self._learn)
        number = next(trial.number for trial in reversed(stored) if trial._trial_id == trial_id)
        if self.claims == 0:
            self._seed(f"trial {number}")  # numbers are given once, so no two workers draw alike
        self.claims += 1
        if self._yields(number, point, trials):
            ledger.withdraw(trial_id)
        else:
            accuracy = self._evaluated(point)
            self.done += ledger.complete(trial_id, accuracy, self.prices.load(point))
        self.heart.trial_id = None

    def _yields(self, number: int, point: Point, trials: int) -> bool:
        """Whether claims before this one leave nothing to do: of the point, or of the trials wanted."""
        lower = [trial for trial in self.study.running if trial.number < number]
        complete = sum(other < number for other in self.study.completed)
        same = key(point) in self.study.known or any(key(trial.params) == key(point) for trial in lower)
        return same or complete + len(lower) >= trials

    def _evaluated(self, point: Point) -> float:
        began = time.perf_counter()
        try:
            accuracy = float(self.evaluate(dict(point)))
        finally:
            self.evaluating_s += time.perf_counter() - began
        if math.isnan(accuracy):
            return 0.0
        if not 0 <= accuracy <= 1:
            raise MisuseError(f"the evaluation of {point} gave {accuracy}: expected an accuracy from 0 to 1.")
        return accuracy

    def _wait(self, end: float) -> None:
        began = time.perf_counter()
        time.sleep(max(0.0, min(LOOK_S, self.heart.every_s, end - time.monotonic())))
        self.waiting_s += time.perf_counter() - began

    def _learn(self, trial: Trial, stored: Any) -> None:
        plan = self.study.plan
        told = values(plan.objective, trial.accuracy, trial.load, plan.exponent)
        self.proposer.learn(trial.number, trial.point, told, stored.system_attrs)
        if self.joined and self.on_trial is not None:
            self.on_trial(trial)

    def _seed(self, what: str) -> None:
        self.rng = random.Random(f"{self.seed}, {what}")
        self.proposer.seed(self.rng.getrandbits(32))

    def give_back(self) -> None:
        """What this worker holds is free at once."""
        with contextlib.suppress(StudyError):
            self.study.refresh()
            for trial in self.study.running:
                if trial.user_attrs.get("token") == self.token:
                    self.study.ledger.fail(trial._trial_id)


def _proposer(study: Study) -> Proposer:
    from mobilenets.search.samplers import Proposer

    plan = study.plan
    directions = ["maximize", "minimize"] if plan.objective == "front" else ["maximize"]
    return Proposer(plan.searcher, plan.choices, directions, population=plan.population, sample=plan.sample)
