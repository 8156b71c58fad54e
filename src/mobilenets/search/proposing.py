"""A new point that fits: the searcher is asked again, then its proposal is mutated. Nothing is evaluated or stored."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Container, Mapping

from mobilenets.errors import BudgetUnmetError, MisuseError
from mobilenets.search.points import Choices, Key, Point, Value, every, key, mutated, neighbours, size

MUTATIONS = 4000  # in a row that bring nothing: a few seconds of pricing
LISTED = 20_000  # a space up to this size is gone through, point by point


class Prices:
    """What points cost, each asked for once.

    Attributes:
        least: the smallest load met so far.
        most: the largest load that is still evaluated.
        budget: the budget in words, for messages.
        canonical: a point to the one that stands for all points of the same network.
    """

    def __init__(
        self, load: Callable[[Point], float], most: float, budget: str, canonical: Callable[[Point], Point] = dict
    ) -> None:
        self.least = math.inf
        self.most = most
        self.budget = budget
        self.canonical = canonical
        self._load = load
        self._known: dict[Key, float] = {}

    def load(self, point: Mapping[str, Value]) -> float:
        """Cost over budget; infinite for what is no network."""
        address = key(point)
        if address not in self._known:
            try:
                load = self._load(dict(point))
            except MisuseError:
                load = math.inf
            self._known[address] = load
            self.least = min(self.least, load)
        return self._known[address]

    def fits(self, point: Mapping[str, Value]) -> bool:
        """Whether the point may be evaluated at all."""
        return self.load(point) <= self.most


def new_point(
    ask: Callable[[], Point],
    choices: Choices,
    prices: Prices,
    known: Container[Key],
    rng: random.Random,
    *,
    asks: int,
) -> Point | None:
    """A point that fits and is not known; None where none is left.

    The searcher is asked up to `asks` times. Then its lightest proposal is mutated, at first in one choice, in more
    the longer nothing is found; while it does not fit, a lighter mutant takes its place.

    Raises:
        BudgetUnmetError: nothing fits, as far as was seen.
    """
    base: Point | None = None
    for _ in range(asks):
        point = prices.canonical(ask())
        if _is_new(point, prices, known):
            return point
        if base is None or (not prices.fits(base) and prices.load(point) < prices.load(base)):
            base = point
    assert base is not None
    found = _mutant(base, choices, prices, known, rng) or _listed(choices, prices, known, rng)
    if found is None and prices.least > prices.most:
        raise BudgetUnmetError(_nothing_fits(prices))
    return found


def _is_new(point: Point, prices: Prices, known: Container[Key]) -> bool:
    return key(point) not in known and prices.fits(point)


def _mutant(base: Point, choices: Choices, prices: Prices, known: Container[Key], rng: random.Random) -> Point | None:
    step = max(1, neighbours(choices))
    in_vain = 0
    while in_vain < min(MUTATIONS, step * len(choices)):
        child = prices.canonical(mutated(base, choices, rng, times=1 + in_vain // step))
        if _is_new(child, prices, known):
            return child
        in_vain += 1
        if not prices.fits(base) and prices.load(child) < prices.load(base):
            base, in_vain = child, 0
    return None


def _listed(choices: Choices, prices: Prices, known: Container[Key], rng: random.Random) -> Point | None:
    if size(choices) > LISTED:
        return None
    points = {key(point): point for point in map(prices.canonical, every(choices))}
    left = [point for point in points.values() if _is_new(point, prices, known)]
    return rng.choice(left) if left else None


def _nothing_fits(prices: Prices) -> str:
    budget = f" {prices.budget}" if prices.budget else ""
    if math.isinf(prices.least):
        return f"no point of the search space is a network that can be priced for the budget{budget}: widen the space."
    allowed = "" if prices.most == 1 else f" (up to {prices.most:g} times it is evaluated)"
    return (
        f"no network of the search space fits the budget{budget}{allowed}: the lightest that was found takes "
        f"{prices.least:.2f} times the budget. Raise the budget to that, or widen the space downwards."
    )
