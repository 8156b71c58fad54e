"""NetAdapt (arXiv 1804.03230), as MobileNetV3 uses it (arXiv 1905.02244, section 4.2): narrower step by step.

Each step proposes, for every width that can give, the largest network that cuts the cost by enough; the proposals are
scored, and one is kept. What a network costs and how it is scored are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mobilenets.search.widths import Dimension, narrower
from mobilenets.table.rows import Network

Rule = Literal["ratio", "accuracy"]
"""How the best proposal is found: V3's ratio of accuracy change to latency change, or NetAdapt's highest accuracy."""

Cost = Callable[[Network], float]
Timed = Callable[[Sequence[Network]], Sequence[float]]
REAL = 0.5
"""Part of the cut asked for that a proposal must be measured to give: what gives less gained nothing but noise."""


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
        score: of the network before, after the same short fine-tuning.
        proposals: of every width that could give enough.
        scores: of each.
        kept: index of the one that is kept.
        measured: costs by measurement, by index, of those that were worth it.
        measured_before: that of the network before, measured with them.
    """

    number: int
    cost: float
    score: float
    proposals: tuple[Proposal, ...]
    scores: tuple[float, ...]
    kept: int
    measured: Mapping[int, float] = field(default_factory=dict)
    measured_before: float | None = None

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


def ranked(
    offered: Sequence[Proposal], scores: Sequence[float], *, cost: float, score: float, rule: Rule = "ratio"
) -> list[int]:
    """Indices of the proposals, the one to keep first; of equals the first, a score that is not a number is the worst.

    Args:
        offered: at least one.
        scores: of each after its short fine-tuning.
        cost: of the network before.
        score: of the network before, after the same fine-tuning.
        rule: `ratio`: the largest (score change) / |cost change|, which is V3's; `accuracy`: the highest score.
    """

    def worth(i: int) -> float:
        value = scores[i] if rule == "accuracy" else (scores[i] - score) / abs(cost - offered[i].cost)
        return -math.inf if math.isnan(value) else value

    return sorted(range(len(offered)), key=worth, reverse=True)


def netadapt(
    start: Network,
    ways: Sequence[Dimension],
    *,
    cost: Cost,
    cut: Callable[[Network], float],
    evaluate: Callable[[Network, int], float],
    met: Callable[[Network], bool],
    divisor: int,
    rule: Rule = "ratio",
    first: int = 1,
    timed: Timed | None = None,
    most_timed: Callable[[], int] = lambda: 0,
) -> Iterator[Step]:
    """Steps until the budget is met or nothing can give any more; each is given out before the next begins.

    The network before is fine-tuned as its proposals are, and scored first: a change is what the width made, not what
    the fine-tuning did. Tables err by as much as a step takes off, so the cuts of the best proposals are measured
    where that is possible, and the rule is asked again with those.

    Args:
        start: the network to begin with.
        ways: the widths that can give: `dimensions` of the network that all began with, also where a run goes on.
        cost: of a network; it may learn between two steps what predictions are worth.
        cut: from the present network to the least that a step takes off its cost.
        evaluate: (network, step's number) -> score after a short fine-tuning; larger is better. The network before
            comes first, then its proposals in their order.
        met: whether a network is within the budget.
        divisor: widths are multiples of it.
        rule: see `ranked`.
        first: number of the first step.
        timed: costs of networks by measurement, all taken together; None where the cost is counted.
        most_timed: how many of a step's proposals are worth that now.
    """
    network, number = start, first
    while not met(network):
        before = cost(network)
        wanted = cut(network)
        offered = proposals(network, ways, cost, cut=wanted, divisor=divisor)
        if not offered:
            return
        score = evaluate(network, number)
        scores = [evaluate(proposal.network, number) for proposal in offered]
        order = ranked(offered, scores, cost=before, score=score, rule=rule)
        step = Step(number, before, score, tuple(offered), tuple(scores), order[0])
        if timed is not None and (chosen := order[: most_timed()]):
            step = _measured(step, chosen, timed([network, *(offered[i].network for i in chosen)]), wanted, rule)
        yield step
        network, number = step.proposal.network, number + 1


def _measured(step: Step, chosen: Sequence[int], costs: Sequence[float], wanted: float, rule: Rule) -> Step:
    """The step decided by measured cuts, among the proposals that really give enough, if there are any."""
    before, measured = costs[0], dict(zip(chosen, costs[1:], strict=True))
    real = [i for i in chosen if before - measured[i] >= REAL * wanted] or [min(chosen, key=measured.__getitem__)]
    among = [replace(step.proposals[i], cost=measured[i]) for i in real]
    first = ranked(among, [step.scores[i] for i in real], cost=before, score=step.score, rule=rule)[0]
    return replace(step, kept=real[first], measured=measured, measured_before=before)
