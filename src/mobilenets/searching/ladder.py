"""The rungs of evaluation, each dearer and truer than the one before, and how well one foretells the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rung = Literal["shared", "proxy", "full"]
RUNGS: tuple[Rung, ...] = ("shared", "proxy", "full")
"""Weights shared by the whole space; a few minutes of training from them; a full training."""


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Rank correlation of two rows of scores, equal scores sharing their mean rank; None below three or without order.

    Source: Spearman, 1904; the correlation of the ranks.
    """
    if len(one) < 3:
        return None
    ranks = np.array([_ranks(np.asarray(values, np.float64)) for values in (one, other)])
    if (ranks.std(1) == 0).any():
        return None
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[places])
