"""Successive halving: who goes on, for how long, and who wins."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenets.search import Rung, successive_halving


def by_value(candidate: int, seconds: float, rung: int) -> float:
    return float(candidate)


def test_eight_candidates() -> None:
    told: list[Rung[int]] = []
    best, results = successive_halving([3, 1, 4, 0, 5, 7, 2, 6], by_value, seconds=24.0, on_rung=told.append)
    assert best == 7
    assert results == told
    alive = {n: [r.candidate for r in results if r.number == n] for n in (1, 2, 3)}
    assert {n: sorted(c) for n, c in alive.items()} == {1: list(range(8)), 2: [4, 5, 6, 7], 3: [6, 7]}
    assert [r.seconds for r in results] == [1.0] * 8 + [2.0] * 4 + [4.0] * 2


def test_what_is_told_is_what_was_evaluated() -> None:
    asked: list[tuple[str, float, int]] = []

    def evaluate(candidate: str, seconds: float, rung: int) -> float:
        asked.append((candidate, seconds, rung))
        return len(candidate) / rung

    _, results = successive_halving(["a", "bbb", "cc"], evaluate, seconds=6.0)
    assert [(r.candidate, r.seconds, r.number) for r in results] == asked
    assert [r.score for r in results] == [1.0, 3.0, 2.0, 1.5, 1.0]


def test_the_last_rung_decides() -> None:
    best, _ = successive_halving([1, 2, 3, 4], lambda c, _, rung: c if rung == 1 else -c, seconds=1.0)
    assert best == 3


def test_one_candidate_wins_unevaluated() -> None:
    def never(candidate: str, seconds: float, rung: int) -> float:
        raise AssertionError("nothing is to be decided")

    assert successive_halving(["only"], never, seconds=9.0) == ("only", [])


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3), (2, 3, 1)])
def test_a_score_that_is_not_a_number_loses(order: tuple[int, ...]) -> None:
    best, _ = successive_halving(order, lambda c, *_: math.nan if c == 2 else float(c), seconds=1.0)
    assert best == 3


def test_of_equals_the_first_wins() -> None:
    assert successive_halving(["a", "b", "c"], lambda *_: 1.0, seconds=1.0)[0] == "a"


@given(st.integers(1, 40).flatmap(lambda n: st.permutations(range(n))), st.floats(0.1, 1e4))
def test_laws(candidates: list[int], seconds: float) -> None:
    best, results = successive_halving(candidates, by_value, seconds=seconds)
    assert best == max(candidates)
    sizes = Counter(r.number for r in results)
    rungs = len(sizes)
    assert rungs == (math.ceil(math.log2(len(candidates))) if len(candidates) > 1 else 0)
    for number, size in sizes.items():
        spent = sum(r.seconds for r in results if r.number == number)
        assert math.isclose(spent, seconds / rungs)
        assert sizes.get(number + 1, 1) == math.ceil(size / 2)
    assert math.isclose(sum(r.seconds for r in results), seconds if rungs else 0.0)
