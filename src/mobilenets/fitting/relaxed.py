"""The larger budget under which a network is chosen where NetAdapt makes it narrower afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mobilenets.costs import Budget
from mobilenets.errors import BudgetUnmetError
from mobilenets.fitting.state import Effort

RELAXED = 1.25
"""With NetAdapt the budget under which a network is chosen and trained is so many times the user's."""


def relaxed(budget: Budget, effort: Effort) -> Budget:
    """What a network must meet before NetAdapt, where that comes after."""
    return budget if effort == "low" else budget.times(RELAXED)


@contextlib.contextmanager
def relaxing(effort: Effort) -> Iterator[None]:
    """An unmet budget is told as what it is: not the user's, where NetAdapt comes after."""
    try:
        yield
    except BudgetUnmetError as error:
        if effort == "low":
            raise
        raise BudgetUnmetError(
            f"NetAdapt begins with a network of up to {RELAXED:g} times the budget, and {error} That is of the larger "
            f"budget: divided by {RELAXED:g} it is enough."
        ) from error
