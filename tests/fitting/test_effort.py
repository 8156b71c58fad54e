"""`fit --effort medium`: a network that is too large by a quarter, made narrower; by counts, so that none is chance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import mobilenets as mn
from mobilenets.costs import parse_budget
from mobilenets.data.folder import open_folder
from mobilenets.errors import BudgetUnmetError
from mobilenets.fitting.candidates import Candidate, grid
from mobilenets.fitting.job import Job
from mobilenets.fitting.judging import lighter, narrowable, over
from mobilenets.fitting.relaxed import RELAXED
from mobilenets.fitting.state import State
from mobilenets.latency import Latency
from mobilenets.watching import Watcher

BUDGET = "1.7MMACs"
"""Every network of the index takes more, and some take less than a quarter more."""


class Stopped(Watcher):
    """Ctrl-C in the first step of NetAdapt; what was told is kept."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)

    def phase(self, name: str, total: int | None = None) -> None:
        if name.startswith("step 1 "):
            raise KeyboardInterrupt


@pytest.mark.slow
def test_medium_ships_what_was_asked_for(
    small_scenes: Path, tmp_path: Path, latency_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(latency_cache))
    monkeypatch.setattr("mobilenets.fitting.job.LEAST_ADAPT_S", 5.0)
    out, watcher = tmp_path / "fit", Stopped()
    options = {"minutes": 0.1, "out": out, "effort": "medium", "weights": "none"}
    with pytest.raises(KeyboardInterrupt):
        mn.fit(small_scenes, BUDGET, watcher=watcher, **options)  # type: ignore[arg-type]
    lines = [text for text in watcher.told if "go on with" in text]
    assert len(lines) == 1 and "mobilenets fit" in lines[0]  # NetAdapt has no line of its own
    before = json.loads((out / "adapted" / "adapt.json").read_text())
    result = mn.fit(small_scenes, BUDGET, resume=True, **options)  # type: ignore[arg-type]
    winner = result.report["winner"]
    assert winner["network"].endswith("_netadapt") and winner["macs"] <= 1.7e6
    way = result.report["netadapt"]
    assert [step["number"] for step in way] == list(range(len(way))) and way[-1]["macs"] == winner["macs"]
    assert result.report["asked"]["effort"] == "medium"
    assert "Made narrower until it fits" in (out / "report.html").read_text()
    assert "is not there" not in (out / "report.html").read_text(), "the picture of the way is in the page"
    assert [one["source"] for one in result.report["licences"]] == ["random"], "adapted from what was trained here"
    (shipped,) = [c for c in result.report["candidates"] if c["status"] == "winner"]
    assert shipped["predicted_ms"] > 0 and shipped["network"] == winner["network"]
    # what NetAdapt used before the interrupt is not taken off the time it has after it
    after = json.loads((out / "adapted" / "adapt.json").read_text())
    assert after["minutes"] * 60 >= before["spent_s"] + 5 - 1e-6


def test_what_nothing_can_begin_with(small_scenes: Path, tmp_path: Path) -> None:
    words = r"begins with a network of up to 1.25 times the budget, and nothing fits 1.25MMACs.*at least --budget"
    with pytest.raises(BudgetUnmetError, match=words):
        mn.fit(small_scenes, "1MMACs", out=tmp_path / "fit", effort="medium")
    assert not (tmp_path / "fit").exists()


def candidates(label_ms: dict[int, float]) -> list[Candidate]:
    """Networks of one family by resolution, as if they had been measured."""
    found = [c for c in grid(8, ["mobilenet_v1"]) if c.network.width == 0.25 and c.network.resolution in label_ms]
    return [
        replace(c, status="front", predicted_ms=label_ms[c.network.resolution])
        for c in sorted(found, key=lambda c: c.network.resolution)
    ]


def test_stepping_down_meets_what_was_asked_for(small_scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    state = State(tmp_path / "fit.json", str(small_scenes), ["4ms"], 1.0, 1, 0, effort="medium")
    job = Job(tmp_path, state, parse_budget("4ms"), open_folder(small_scenes, seed=0), Watcher())
    assert job.budget.latency_ms == RELAXED * 4
    small, middle, large, huge = candidates({96: 3.0, 128: 3.8, 160: 4.5, 192: 4.9})
    assert [job.meets(c) for c in (small, middle, large, huge)] == [True, True, False, False]
    narrow = replace(huge, predicted_ms=3.9)  # what NetAdapt made, whose file took 4.2 ms
    measured = Latency(4.2, 4.3, 4.1, 10, 1, "runtime", "fp32", "device")
    light = lighter(job.meets, job.asked_for, narrow, measured, 1000)
    assert [light(c) for c in (small, middle, large)] == [True, False, False]
    assert "over 4 ms" in over(job.asked_for, narrow, measured, 1000)  # not over what was relaxed
    down, known = job.step_down(huge, [small, middle, large, huge], "why.", light)
    assert down is small and state.winner == small.label and state.minutes == 1.25
    assert [c.status for c in known] == ["front", "front", "front", "slow"]
    # where NetAdapt cannot reach it, all that meet it are left
    with pytest.raises(BudgetUnmetError, match=r"why\. No smaller candidate is left"):
        job.step_down(small, [small, large], "why.", job.meets)


def test_what_cannot_be_made_narrower_is_not_begun_with(small_scenes: Path, tmp_path: Path) -> None:
    state = State(tmp_path / "fit.json", str(small_scenes), ["4ms"], 1.0, 1, 0, effort="medium")
    job = Job(tmp_path, state, parse_budget("4ms"), open_folder(small_scenes, seed=0), Watcher())
    (hybrid,) = [c for c in grid(8, ["mobilenet_v4_hybrid_medium"]) if c.label.endswith("1 @160")]
    large, within = (replace(hybrid, status="front", predicted_ms=ms) for ms in (4.5, 3.9))
    assert narrowable(within, job.meets) is within  # it needs no NetAdapt
    out = narrowable(large, job.meets)
    assert out.status == "slow" and "not to be made narrower" in out.reason
    (plain,) = candidates({160: 4.5})
    assert narrowable(plain, job.meets) is plain
