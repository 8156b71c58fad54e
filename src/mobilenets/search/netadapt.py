"""NetAdapt (arXiv 1804.03230), as MobileNetV3 uses it (arXiv 1905.02244, section 4.2): narrower step by step.

Each step proposes, for every width that can give, the largest network that cuts the cost by enough; the proposals are
scored, and one is kept. What a network costs and how it is scored are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mobilenets.search.widths import Dimension, narrower
from mobilenets.table.rows import Network

Rule = Literal["ratio", "accuracy"]
"""How the best proposal is found: V3's ratio of accuracy change to latency change, or NetAdapt's highest accuracy."""

Cost = Callable[[Network], float]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One width that gives.

    Attributes:
        dimension: which.
        before: its channels before.
        after: its channels in the proposal.
        network: the proposal.
        cost: of the proposal, in the unit of the cost function.
    """

    dimension: Dimension
    before: int
    after: int
    network: Network
    cost: float


@dataclass(frozen=True, slots=True)
class Step:
    """A step: what was proposed, how it scored, what is kept.

    Attributes:
        number: from 1.
        cost: of the network before.
        score: of the network before.
        proposals: of every width that could give enough.
        scores: of each.
        kept: index of the one that is kept.
    """

    number: int
    cost: float
    score: float
    proposals: tuple[Proposal, ...]
    scores: tuple[float, ...]
    kept: int

    @property
    def proposal(self) -> Proposal:
        """The one that is kept."""
        return self.proposals[self.kept]


def proposals(network: Network, ways: Sequence[Dimension], cost: Cost, *, cut: float, divisor: int) -> list[Proposal]:
    """For each width the largest network whose cost is lower by at least `cut`; nothing where it cannot give so much.

    Args:
        network: the network before.
        ways: its widths.
        cost: of a network.
        cut: in the unit of the cost.
        divisor: widths are multiples of it.
    """
    most = cost(network) - cut
    found = []
    for way in ways:
        for width, narrow in narrower(network, way, divisor):
            if (costs := cost(narrow)) <= most + 1e-12:
                found.append(Proposal(way, way.width(network), width, narrow, costs))
                break
    return found


def able(network: Network, ways: Sequence[Dimension], cost: Cost, *, cut: float, divisor: int) -> int:
    """How many widths can cut the cost by so much."""
    most = cost(network) - cut
    ends = (next(narrower(network, way, divisor, narrowest_first=True), None) for way in ways)
    return sum(end is not None and cost(end[1]) <= most + 1e-12 for end in ends)


def best(
    offered: Sequence[Proposal], scores: Sequence[float], *, cost: float, score: float, rule: Rule = "ratio"
) -> int:
    """Index of the proposal to keep; of equals the first, and a score that is not a number is the worst.

    Args:
        offered: at least one.
        scores: of each after its short fine-tuning.
        cost: of the network before.
        score: of the network before.
        rule: `ratio`: the largest (score change) / |cost change|, which is V3's; `accuracy`: the highest score.
    """

    def worth(i: int) -> float:
        value = scores[i] if rule == "accuracy" else (scores[i] - score) / abs(cost - offered[i].cost)
        return -math.inf if math.isnan(value) else value

    return max(range(len(offered)), key=worth)


def netadapt(
    start: Network,
    score: float,
    ways: Sequence[Dimension],
    *,
    cost: Cost,
    cut: Callable[[Network], float],
    evaluate: Callable[[Proposal, int], float],
    met: Callable[[Network], bool],
    divisor: int,
    rule: Rule = "ratio",
    first: int = 1,
) -> Iterator[Step]:
    """Steps until the budget is met or nothing can give any more; each is given out before the next begins.

    Args:
        start: the network to begin with.
        score: of it.
        ways: the widths that can give: `dimensions` of the network that all began with, also where a run goes on.
        cost: of a network; it may learn between two steps what predictions are worth.
        cut: from the present network to the least that a step takes off its cost.
        evaluate: (proposal, step's number) -> score after a short fine-tuning; larger is better.
        met: whether a network is within the budget.
        divisor: widths are multiples of it.
        rule: see `best`.
        first: number of the first step.
    """
    network, number = start, first
    while not met(network):
        before = cost(network)
        offered = proposals(network, ways, cost, cut=cut(network), divisor=divisor)
        if not offered:
            return
        scores = [evaluate(proposal, number) for proposal in offered]
        kept = best(offered, scores, cost=before, score=score, rule=rule)
        step = Step(number, before, score, tuple(offered), tuple(scores), kept)
        yield step
        network, score, number = step.proposal.network, scores[kept], number + 1
