"""What a search makes large: accuracy, weighed against the load, the cost over the budget (1 is exactly at the budget).

Source: MnasNet, arXiv:1807.11626, section 3.1, equations 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

from mobilenets.errors import MisuseError

Objective = Literal["reward", "hard", "front"]

MNASNET = -0.07  # 5 % of accuracy for twice the speed
V3_SMALL = -0.15  # small networks: accuracy moves more with latency (MobileNetV3, section 4.1)

T = TypeVar("T")


def reward(accuracy: float, load: float, exponent: float = MNASNET) -> float:
    """ACC x (LAT / TAR)^w, the soft form of equation 2: one exponent below and above the budget.

    Args:
        accuracy: 0 to 1.
        load: cost over budget, above 0.
        exponent: w, negative.

    Raises:
        MisuseError: the load is not above 0.
    """
    if not load > 0:
        raise MisuseError(f"a load of {load} has no reward: expected a cost over its budget, above 0.")
    return accuracy * math.pow(load, exponent)


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a is nowhere worse than b and somewhere better, where larger is better."""
    return tuple(a) != tuple(b) and all(x >= y for x, y in zip(a, b, strict=True))


def pareto_front(candidates: Iterable[T], measure: Callable[[T], tuple[float, float]]) -> list[T]:
    """The candidates that no other dominates, lightest first; of equals, all.

    Args:
        candidates: of any kind.
        measure: a candidate's (accuracy, load).
    """
    ordered = sorted(candidates, key=lambda c: (measure(c)[1], -measure(c)[0]))
    front: list[T] = []
    for candidate in ordered:
        if not front or measure(candidate)[0] > measure(front[-1])[0] or measure(candidate) == measure(front[-1]):
            front.append(candidate)
    return front


def values(objective: Objective, accuracy: float, load: float, exponent: float) -> Sequence[float]:
    """What a searcher is told of a point that was evaluated."""
    match objective:
        case "reward":
            return (reward(accuracy, load, exponent),)
        case "hard":
            return (accuracy,)
        case "front":
            return (accuracy, load)
