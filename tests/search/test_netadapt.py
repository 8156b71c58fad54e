"""NetAdapt's proposals and rule, against cases worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import pytest

from making import TOY
from mobilenets.costs import cost
from mobilenets.search import Dimension, Proposal, Step, able, dimensions, narrowest, netadapt, proposals, ranked
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
    assert ranked(HAND, scores, cost=10.0, score=0.8)[0] == ratio
    assert ranked(HAND, scores, cost=10.0, score=0.8, rule="accuracy")[0] == accuracy


def steps(limit: float, evaluate: Callable[[Network, int], float]) -> Iterator[Step]:
    return netadapt(
        NET, dimensions(NET), cost=channels, cut=lambda _: 8.0, evaluate=evaluate,
        met=lambda n: channels(n) <= limit, divisor=8,
    )  # fmt: skip


def walk(limit: float, evaluate: Callable[[Network, int], float]) -> list[tuple[str, int, float]]:
    return [(s.proposal.dimension.label, s.proposal.after, s.proposal.cost) for s in steps(limit, evaluate)]


def test_the_loop_goes_down_to_the_budget() -> None:
    # nothing costs accuracy but the shared width: the first of equals gives, until it has no more
    shared = BY_LABEL["bottleneck of rows 2, 3"]
    told = walk(150.0, lambda n, _: 0.5 if shared.width(n) < 16 else 1.0)
    assert told == [
        ("expansion of row 2", 24, 171.0),
        ("expansion of row 2", 16, 163.0),
        # 8 would be the input's width, and the expansion convolution would go
        ("expansion of row 3", 56, 155.0),
        ("expansion of row 3", 48, 147.0),
    ]


def test_the_ratio_prefers_what_costs_more_where_accuracy_is_the_same() -> None:
    # every proposal loses 0.1: the shared width takes 16 off for it, the others 8
    assert walk(170.0, lambda n, _: 0.8 if n == NET else 0.7) == [("bottleneck of rows 2, 3", 8, 163.0)]


def test_a_change_is_from_the_network_before_after_the_same_lesson() -> None:
    # the lesson itself costs 0.3: 8 off for 0.02 is worth more than 16 for 0.05, which 0.32 / 8 and 0.35 / 16 are not
    seen: list[tuple[float, int]] = []

    def evaluate(network: Network, number: int) -> float:
        seen.append((channels(network), number))
        lost = {179.0: 0.0, 163.0: 0.05, 171.0: 0.02}
        return 0.7 - lost[channels(network)]

    (step,) = steps(171.0, evaluate)
    assert seen == [(179.0, 1), (171.0, 1), (163.0, 1), (171.0, 1), (171.0, 1)]
    assert step.score == 0.7 and step.proposal.dimension.label == "expansion of row 2"


def timed_walk(measured: dict[str, float], most: int) -> tuple[Step, list[list[float]]]:
    """One step in which all lose nothing; what is measured, by label of the proposal."""
    asked: list[list[float]] = []
    offers = {p.network: p.dimension.label for p in proposals(NET, dimensions(NET), channels, cut=8.0, divisor=8)}

    def timed(networks: Sequence[Network]) -> list[float]:
        asked.append([channels(network) for network in networks])
        return [measured[offers[network]] if network in offers else 180.0 for network in networks]

    lost = {"expansion of row 2": 0.01, "bottleneck of rows 2, 3": 0.01, "expansion of row 3": 0.03}
    (step,) = netadapt(
        NET, dimensions(NET), cost=channels, cut=lambda _: 8.0, met=lambda n: n != NET, divisor=8, timed=timed,
        evaluate=lambda n, _: 1.0 - lost.get(offers.get(n, ""), 0.0 if n == NET else 0.05), most_timed=lambda: most,
    )  # fmt: skip
    return step, asked


def test_measured_cuts_decide() -> None:
    # by prediction the shared width: 0.01 / 16. Measured it gives 3, less than half of 8; row 2 gives 5, row 3 gives 25
    told = {"bottleneck of rows 2, 3": 177.0, "expansion of row 2": 175.0, "expansion of row 3": 155.0}
    step, asked = timed_walk(told, 3)
    assert asked == [[179.0, 163.0, 171.0, 171.0]]  # the network before, and the three that look best
    # 0.01 / 5 against 0.03 / 25
    assert step.proposal.dimension.label == "expansion of row 3"
    assert step.measured_before == 180.0 and step.measured == {1: 177.0, 0: 175.0, 2: 155.0}
    assert step.proposal.cost == 171.0  # what was predicted stays


def test_where_no_cut_is_real_the_largest_is_kept() -> None:
    told = {"bottleneck of rows 2, 3": 179.0, "expansion of row 2": 178.5, "expansion of row 3": 181.0}
    assert timed_walk(told, 3)[0].proposal.dimension.label == "expansion of row 2"


def test_without_time_to_measure_predictions_decide() -> None:
    step, asked = timed_walk({}, 0)
    assert asked == [] and step.proposal.dimension.label == "bottleneck of rows 2, 3" and step.measured == {}


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
