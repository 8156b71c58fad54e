"""Which candidates are within the budget that was asked for, which NetAdapt can bring there, which are lighter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mobilenets.costs import Budget, sizes
from mobilenets.errors import MisuseError
from mobilenets.fitting.candidates import GONE, Candidate
from mobilenets.latency import Latency
from mobilenets.precision import Precision
from mobilenets.search import dimensions
from mobilenets.search.timing import within

Meets = Callable[[Candidate], bool]


def meets(candidate: Candidate, budget: Budget, precision: Precision) -> bool:
    """Whether a candidate is within a budget as it is, by what is known before training."""
    return budget.load(sizes(candidate.network, precision), candidate.latency_ms) <= 1.0


def narrowable(candidate: Candidate, fits: Meets) -> Candidate:
    """The candidate; out where it does not fit and NetAdapt cannot make it narrower."""
    if candidate.status in GONE or fits(candidate):
        return candidate
    try:
        dimensions(candidate.network)
    except MisuseError as error:
        return replace(candidate, status="slow", reason=f"over the budget, and not to be made narrower: {error}")
    return candidate


def lighter(fits: Meets, budget: Budget, shipped: Candidate, latency: Latency, file_bytes: int) -> Meets:
    """Which candidates fit, and are clearly faster or smaller than a file that was over the budget."""
    slow = not within(replace(budget, file_bytes=None), latency, file_bytes)
    large = not within(replace(budget, latency_ms=None), latency, file_bytes)
    return lambda c: (
        fits(c)
        and not (slow and c.latency_ms >= 0.9 * shipped.latency_ms)
        and not (large and c.file_bytes >= shipped.file_bytes)
    )


def over(budget: Budget, shipped: Candidate, latency: Latency, file_bytes: int) -> str:
    """A file that is over the budget, in words."""
    return (
        f"{shipped.label} takes {latency.median_ms:.2f} ms and {file_bytes / 1e6:.2f} MB, over {budget.text}. Was "
        "another program running?"
    )
