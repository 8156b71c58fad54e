"""How a study stands while networks are looked at: how many, the best, the front."""

from __future__ import annotations

import time

from mobilenets.search import Study, Trial
from mobilenets.watching import Watcher

SHOWN_S = 1.0
"""Between two looks at the front."""
NOTES = 10
"""Lines that a study writes over its time, for where nobody sees a live one."""


class StudyProgress:
    """Told of every trial.

    Args:
        study: whose trials.
        metric: what accuracy is called.
        trials: that are wanted; 0 where only the time ends it.
        seconds: of the study.
        watcher: is told.
    """

    def __init__(self, study: Study, metric: str, trials: int, seconds: float, watcher: Watcher) -> None:
        self.study, self.metric, self.trials, self.seconds, self.watcher = study, metric, trials, seconds, watcher
        self.begin, self.shown, self.notes = time.perf_counter(), 0.0, 0

    def told(self, _: Trial) -> None:
        """A trial is complete."""
        now = time.perf_counter()
        if now - self.shown < SHOWN_S:
            return
        self.shown = now
        by_count = len(self.study.completed) / self.trials if self.trials else 0.0
        part = min(1.0, max((now - self.begin) / self.seconds, by_count))
        text = self.words()
        self.watcher.looked(part, text)
        if part * NOTES >= self.notes + 1:
            self.notes = int(part * NOTES)
            self.watcher.note(text)

    def words(self) -> str:
        """How it stands, by what is known already."""
        front, best = self.study.front(fresh=False), self.study.best(fresh=False)
        what = "" if best is None else f", best {self.metric} {best.accuracy:.1%} at {best.load:.2f} of the budget"
        count = len(self.study.completed)
        return f"{count} network{'s' * (count != 1)}{what}, {len(front)} on the front"
