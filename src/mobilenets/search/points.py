"""Points of a search space: one value of every choice. What a point stands for is for others to know."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping

from mobilenets.errors import MisuseError

Value = int | float | str | bool
Point = dict[str, Value]
Choices = Mapping[str, tuple[Value, ...]]
Key = tuple[tuple[str, Value], ...]


def check_choices(choices: Choices) -> None:
    """Every choice has a value, and no value twice.

    Raises:
        MisuseError: it is not so, or there is no choice at all.
    """
    if not choices:
        raise MisuseError(
            "the search space has no choices: expected names with their values, as {'kernel': (3, 5, 7)}."
        )
    for name, values in choices.items():
        if not values:
            raise MisuseError(f"the choice {name!r} of the search space has no values.")
        if len(set(values)) < len(values):
            raise MisuseError(f"the choice {name!r} of the search space has a value twice: {values}.")


def key(point: Mapping[str, Value]) -> Key:
    """What equal points share, whatever the order of their names."""
    return tuple(sorted(point.items()))


def size(choices: Choices) -> int:
    """How many points a space has."""
    return math.prod(len(values) for values in choices.values())


def every(choices: Choices) -> Iterator[Point]:
    """All points of a space."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def neighbours(choices: Choices) -> int:
    """How many points differ from a point in exactly one choice."""
    return sum(len(values) - 1 for values in choices.values())


def mutated(point: Mapping[str, Value], choices: Choices, rng: random.Random, times: int = 1) -> Point:
    """The point with another value in one choice, `times` in turn; all choices are equally likely."""
    child = dict(point)
    open_choices = [name for name, values in choices.items() if len(values) > 1]
    for _ in range(times if open_choices else 0):
        name = rng.choice(open_choices)
        child[name] = rng.choice([value for value in choices[name] if value != child[name]])
    return child
