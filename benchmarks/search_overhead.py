"""The searcher's own share of a search: asking, pricing, claiming and telling, in a study of 1,000 trials.

The space and the pricing are those of `mobilenets search`; the table's numbers are invented, which costs as much.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.pricing import invented_table
from benchmarks.tables import print_table, spread
from mobilenets.costs import parse_budget
from mobilenets.search import Objective, Plan, Point, Searcher, open_study, work
from mobilenets.search.space import Space
from mobilenets.search.timing import Costs

NAME = "search_overhead"
SPACE = Space.of("classify", 10, base=0.5, resolutions=(96, 128, 160))
BEFORE = 1_000
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
            taken, cpu_ms, pricing_ms = own_times_ms(Path(folder) / "study.log", searcher, objective)
        share = sum(taken) / (sum(taken) + len(taken) * EVALUATION_S * 1e3)
        rows.append(
            (f"{searcher}, {objective}", *spread(sorted(taken)), f"{cpu_ms:.2f}", f"{pricing_ms:.2f}", f"{share:.2%}")
        )
    title = f"outside evaluate per trial, ms: {BEFORE:,} trials before, {len(SPACE.choices)} choices, journal file"
    print_table(title, ("searcher", "median", "best", "middle half", "n", "processor", "pricing", "share"), rows)
    print("  processor, pricing: means of processor time, the latter a part of the former")
    print(f"  share: of trials whose evaluation takes {EVALUATION_S} s; bar {BAR:.0%}")


def own_times_ms(path: Path, searcher: Searcher, objective: Objective) -> tuple[list[float], float, float]:
    """Milliseconds between one evaluation and the next; the mean on the processor, and of that in pricing."""
    study = open_study(path, Plan(SPACE.choices, objective, searcher, most_load=1.25))
    costs, priced_s = typical(), list[float]()

    def load(point: Point) -> float:
        began = time.process_time()
        found = costs.load(SPACE.network(point, named=False))
        priced_s.append(time.process_time() - began)
        return found

    work(study, load, accuracy, trials=BEFORE, seed=1, canonical=SPACE.canonical)
    marks: list[tuple[float, float, float, float]] = []

    def evaluate(point: Point) -> float:
        began = (time.perf_counter(), time.process_time())
        if not marks:
            priced_s.clear()
        time.sleep(EVALUATION_S)
        marks.append((*began, time.perf_counter(), time.process_time()))
        return accuracy(point)

    work(study, load, evaluate, trials=BEFORE + TRIALS + 1, seed=2, canonical=SPACE.canonical)
    pairs = list(itertools.pairwise(marks))
    cpu_ms = statistics.mean((later[1] - earlier[3]) * 1e3 for earlier, later in pairs)
    return [(later[0] - earlier[2]) * 1e3 for earlier, later in pairs], cpu_ms, 1e3 * sum(priced_s) / TRIALS


def typical() -> Costs:
    """A budget of latency that half of the space meets."""
    draws = random.Random(0)
    networks = [SPACE.network(SPACE.draw(draws)) for _ in range(50)]
    table = invented_table(networks, draws)
    return Costs(parse_budget(f"{statistics.median(map(table.predict_ms, networks))}ms"), "fp32", table)


def accuracy(point: Point) -> float:
    """Grows with every value, less and less."""
    places = [SPACE.choices[name].index(value) / len(SPACE.choices[name]) for name, value in point.items()]
    return math.sqrt(sum(places) / len(places))
