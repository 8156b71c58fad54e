"""The searcher's own share of a search: asking, pricing, claiming and telling, in a study of 2,000 trials."""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.tables import print_table, spread
from mobilenets.search import Choices, Objective, Plan, Point, Searcher, open_study, work

NAME = "search_overhead"
CHOICES: Choices = {f"stage{i}.width": (0.5, 0.625, 0.75, 1.0, 1.25) for i in range(20)}
BEFORE = 2_000
TRIALS = 30
EVALUATION_S = 0.3
BAR = 0.02


def run() -> None:
    """Print the time outside `evaluate` per trial, for each searcher, with the study in a journal file."""
    cases: list[tuple[Searcher, Objective]] = [
        ("evolution", "reward"), ("evolution", "hard"), ("random", "reward"), ("nsga2", "front"),
        ("tpe", "reward"), ("tpe", "front"),
    ]  # fmt: skip
    rows = []
    for searcher, objective in cases:
        with tempfile.TemporaryDirectory() as folder:
            taken, cpu_ms = own_times_ms(Path(folder) / "study.log", searcher, objective)
        share = sum(taken) / (sum(taken) + len(taken) * EVALUATION_S * 1e3)
        rows.append((f"{searcher}, {objective}", *spread(sorted(taken)), f"{cpu_ms:.2f}", f"{share:.2%}"))
    title = f"outside evaluate per trial, ms: {BEFORE:,} trials before, {len(CHOICES)} choices, journal file"
    print_table(title, ("searcher", "median", "best", "middle half", "n", "processor", "share"), rows)
    print(f"  share: of trials whose evaluation takes {EVALUATION_S} s; bar {BAR:.0%}")


def own_times_ms(path: Path, searcher: Searcher, objective: Objective) -> tuple[list[float], float]:
    """Milliseconds between one evaluation and the next, and of these the median on the processor."""
    study = open_study(path, Plan(CHOICES, objective, searcher, most_load=2.0))
    work(study, load, accuracy, trials=BEFORE, seed=1)
    marks: list[tuple[float, float, float, float]] = []

    def evaluate(point: Point) -> float:
        began = (time.perf_counter(), time.process_time())
        time.sleep(EVALUATION_S)
        marks.append((*began, time.perf_counter(), time.process_time()))
        return accuracy(point)

    work(study, load, evaluate, trials=BEFORE + TRIALS + 1, seed=2)
    pairs = list(itertools.pairwise(marks))
    cpu_ms = statistics.median((later[1] - earlier[3]) * 1e3 for earlier, later in pairs)
    return [(later[0] - earlier[2]) * 1e3 for earlier, later in pairs], cpu_ms


def load(point: Point) -> float:
    """About what a network's latency does: the widest takes 1.6 times the budget."""
    return 0.2 + sum(float(value) ** 2 for value in point.values()) * 1.4 / (1.25**2 * len(point))


def accuracy(point: Point) -> float:
    """Grows with every width, less and less."""
    return sum(math.sqrt(float(value)) for value in point.values()) / (math.sqrt(1.25) * len(point))
