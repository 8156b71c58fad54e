"""`fit --effort high`: searched networks beside the papers'."""

from __future__ import annotations

from pathlib import Path

import pytest

import mobilenets as mn
from mobilenets.errors import MisuseError
from mobilenets.fitting.state import State
from mobilenets.search.space import PREFIX
from mobilenets.searching import job, narrowing
from mobilenets.watching import Watcher

pytest.importorskip("optuna", reason="the extra `search` is not installed")


@pytest.fixture(autouse=True)
def _small(latency_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(latency_cache))
    monkeypatch.setattr(job, "LEAST_S", 1.0)
    monkeypatch.setattr(job, "PROXIED", 2)


class _Notes(Watcher):
    def __init__(self, stop: str = "") -> None:
        self.notes, self.phases, self.stop = list[str](), list[str](), stop

    def note(self, text: str) -> None:
        self.notes.append(text)

    def phase(self, name: str, total: int | None = None) -> None:
        self.phases.append(name)
        if self.stop and name.startswith(self.stop):
            raise KeyboardInterrupt


@pytest.mark.slow
def test_searched_networks_are_tried_beside_the_papers(small_scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    with pytest.raises(KeyboardInterrupt):
        mn.fit(small_scenes, "2MMACs", minutes=0.1, effort="high", out=out, watcher=_Notes("timing training"))
    state = State.read(out / "fit.json")
    assert state.architectures and len(state.searched) == 2
    again = _Notes()
    result = mn.fit(small_scenes, "2MMACs", minutes=0.1, effort="high", out=out, resume=True, watcher=again)
    assert not any(phase.startswith(("training shared", "scoring networks")) for phase in again.phases)
    tried = [c for c in result.report["candidates"] if c["network"].startswith(PREFIX)]
    assert len(tried) == 2 and all(c["macs"] <= 2e6 for c in tried)
    assert result.artifact.is_file() and mn.cost(result.model.network).macs <= 2e6


def test_where_no_searched_network_fits_the_papers_still_may(
    small_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "BASES", (1.25,))  # a space too wide for the budget
    watcher = _Notes("timing training")
    with pytest.raises(KeyboardInterrupt):
        mn.fit(small_scenes, "2MMACs", minutes=0.1, effort="high", out=tmp_path / "fit", watcher=watcher)
    assert any(note.startswith("architecture search found nothing: nothing fits") for note in watcher.notes)
    state = State.read(tmp_path / "fit" / "fit.json")
    assert state.architectures and not state.searched


def test_an_effort_that_is_none(small_scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="low, medium, high"):
        mn.fit(small_scenes, "2MMACs", effort="utmost", out=tmp_path / "fit")  # type: ignore[arg-type]
