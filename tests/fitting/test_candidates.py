"""Which candidates are left, by counts and by latency (from a made-up table: no measurement is asserted)."""

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from mobilenets.costs import parse_budget
from mobilenets.errors import BudgetUnmetError
from mobilenets.fitting.candidates import (
    Candidate,
    choose,
    front,
    grid,
    prediction_error,
    spread,
    within_counts,
    within_sight,
    worth_trying,
)
from mobilenets.latency import Latency
from mobilenets.zoo.grid import RESOLUTIONS


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    return grid(10)


def _timed(candidates: list[Candidate], ms_per_mac: float = 1e-8) -> list[Candidate]:
    return [replace(c, predicted_ms=c.macs * ms_per_mac) for c in candidates]


def test_grid_covers_the_families(candidates: list[Candidate]) -> None:
    assert len(candidates) == 12 * 6 * 5
    assert len({c.label for c in candidates}) == len(candidates)
    assert all(c.network.classes == 10 for c in candidates)


@pytest.mark.parametrize(
    ("text", "attribute", "limit"),
    [
        ("50MMACs", "macs", 50e6),
        ("1.5Mparams", "params", 1.5e6),
        ("2MB", "file_bytes", 2e6),
        ("900KB-ram", "ram_bytes", 9e5),
    ],
)
def test_counted_budgets_cut(candidates: list[Candidate], text: str, attribute: str, limit: float) -> None:
    for c in within_counts(candidates, parse_budget(text)):
        assert (c.status == "over") == (getattr(c, attribute) > limit)
        assert bool(c.reason) == (c.status == "over")


@pytest.mark.parametrize("text", ["1KB", "1KMACs", "1Kparams", "1KB-ram"])
def test_nothing_fits_names_a_budget_that_would(candidates: list[Candidate], text: str) -> None:
    with pytest.raises(BudgetUnmetError, match="nothing fits") as caught:
        within_counts(candidates, parse_budget(text))
    offered = re.search(r"--budget (\S+)\.$", str(caught.value))
    assert offered is not None
    assert any(c.status != "over" for c in within_counts(candidates, parse_budget(offered[1])))


def test_front_rises(candidates: list[Candidate]) -> None:
    line = front(_timed(candidates))
    assert len(line) > 5
    for before, after in pairwise(line):
        assert before.latency_ms < after.latency_ms
        assert before.expected < after.expected


def test_front_leaves_out_only_the_dominated(candidates: list[Candidate]) -> None:
    timed = _timed(candidates)
    kept = {c.label for c in front(timed)}
    for c in timed:
        if c.label not in kept:
            assert any(o.latency_ms <= c.latency_ms and o.expected >= c.expected and o.label != c.label for o in timed)


def test_prediction_error_is_of_measured_ones(candidates: list[Candidate]) -> None:
    assert prediction_error(candidates) is None
    latency = Latency(2.0, 2.1, 1.9, 10, 1, "r", "fp32", "d")
    assert prediction_error([replace(candidates[0], predicted_ms=2.5, measured=latency)]) == pytest.approx(0.25)


def test_choose_keeps_to_what_fits(candidates: list[Candidate]) -> None:
    timed = [replace(c, status="slow") if c.latency_ms > 0.5 else c for c in _timed(candidates)]
    chosen = choose(timed, lambda c: c.expected, 4)
    assert len(chosen) == 4
    assert all(c.latency_ms <= 0.5 for c in chosen)
    assert chosen == sorted(chosen, key=lambda c: -c.expected)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_choose_tries_different_families(candidates: list[Candidate], count: int) -> None:
    timed = _timed(candidates)
    chosen = choose(timed, lambda c: c.expected, count)
    families = Counter(c.network.name for c in chosen)
    assert len(chosen) == count
    assert max(families.values()) <= max(1, count // 3) or set(families) == {c.network.name for c in front(timed)}


@pytest.mark.parametrize(("native_px", "most"), [(32, 96), (48, 144), (64, 192), (500, 224), (8, 96)])
def test_small_images_are_not_enlarged_beyond_three_times(
    candidates: list[Candidate], native_px: int, most: int
) -> None:
    kept = {c.network.resolution for c in within_sight(candidates, native_px) if c.status != "enlarged"}
    assert kept == {r for r in RESOLUTIONS["classify"] if r <= most}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 24])
def test_every_beginning_of_the_spread_covers_the_front(candidates: list[Candidate], count: int) -> None:
    line = candidates[:count]
    order = spread(line)
    assert len(order) == count
    assert {c.label for c in order} == {c.label for c in line}
    assert [c.label for c in order[:2]] == list(dict.fromkeys(c.label for c in (*line[:1], *line[-1:])))


def test_networks_that_start_from_weights_are_tried_off_the_front(candidates: list[Candidate]) -> None:
    timed = _timed(candidates)

    def warm(candidate: Candidate) -> bool:
        return candidate.network.name == "mobilenet_v2" and candidate.network.width <= 0.5

    assert not any(warm(c) for c in front(timed))
    chosen = choose(timed, lambda c: 2.0 if warm(c) else c.expected / 100, 6, warm)
    assert warm(chosen[0]) and len(chosen) == 6
    assert {c.label for c in worth_trying(timed, lambda _: False)} == {c.label for c in front(timed)}
