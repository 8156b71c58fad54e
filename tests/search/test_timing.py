"""Ratios a few at a time, files timed again, and the time of a run over its sittings."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from making import TOY
from mobilenets.costs import parse_budget
from mobilenets.latency import Latency, device
from mobilenets.search import timing
from mobilenets.search.timing import LOADED, Clock, Costs, Sitting, timed_again, within
from mobilenets.table import scale
from mobilenets.watching import Tick, Watcher


def latency(median_ms: float) -> Latency:
    return Latency(median_ms, median_ms, median_ms, 10, 1, "runtime", "fp32", "device")


@pytest.mark.slow
def test_ratios_of_more_than_are_loaded_at_once() -> None:
    clock = Clock(device("local"), 1, "fp32", None)
    wide = scale(TOY, 4.0)
    networks = [TOY, wide] * (LOADED // 2) + [TOY]
    found = clock.ratios(wide, networks)
    assert [size for _, size in found] == [clock.file_bytes(network) for network in networks]
    assert all(ratio > 0 for ratio, _ in found) and clock.ratios(wide, []) == []


@pytest.mark.parametrize(("medians", "best", "tries"), [([3, 1], 3, 1), ([5, 4, 1], 4, 2), ([7, 5, 6, 1], 5, 3)])
def test_timed_again(medians: list[float], best: float, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    ways = iter(medians)
    found = timed_again(lambda: latency(next(ways)), parse_budget("4ms"))
    assert (found[0].median_ms, found[1]) == (best, tries)
    assert timed_again(lambda: latency(9.0), parse_budget("1MB"))[1] == 1


@pytest.mark.parametrize(("ms", "size", "fits"), [(4.0, 1000, True), (4.1, 1000, False), (4.0, 1001, False)])
def test_within(ms: float, size: int, fits: bool) -> None:
    assert within(parse_budget(["4ms", "1KB", "1MACs"]), latency(ms), size) is fits
    assert within(parse_budget("1MACs"), latency(ms), size)


def test_the_aim_is_for_latency_alone() -> None:
    costs = Costs(parse_budget("1KB"), "fp32", None, aim=0.5)
    assert costs.load(TOY) == costs.measured(TOY, 1.0, round(1000 * costs.load(TOY)))[1]


@dataclass
class Kept:
    """The state of a run, in memory."""

    minutes: float
    spent_s: float
    written: int = 0

    def write(self) -> None:
        self.written += 1


def test_a_second_sitting_counts_the_first() -> None:
    state = Kept(minutes=2.0, spent_s=50.0)
    sitting = Sitting(state, 30.0, Watcher(), time.perf_counter() - 20.0)
    assert sitting.spent_s() == pytest.approx(70.0, abs=1.0)
    assert sitting.left_s() == pytest.approx(50.0, abs=1.0) and sitting.working_s() == pytest.approx(20.0, abs=1.0)
    sitting.keep_time()
    assert state.spent_s == pytest.approx(70.0, abs=1.0) and state.written == 1
    sitting.keep_time()  # from what the sitting began with: not twice
    assert state.spent_s == pytest.approx(70.0, abs=1.0)
    state.minutes = 1.0
    assert sitting.left_s() < 0 and sitting.working_s() == 0.0


def test_a_run_that_is_killed_has_kept_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever works tells a watcher: the time is written on the way, and what is told goes on to the user's."""

    class Told(Watcher):
        ticks = 0

        def tick(self, tick: Tick) -> None:
            self.ticks += 1

    monkeypatch.setattr(timing, "KEEP_S", 0.0)
    state, told = Kept(minutes=2.0, spent_s=0.0), Told()
    sitting = Sitting(state, 0.0, told, time.perf_counter() - 50.0)
    sitting.watcher.tick(Tick(0.5, 1.0, 1.0, 1.0, 1.0))
    assert told.ticks == 1 and state.written == 1 and state.spent_s == pytest.approx(50.0, abs=1.0)
    sitting.watcher.metric = "mIoU"
    assert told.metric == "mIoU"
    monkeypatch.setattr(timing, "KEEP_S", 60.0)
    sitting.watcher.tick(Tick(0.5, 1.0, 1.0, 1.0, 1.0))
    assert told.ticks == 2 and state.written == 1


def test_all_that_a_run_tells_reaches_the_user() -> None:
    """A method that `Watcher` gets and `Keeping` forgets would be told to nobody."""
    told: list[str] = []

    class Told(Watcher):
        def __getattribute__(self, name: str) -> object:
            if callable(getattr(Watcher, name, None)) and not name.startswith("_"):
                return lambda *_: told.append(name)
            return super().__getattribute__(name)

    methods = [name for name, value in vars(Watcher).items() if callable(value)]
    watcher = timing.Keeping(Told(), lambda: None)
    for name in methods:
        getattr(watcher, name)(*{"advance": (1, 2), "looked": (0.5, "x")}.get(name, (None,)))
    assert told == methods and len(methods) >= 7
