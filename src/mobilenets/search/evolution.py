"""Regularized evolution, which Optuna lacks.

Source: regularized evolution, Real et al., arXiv:1802.01548, algorithm 1.
"""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Sequence
from operator import itemgetter

from mobilenets.search.points import Choices, Point, mutated
from mobilenets.search.reward import dominates


class RegularizedEvolution:
    """The population is the last P completed trials: the oldest dies, however good.

    Age goes by the trials' numbers, which the storage gives: clocks of machines differ.

    Args:
        choices: of the space.
        population: P. Until there are so many, points are drawn at random.
        sample: S, how many of the population compete to be the parent.
    """

    def __init__(self, choices: Choices, *, population: int, sample: int) -> None:
        self._choices = choices
        self._population = population
        self._sample = sample
        self._alive: list[tuple[int, Point, tuple[float, ...]]] = []

    def learn(self, number: int, point: Point, scores: Sequence[float]) -> None:
        """A trial is complete; of its scores larger is better."""
        insort(self._alive, (number, point, tuple(scores)), key=itemgetter(0))
        del self._alive[: -self._population]

    def ask(self, rng: random.Random) -> Point:
        """The best of a sample, mutated in one choice."""
        if len(self._alive) < self._population:
            return {name: rng.choice(values) for name, values in self._choices.items()}
        sample = rng.sample(self._alive, min(self._sample, len(self._alive)))
        parent = sample[fittest([scores for _, _, scores in sample], rng)]
        return mutated(parent[1], self._choices, rng)


def fittest(scores: Sequence[Sequence[float]], rng: random.Random) -> int:
    """The place of the best score; among several that no other dominates, one at random.

    Args:
        scores: per candidate one value for each objective, larger is better.
        rng: breaks ties.
    """
    best = [place for place, score in enumerate(scores) if not any(dominates(other, score) for other in scores)]
    return rng.choice(best)
