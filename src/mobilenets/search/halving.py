"""Successive halving: many candidates for a short time, the better half for twice as long, until one is left.

Source: Jamieson and Talwalkar, arXiv:1502.07943, Algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rung(Generic[T]):
    """One candidate's result on one rung.

    Attributes:
        number: rung, from 1.
        candidate: what was tried.
        seconds: what it was given.
        score: what `evaluate` said; larger is better, and what is not a number is worst.
    """

    number: int
    candidate: T
    seconds: float
    score: float


def successive_halving(
    candidates: Sequence[T],
    evaluate: Callable[[T, float, int], float],
    *,
    seconds: float,
    on_rung: Callable[[Rung[T]], None] | None = None,
) -> tuple[T, list[Rung[T]]]:
    """The best candidate and every result.

    Each rung gets the same time in all, so a survivor gets about twice as long as on the rung before.

    Args:
        candidates: at least one.
        evaluate: (candidate, seconds, rung) -> score; it may go on from what it left on an earlier rung.
        seconds: for all rungs together.
        on_rung: told of each result.
    """
    alive = list(candidates)
    results: list[Rung[T]] = []
    rungs = max(1, math.ceil(math.log2(len(alive)))) if len(alive) > 1 else 0
    for number in range(1, rungs + 1):
        share = seconds / rungs / len(alive)
        scored = []
        for candidate in alive:
            result = Rung(number, candidate, share, evaluate(candidate, share, number))
            results.append(result)
            scored.append(result)
            if on_rung is not None:
                on_rung(result)
        scored.sort(key=lambda r: math.inf if math.isnan(r.score) else -r.score)
        alive = [r.candidate for r in scored[: math.ceil(len(alive) / 2)]]
    return alive[0], results
