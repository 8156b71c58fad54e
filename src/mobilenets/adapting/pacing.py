"""How large a step of NetAdapt is: as small as asked for, larger where there is no time for so many."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from mobilenets.search.timing import steps_left

LEAST_CHOICE = 4
"""Widths that a step must be able to choose among, where delta allows it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The next step, and what it says of those to come.

    Attributes:
        cut: what it takes off the load, which is 1 at the budget.
        steps: of this size, to the budget.
        proposals: that it can choose among.
        seconds: that all these steps take.
    """

    cut: float
    steps: int
    proposals: int
    seconds: float


def pace_of(load: float, least: float, left_s: float, *, network_s: float, count_of: Callable[[float], int]) -> Pace:
    """The smallest step, from `least` on, of which there is time for enough.

    Args:
        load: of the present network; above 1.
        least: what a step takes off, at least.
        left_s: seconds for all steps; none may be left.
        network_s: seconds for each network of a step, at least: its proposals, and the one before them.
        count_of: how many widths can give a cut; fewer for larger ones.
    """

    def cut_of(steps: int) -> float:
        return max(least, (load - 1) / steps)

    def needs_s(steps: int, count: int) -> float:
        return steps * (1 + max(1, count)) * network_s

    def too_many(steps: int) -> bool:
        return needs_s(steps, count_of(cut_of(steps))) > left_s

    cut = cut_of(max(1, bisect_left(range(1, steps_left(load, least) + 1), True, key=too_many)))
    count = count_of(cut)
    while (count < LEAST_CHOICE and cut > least) or (count == 0 and cut > least / 64):
        cut /= 2  # no choice is no search: rather over the time, or, where nothing else is left, below delta
        count = count_of(cut)
    steps = steps_left(load, cut)
    return Pace(cut, steps, max(1, count), needs_s(steps, count))
