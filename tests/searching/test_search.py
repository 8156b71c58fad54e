"""`search` from end to end on small scenes: real weights, a real study, real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mobilenets.data import scenes
from mobilenets.errors import BudgetUnmetError, MisuseError
from mobilenets.model import load
from mobilenets.prediction import evaluate
from mobilenets.searching import Search, search
from mobilenets.searching.state import State
from mobilenets.table import json as table_json
from mobilenets.watching import Watcher

pytest.importorskip("optuna", reason="the extra `search` is not installed")
HOURS = 18 / 3600
BUDGET = "2MMACs"
"""A counted budget: no latency table is built for it."""


class _Stop(Watcher):
    """Ctrl-C when a phase begins."""

    def __init__(self, phase: str) -> None:
        self.wanted = phase

    def phase(self, name: str, total: int | None = None) -> None:
        if name.startswith(self.wanted):
            raise KeyboardInterrupt


def searched(data: Path, out: Path, **changes: object) -> Search:
    values: dict = {"hours": HOURS, "resolutions": (32,), "trials": 8, "out": out} | changes
    return search(data, values.pop("budget", BUDGET), **values)


@pytest.fixture(scope="module")
def done(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """A search that was interrupted twice, and went on."""
    out = tmp_path_factory.mktemp("search") / "run"
    for phase in ("scoring networks", "training searched"):
        with pytest.raises(KeyboardInterrupt):
            searched(small_scenes, out, watcher=_Stop(phase), resume=out.exists())
    return searched(small_scenes, out, resume=True)


def test_it_gives_a_trained_file_within_the_budget(done: Search, small_scenes: Path):
    best = done.report["result"]
    assert best["macs"] <= 2e6 and best["met"]
    assert best["verification"]["images"] > 0
    found = evaluate(done.artifact, small_scenes, split="val")
    assert found.metric == pytest.approx(best["metric"], abs=1e-6)
    assert load(done.folder / "networks" / best["network"] / "model.safetensors").network.name == best["network"]


def test_what_it_found_is_a_table(done: Search):
    table = table_json.read(done.report["result"]["table"])
    assert table.name == done.report["result"]["network"] and table.resolution == 32
    assert table.classes == 8


def test_the_study_went_on_where_it_was(done: Search):
    assert done.report["study"]["trials"] == 8
    assert (done.folder / "front.png").read_bytes()[:4] == b"\x89PNG"
    state = State.read(done.folder)
    assert set(state.chosen) == set(state.rung("proxy")) and len(state.rung("full")) == 1
    assert all(name in state.rung("shared") for name in state.chosen)
    told = done.report["rank_correlation"]["shared to proxy"]
    assert told["networks"] == len(state.chosen)


def test_shared_weights_were_trained_once(done: Search, small_scenes: Path, tmp_path: Path):
    # a worker that brings them trains nothing, and only fills the study
    before = json.loads((done.folder / "search.json").read_text())["shared_s"]
    worker = searched(
        small_scenes, tmp_path / "worker", shared=done.folder / "shared.safetensors", worker=True,
        study=str(tmp_path / "study.log"), trials=2,
    )  # fmt: skip
    assert worker.model is None and worker.report["trials"] == 2
    one, other = (folder / "shared.safetensors" for folder in (done.folder, worker.folder))
    assert before > 0 and one.read_bytes() == other.read_bytes()


def test_a_finished_search_is_not_done_again(done: Search, small_scenes: Path):
    again = searched(small_scenes, done.folder, resume=True)
    assert again.report == json.loads((done.folder / "report.json").read_text())


def test_something_else_cannot_be_resumed(done: Search, small_scenes: Path):
    with pytest.raises(MisuseError, match="begun with searcher evolution, asked to go on with random"):
        searched(small_scenes, done.folder, resume=True, searcher="random")


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_boxes_and_masks(task: str, tmp_path: Path):
    torch.manual_seed(0)
    data = tmp_path / "scenes"
    write = scenes.write_detection if task == "detect" else scenes.write_segmentation
    write(data, train=24, val=6, size=64)
    found = searched(data, tmp_path / "run", budget="20MMACs", resolutions=(64,), trials=3)
    network = found.model.network
    assert network.task == task and found.report["result"]["met"]
    assert 0 <= found.report["result"]["metric"] <= 1


def test_a_budget_that_nothing_meets(small_scenes: Path, tmp_path: Path):
    with pytest.raises(BudgetUnmetError, match=r"the smallest network of the search space takes .* times that"):
        searched(small_scenes, tmp_path / "run", budget="10KMACs")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"searcher": "annealing"}, "searcher"),
        ({"objective": "best"}, "objective"),
        ({"hours": 0.0}, "hours"),
        ({"keep": 0}, "keep"),
        ({"resolutions": (50,)}, "multiple of 32"),
        ({"searcher": "nsga2"}, "objective front"),
        ({"worker": True}, "--study"),
        ({"shared": "nowhere.safetensors"}, "no such file"),
    ],
)
def test_misuse_is_refused_before_anything_is_written(changes: dict, told: str, small_scenes: Path, tmp_path: Path):
    with pytest.raises(MisuseError, match=told):
        searched(small_scenes, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()
