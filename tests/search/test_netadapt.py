"""NetAdapt's proposals and rule, against cases worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest

from making import TOY
from mobilenets.costs import cost
from mobilenets.search import Dimension, Proposal, Step, able, best, dimensions, narrowest, netadapt, proposals
from mobilenets.search.widths import Place
from mobilenets.table.rows import Act, Bottleneck, Conv, Linear, Network, Pool

ROWS = (
    Conv(3, 8, Act.RELU, 2),
    Bottleneck(3, 32, 16, False, Act.RELU, 2),
    Bottleneck(3, 64, 16, False, Act.RELU, 1),
    Conv(1, 40, Act.RELU, 1),
    Pool(),
    Linear(3),
)
NET = Network("hand", paper="none", resolution=32, rows=ROWS)
BY_LABEL = {way.label: way for way in dimensions(NET)}


def channels(network: Network) -> float:
    """A cost that a person can add up: expansions and outputs."""
    return float(sum(getattr(row, "expand", 0) + getattr(row, "out", 0) for row in network.rows))


def offered(network: Network, cut: float, divisor: int) -> dict[str, tuple[int, int, float]]:
    found = proposals(network, dimensions(network), channels, cut=cut, divisor=divisor)
    return {p.dimension.label: (p.before, p.after, p.cost) for p in found}


def test_each_proposal_is_the_largest_that_cuts_enough() -> None:
    # 8 + (32 + 16) + (64 + 16) + 40 + 3 = 179
    assert channels(NET) == 179
    assert offered(NET, cut=8.0, divisor=8) == {
        # the stem at 8 has nothing to give in steps of 8
        "expansion of row 2": (32, 24, 171.0),
        # both outputs go at once: one step of 8 takes 16 off
        "bottleneck of rows 2, 3": (16, 8, 163.0),
        "expansion of row 3": (64, 56, 171.0),
        "layer of row 4": (40, 32, 171.0),
    }


def test_more_is_cut_in_whole_steps() -> None:
    # 10 channels off, in steps of 4: 12; of the shared width 5 each, so 8
    found = offered(NET, cut=10.0, divisor=4)
    assert found["expansion of row 2"] == (32, 20, 167.0)
    assert found["bottleneck of rows 2, 3"] == (16, 8, 163.0)
    assert "layer of row 1" not in found  # 8 channels have no 10 to give


def test_widths_off_the_multiples_go_to_the_next_one() -> None:
    # 40 is no multiple of 16: the next one below is 32, and 32 - 8 = 24 is none
    assert offered(NET, cut=1.0, divisor=16)["layer of row 4"] == (40, 32, 171.0)
    assert offered(NET, cut=9.0, divisor=16)["layer of row 4"] == (40, 16, 155.0)


def test_nobody_proposes_what_nobody_can_give() -> None:
    assert offered(NET, cut=60.0, divisor=8) == {}


def test_who_is_able() -> None:
    # row 2 gives 32 - 16 (8 is its input's width), row 3 64 - 8, the shared width 2 x 8, row 4 40 - 8
    counts = {cut: able(NET, dimensions(NET), channels, cut=cut, divisor=8) for cut in (1, 16, 17, 32, 33, 56, 57)}
    assert counts == {1: 4, 16: 4, 17: 2, 32: 2, 33: 1, 56: 1, 57: 0}


def made(index: int, cost: float) -> Proposal:
    way = Dimension("layer", (Place(index, "out"),))
    return Proposal(way, 8, 4, NET, cost)


HAND = [made(0, 9.0), made(1, 8.0), made(2, 6.0)]
"""From a cost of 10: 1, 2 and 4 off."""


@pytest.mark.parametrize(
    ("scores", "ratio", "accuracy"),
    [
        # -0.02 / 1 = -0.02; -0.03 / 2 = -0.015; -0.07 / 4 = -0.0175
        ((0.78, 0.77, 0.73), 1, 0),
        # gains: 0.01 / 1, 0.015 / 2, 0.03 / 4: most per cost is the first, the highest score is the last
        ((0.81, 0.815, 0.83), 0, 2),
        # equal ratios of -0.01: the first
        ((0.79, 0.78, 0.76), 0, 0),
        ((math.nan, 0.5, math.nan), 1, 1),
    ],
)
def test_rules(scores: tuple[float, ...], ratio: int, accuracy: int) -> None:
    assert best(HAND, scores, cost=10.0, score=0.8) == ratio
    assert best(HAND, scores, cost=10.0, score=0.8, rule="accuracy") == accuracy


def steps(limit: float, evaluate: Callable[[Proposal, int], float]) -> Iterator[Step]:
    return netadapt(
        NET, 1.0, dimensions(NET), cost=channels, cut=lambda _: 8.0, evaluate=evaluate,
        met=lambda n: channels(n) <= limit, divisor=8,
    )  # fmt: skip


def walk(limit: float, evaluate: Callable[[Proposal, int], float]) -> list[tuple[str, int, float]]:
    return [(s.proposal.dimension.label, s.proposal.after, s.proposal.cost) for s in steps(limit, evaluate)]


def test_the_loop_goes_down_to_the_budget() -> None:
    # nothing costs accuracy but the shared width: the first of equals gives, until it has no more
    told = walk(150.0, lambda p, _: 0.5 if p.dimension.kind == "bottleneck" else 1.0)
    assert told == [
        ("expansion of row 2", 24, 171.0),
        ("expansion of row 2", 16, 163.0),
        # 8 would be the input's width, and the expansion convolution would go
        ("expansion of row 3", 56, 155.0),
        ("expansion of row 3", 48, 147.0),
    ]


def test_the_ratio_prefers_what_costs_more_where_accuracy_is_the_same() -> None:
    # every proposal loses 0.1: the shared width takes 16 off for it, the others 8
    scores = {0: 1.0}

    def evaluate(proposal: Proposal, number: int) -> float:
        scores[number] = scores[number - 1] - 0.1 if number - 1 in scores else 0.0
        return scores[number]

    assert walk(170.0, evaluate) == [("bottleneck of rows 2, 3", 8, 163.0)]


def test_a_budget_that_is_met_takes_no_step() -> None:
    assert walk(179.0, lambda *_: pytest.fail("nothing is to be evaluated")) == []


def test_the_loop_ends_where_nothing_can_give() -> None:
    end = [step.proposal.network for step in steps(1.0, lambda *_: 1.0)][-1]
    assert channels(end) > 1.0
    assert offered(NET, 8.0, 8) and not offered(end, 8.0, 8)  # the start could, its end cannot
    # rows 2 and 3 keep an expansion above their inputs' 8, the shared width and row 4 go to 8
    assert end == narrowest(NET, 8) and channels(end) == 8 + (16 + 8) + (16 + 8) + 8 + 3


def test_proposals_by_a_real_cost() -> None:
    """Proposals are tables of their own, and all are cheaper."""
    found = proposals(TOY, dimensions(TOY), lambda n: float(cost(n).macs), cut=1.0, divisor=4)
    assert found and all(cost(p.network).macs < cost(TOY).macs for p in found)
    assert all(p.network.name == "toy_netadapt" for p in found)
