"""Searches in one process: what is proposed, evaluated, kept and refused."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from mobilenets.errors import BudgetUnmetError, MisuseError, StudyError
from mobilenets.search import (
    Choices,
    Objective,
    Plan,
    Point,
    Searcher,
    Trial,
    open_study,
    pareto_front,
    read_study,
    reward,
    work,
)
from mobilenets.search.points import key, mutated
from mobilenets.search.reward import V3_SMALL

if importlib.util.find_spec("optuna") is None:
    pytest.skip("optuna is not installed", allow_module_level=True)

SEARCHERS: tuple[Searcher, ...] = get_args(Searcher)
# 6^6 points; the load is the sum over 18, the accuracy is best at 4 everywhere, so the constraint binds
CHOICES: Choices = {f"stage{i}": (0, 1, 2, 3, 4, 5) for i in range(6)}
WEIGHTS = (6, 5, 4, 3, 2, 1)
FEW: Choices = {f"stage{i}": (0, 1, 2, 3, 4, 5) for i in range(4)}


def load(point: Point) -> float:
    return 0.05 + sum(int(v) for v in point.values()) / 18


def accuracy(point: Point) -> float:
    return 1 - sum(w * (int(v) - 4) ** 2 for w, v in zip(WEIGHTS, point.values(), strict=False)) / 336


def plan(objective: Objective = "hard", searcher: Searcher = "evolution", choices: Choices = CHOICES) -> Plan:
    return Plan(choices, objective, searcher, "5 ms", population=20, sample=5)


# bar 5: the landscape's optimum is known --------------------------------------------------------------------------


def best_reward() -> float:
    """By going through all 1,296 points; 1.5 times the budget at most is evaluated."""
    points = [dict(zip(FEW, values, strict=True)) for values in itertools.product(range(6), repeat=len(FEW))]
    return max(reward(accuracy(p), load(p), V3_SMALL) for p in points if load(p) <= 1.5)


@pytest.mark.parametrize("searcher", ["evolution", "tpe", "nsga2"])
def test_the_optimum_is_found(tmp_path: Path, searcher: Searcher) -> None:
    wanted = Plan(FEW, "reward", searcher, exponent=V3_SMALL, population=20, sample=8)
    study = open_study(tmp_path / "study.log", wanted)
    work(study, load, accuracy, trials=200, seed=3)
    best = study.best()
    assert best is not None
    assert reward(best.accuracy, best.load, V3_SMALL) == pytest.approx(best_reward())


def test_chance_finds_the_optimum_of_a_small_space(tmp_path: Path) -> None:
    small = {"a": (0, 1, 2, 3), "b": (0, 1, 2, 3)}
    study = open_study(tmp_path / "study.log", plan(searcher="random", choices=small))
    told = work(study, lambda p: 0.2 * sum(map(int, p.values())), lambda p: int(p["a"]) * int(p["b"]) / 9, trials=99)
    assert told.ended == "exhausted"
    assert len({key(t.point) for t in study.trials()}) == told.trials == 15  # all but (3, 3), once each
    best = study.best()
    assert best is not None
    assert sorted(best.point.values()) == [2, 3]


@pytest.mark.parametrize("searcher", ["nsga2", "tpe", "evolution"])
def test_the_true_front_is_found(tmp_path: Path, searcher: Searcher) -> None:
    """Of accuracy and load, most of the best of all 256 points, from 100 trials."""
    choices = {f"stage{i}": (0, 1, 2, 3) for i in range(4)}

    def gain(point: Point) -> float:
        return sum(w * int(v) for w, v in zip(WEIGHTS, point.values(), strict=False)) / 54

    def weight(point: Point) -> float:
        return 0.1 + sum(int(v) for v in point.values())

    wanted = Plan(choices, "front", searcher, population=16, sample=5, most_load=9.0)
    study = open_study(tmp_path / "study.log", wanted)
    work(study, weight, gain, trials=100, seed=1)
    every = [dict(zip(choices, values, strict=True)) for values in itertools.product(range(4), repeat=4)]
    fitting = [(gain(p), weight(p)) for p in every if weight(p) <= 9]
    true = set(pareto_front(fitting, lambda pair: pair))
    found = {(t.accuracy, t.load) for t in study.front()}
    assert len(found & true) >= 0.6 * len(true)  # by chance: 100 of 211 fitting points are 0.47


# what is evaluated ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("searcher", SEARCHERS)
@pytest.mark.parametrize("objective", get_args(Objective))
def test_only_what_fits_is_evaluated_and_once(tmp_path: Path, searcher: Searcher, objective: Objective) -> None:
    seen: list[Point] = []

    def tight(point: Point) -> float:
        if point["stage0"] == 5:
            raise MisuseError("no such network")
        return 4 * load(point)  # nearly nothing drawn at random fits

    study = open_study(tmp_path / "study.log", plan(objective, searcher))
    work(study, tight, lambda p: seen.append(p) or accuracy(p), trials=40)  # type: ignore[func-returns-value]
    assert len(seen) == len({key(p) for p in seen}) == 40
    assert all(p["stage0"] != 5 and tight(p) <= study.plan.limit for p in seen)
    assert [t.point for t in study.trials()] == seen
    assert all(t.load == tight(t.point) and t.accuracy == accuracy(t.point) for t in study.trials())


def test_a_searcher_asks_without_writing(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    priced = []

    def rare(point: Point) -> float:
        priced.append(point)
        return 0.5 if sum(int(v) for v in point.values()) == 3 else 2.0

    work(open_study(path, plan(searcher="random")), rare, accuracy, trials=3)
    assert len(priced) > 100
    assert len(path.read_text().splitlines()) == 2 + 2 * 3  # the study and its settings; a claim and a result each


def test_nothing_fits(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.log", plan())
    with pytest.raises(BudgetUnmetError, match=r"fits the budget 5 ms: the lightest .* takes 3\.05 times the budget"):
        work(study, lambda p: 3 + load(p), accuracy, trials=5)
    assert study.trials() == []


def test_no_point_is_a_network(tmp_path: Path) -> None:
    def refuse(point: Point) -> float:
        raise MisuseError("no such network")

    with pytest.raises(BudgetUnmetError, match="no point of the search space is a network"):
        work(open_study(tmp_path / "study.log", plan(choices={"a": (1, 2)})), refuse, accuracy, trials=5)


def test_a_mutation_changes_one_choice() -> None:
    rng = random.Random(0)
    point = dict.fromkeys(CHOICES, 2)
    for _ in range(100):
        child = mutated(point, CHOICES, rng)
        assert sum(child[name] != point[name] for name in CHOICES) == 1
    assert mutated({"a": 1}, {"a": (1,)}, rng) == {"a": 1}


def test_the_oldest_dies(tmp_path: Path) -> None:
    """An early peak leaves the population: parents come from the last P only."""
    from mobilenets.search.samplers import Proposer

    proposer = Proposer("evolution", CHOICES, ["maximize"], population=3, sample=3)
    for number, value in [(3, 2), (0, 5), (1, 0), (2, 1)]:  # told in another order, as workers of other speeds do
        proposer.learn(number, dict.fromkeys(CHOICES, value), [10.0 if value == 5 else value / 10], {})
    proposer.begin()
    for _ in range(20):
        assert sorted(proposer.ask().values())[1:-1] == [2] * 4  # the best of the last three, one choice changed


def test_a_search_that_has_chosen_sends_its_workers_home(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.log", plan())
    ended = work(study, load, lambda p: ((len(study.completed) < 3 or study.ledger.end()) and 0.5) or 0.5, trials=10**6)
    assert ended.ended == "closed" and ended.seconds < 30
    assert work(open_study(tmp_path / "study.log", plan()), load, accuracy, trials=10**6).trials == 0


def test_ranked_by_what_the_objective_likes(tmp_path: Path) -> None:
    """(accuracy, load) of three points: the heavy one is the best, two are as accurate, the light one is ahead."""
    known = {0: (0.5, 0.9), 1: (0.5, 0.4), 2: (0.6, 1.2)}
    for objective, numbers, best in (
        ("hard", [2, 1, 0], 1),
        ("front", [2, 1, 0], 1),
        ("reward", [2, 1, 0], 2),  # 0.6 x 1.2^-0.07 = 0.592, 0.5 x 0.4^-0.07 = 0.533, 0.5 x 0.9^-0.07 = 0.504
    ):
        study = open_study(tmp_path / f"{objective}.log", plan(objective))  # type: ignore[arg-type]
        study.completed = {n: Trial(n, {}, *values, 1.0, "") for n, values in known.items()}
        assert [t.number for t in study.ranked(fresh=False)] == numbers
        first = study.best(fresh=False)
        assert first is not None and first.number == best
    assert [t.number for t in study.front(fresh=False)] == [1, 2]


# joining and reading ----------------------------------------------------------------------------------------------


def test_a_search_goes_on_where_all_workers_stopped(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    told: list[Trial] = []
    first = work(open_study(path, plan()), load, accuracy, trials=10, on_trial=told.append)
    again = work(open_study(path, plan()), load, accuracy, trials=25, on_trial=told.append)
    done = work(open_study(path, plan()), load, accuracy, trials=25, on_trial=told.append)
    assert (first.trials, again.trials, done.trials) == (10, 15, 0)
    read = read_study(path)
    assert read.plan == plan()
    assert read.trials() == told
    assert [t.number for t in told] == list(range(25))
    assert read.best() == max(told, key=lambda t: (t.accuracy, -t.load))
    assert 0 <= done.share <= 1


def test_the_same_seed_searches_alike(tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        study = open_study(tmp_path / name, plan())
        work(study, load, accuracy, trials=30, seed=seed)
        runs.append([t.point for t in study.trials()])
    assert runs[0] == runs[1] != runs[2]


def test_the_time_is_over(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.log", plan())
    assert work(study, load, accuracy, trials=5, seconds=0).ended == "time"
    assert study.trials() == []
    assert study.best() is None


def test_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    open_study(path, plan())
    with pytest.raises(MisuseError, match=r"other settings: objective 'hard' there, 'front' here"):
        open_study(path, plan("front"))
    with pytest.raises(MisuseError, match=r"choice 'stage0' \[0, 1, 2, 3, 4, 5\] there, \[0, 1\] here"):
        open_study(path, plan(choices={**CHOICES, "stage0": (0, 1)}))
    open_study(path, plan("front"), name="another")


def test_an_evaluation_that_fails_gives_its_trial_back(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.log", plan())

    def stop(point: Point) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(study, load, stop, trials=5)
    with pytest.raises(MisuseError, match=r"gave 73.2: expected an accuracy from 0 to 1"):
        work(study, load, lambda p: 73.2, trials=5)
    assert study.trials() == []
    assert study.running == []
    assert work(study, load, lambda p: math.nan, trials=5).trials == 5
    assert {t.accuracy for t in study.trials()} == {0.0}


def test_a_line_that_a_dying_worker_left_half(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    work(open_study(path, plan()), load, accuracy, trials=3)
    whole = path.read_text()
    path.write_text(whole + whole.splitlines()[-1][:40])
    assert len(read_study(path).trials()) == 3
    work(open_study(path, plan()), load, accuracy, trials=6)
    assert len(read_study(path).trials()) == 6
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_places_that_hold_no_study(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="is a folder"):
        open_study(tmp_path, plan())
    with pytest.raises(MisuseError, match="there is no study at"):
        read_study(tmp_path / "none.log")
    for text in ("to do\nmore\n", "to do\n", "to do", '{"a": 1}\n'):
        (tmp_path / "notes.txt").write_text(text)
        with pytest.raises(MisuseError, match="is not the journal of a study"):
            open_study(tmp_path / "notes.txt", plan())
        assert (tmp_path / "notes.txt").read_text() == text  # it is the user's
    (tmp_path / "empty.log").touch()
    open_study(tmp_path / "empty.log", plan())
    (tmp_path / "torn.log").write_text('{"op_c')  # a worker that died in its first line
    open_study(tmp_path / "torn.log", plan())
    with pytest.raises(MisuseError, match=r"holds the study of another search\. To join it"):
        open_study(tmp_path / "torn.log", replace(plan(), search="another"))
    open_study(tmp_path / "study.log", plan(), name="one")
    with pytest.raises(MisuseError, match="holds no study 'two'"):
        read_study(tmp_path / "study.log", "two")


@pytest.mark.parametrize("exponent", [0.15, 0.0, math.nan, -math.inf])
def test_exponents_that_are_none(tmp_path: Path, exponent: float) -> None:
    with pytest.raises(MisuseError, match="a number below 0"):
        open_study(tmp_path / "study.log", replace(plan("reward"), exponent=exponent))


@pytest.mark.parametrize("choices", [{}, {"a": ()}, {"a": (1, 1)}, {"a": (1, True)}])
def test_spaces_that_are_none(tmp_path: Path, choices: Choices) -> None:
    with pytest.raises(MisuseError, match="search space"):
        open_study(tmp_path / "study.log", plan(choices=choices))


def test_an_unreachable_database_is_one_line() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StudyError) as caught:
        open_study("postgresql://owner:s3cret@127.0.0.1:1/db", plan())
    text = str(caught.value)
    assert "postgresql://127.0.0.1:1/db cannot be reached: " in text
    assert "\n" not in text
    assert "s3cret" not in text
    for address in ("postgresql://owner:s3cr@et@host:x/db", "mysql://owner:s3cret@host/db", "postgresql://s3cret@host"):
        with pytest.raises(MisuseError, match="expected postgresql://USER") as refused:
            open_study(address, plan())
        assert "s3cr" not in str(refused.value)
