"""Rewards and fronts, by hand."""

from __future__ import annotations

import random

import pytest

from mobilenets.errors import MisuseError
from mobilenets.search import dominates, pareto_front, reward
from mobilenets.search.evolution import fittest
from mobilenets.search.reward import MNASNET, V3_SMALL


@pytest.mark.parametrize(
    ("accuracy", "load", "exponent", "expected"),
    [
        (0.75, 1.0, MNASNET, 0.75),
        (0.75, 2.0, MNASNET, 0.75 * 0.952638),  # 2^-0.07: twice the latency is worth 5 % of the accuracy
        (0.75, 0.5, MNASNET, 0.75 * 1.049717),
        (0.6, 2.0, V3_SMALL, 0.6 * 0.901250),
        (0.5, 4.0, -0.5, 0.25),
        (0.5, 4.0, -1.0, 0.125),
        (0.0, 0.1, MNASNET, 0.0),
    ],
)
def test_mnasnets_reward(accuracy: float, load: float, exponent: float, expected: float) -> None:
    assert reward(accuracy, load, exponent) == pytest.approx(expected, rel=1e-5)


def test_small_networks_pay_more_for_latency() -> None:
    # MobileNetV3, section 4.1: the same five points of accuracy, for twice the latency, are not worth it any more
    fast, slow = (0.60, 1.0), (0.65, 2.0)
    assert reward(*slow, MNASNET) > reward(*fast, MNASNET)
    assert reward(*slow, V3_SMALL) < reward(*fast, V3_SMALL)


@pytest.mark.parametrize("load", [0.0, -1.0, float("nan")])
def test_a_load_that_is_none(load: float) -> None:
    with pytest.raises(MisuseError, match="above 0"):
        reward(0.5, load)


def test_dominance() -> None:
    assert dominates((0.8, -1.0), (0.7, -1.0))
    assert dominates((0.8, -0.9), (0.8, -1.0))
    assert not dominates((0.8, -1.0), (0.8, -1.0))
    assert not dominates((0.8, -1.1), (0.7, -1.0))


def test_a_front_is_what_nothing_dominates() -> None:
    points = [(0.9, 2.0), (0.7, 1.0), (0.8, 1.0), (0.8, 1.5), (0.5, 0.5), (0.5, 0.5), (0.4, 0.6)]
    front = pareto_front(points, lambda p: p)
    assert front == [(0.5, 0.5), (0.5, 0.5), (0.8, 1.0), (0.9, 2.0)]
    scores = [(accuracy, -load) for accuracy, load in points]
    assert [p for p, s in zip(points, scores, strict=True) if not any(dominates(other, s) for other in scores)] == [
        (0.9, 2.0), (0.8, 1.0), (0.5, 0.5), (0.5, 0.5),
    ]  # fmt: skip


def test_the_fittest_of_a_sample() -> None:
    rng = random.Random(1)
    assert fittest([[0.1], [0.9], [0.5]], rng) == 1
    assert {fittest([[0.9, -2.0], [0.5, -1.0], [0.5, -2.0]], rng) for _ in range(50)} == {0, 1}
