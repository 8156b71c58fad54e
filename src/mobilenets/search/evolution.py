"""Who is the parent: a tournament among scores of one or several objectives.

Source: regularized evolution, Real et al., arXiv:1802.01548, algorithm 1.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from mobilenets.search.reward import dominates


def fittest(scores: Sequence[Sequence[float]], rng: random.Random) -> int:
    """The place of the best score; among several that no other dominates, one at random.

    Args:
        scores: per candidate one value for each objective, larger is better.
        rng: breaks ties.
    """
    best = [place for place, score in enumerate(scores) if not any(dominates(other, score) for other in scores)]
    return rng.choice(best)
