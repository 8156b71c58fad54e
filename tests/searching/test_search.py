"""`search` from end to end on small scenes: real weights, a real study, real files."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file

from mobilenets.costs import cost, parse_budget
from mobilenets.data import scenes
from mobilenets.data.folder import open_folder
from mobilenets.errors import BudgetUnmetError, MisuseError
from mobilenets.latency import Latency, LatencyTable, device
from mobilenets.model import load
from mobilenets.prediction import evaluate
from mobilenets.search import read_study
from mobilenets.search.space import Space
from mobilenets.search.timing import Clock, Costs
from mobilenets.searching import Search, job, narrowing, search
from mobilenets.searching.finishing import Found
from mobilenets.searching.reporting import best_of
from mobilenets.searching.state import Asked, State
from mobilenets.searching.terms import read_terms, write_terms
from mobilenets.table import json as table_json
from mobilenets.table.rows import Network
from mobilenets.watching import Watcher

pytest.importorskip("optuna", reason="the extra `search` is not installed")
HOURS = 2 / 3600
"""As good as none: every rung takes the least that it may."""
BUDGET = "2MMACs"
"""A counted budget: no latency table is built for it."""


class _Stop(Watcher):
    """Ctrl-C when a phase begins."""

    def __init__(self, phase: str) -> None:
        self.wanted, self.notes = phase, list[str]()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def phase(self, name: str, total: int | None = None) -> None:
        if name.startswith(self.wanted):
            raise KeyboardInterrupt

    def looked(self, part: float, text: str) -> None:
        self.phase(text)


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "LEAST_S", 1.0)
        patch.setattr(job, "PROXIED", 3)
        yield


def searched(data: Path, out: Path, **changes: object) -> Search:
    values: dict = {"hours": HOURS, "resolutions": (32, 32), "trials": 8, "out": out} | changes
    return search(data, values.pop("budget", BUDGET), **values)


@pytest.fixture(scope="module")
def done(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """A search that was interrupted twice, and went on."""
    out = tmp_path_factory.mktemp("search") / "run"
    for phase in ("scoring networks", "1 network", "training searched"):
        with pytest.raises(KeyboardInterrupt):
            searched(small_scenes, out, watcher=_Stop(phase), resume=out.exists())
        if phase == "1 network":
            kept = [(t.number, t.point, t.accuracy) for t in read_study(out / "study.log").trials()]
            weights = (out / "shared.safetensors").read_bytes()
            assert len(kept) == 1
    result = searched(small_scenes, out, resume=True)
    assert [(t.number, t.point, t.accuracy) for t in read_study(out / "study.log").trials()][: len(kept)] == kept
    assert (out / "shared.safetensors").read_bytes() == weights  # neither was begun anew
    return result


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
    assert set(state.rung("shared")) == set(state.chosen)
    told = done.report["rank_correlation"]["shared to proxy"]
    assert told["networks"] == len(state.chosen)


def joined(done: Search, data: Path, folder: Path, **changes: object) -> Search:
    """A worker with the shared weights of another run, and more time than that had."""
    values: dict = {
        "shared": done.folder / "shared.safetensors", "worker": True, "study": str(folder / "study.log"), "trials": 2,
        "hours": 1.0,
    }  # fmt: skip
    out = folder / str(changes.pop("name", "worker"))
    return searched(data, out, **values | changes)


def test_a_worker_trains_nothing_and_fills_the_study(done: Search, small_scenes: Path, tmp_path: Path):
    worker = joined(done, small_scenes, tmp_path)
    assert worker.model is None and worker.report["trials"] == 2
    one, other = (folder / "shared.safetensors" for folder in (done.folder, worker.folder))
    assert State.read(done.folder).shared_s > 0 and one.read_bytes() == other.read_bytes()
    ours, theirs = State.read(worker.folder), State.read(done.folder)
    for name in ("search", "base", "choices", "factor", "scored"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert read_study(tmp_path / "study.log").plan == read_study(done.folder / "study.log").plan
    stop = _Stop("scoring networks")
    with pytest.raises(KeyboardInterrupt):
        joined(done, small_scenes, tmp_path, name="second", trials=3, watcher=stop)
    assert "--worker --out" in stop.notes[-1] and "--study=STUDY" in stop.notes[-1]
    again = joined(done, small_scenes, tmp_path, name="second", trials=3, shared=None, resume=True)
    assert again.report["trials"] == 3


def test_who_does_not_belong_to_the_study_is_refused(done: Search, small_scenes: Path, tmp_path: Path):
    study, weights = done.folder / "study.log", tmp_path / "other.safetensors"
    before = study.read_bytes()
    with pytest.raises(MisuseError, match="there already: give the shared weights that it was begun with"):
        searched(small_scenes, tmp_path / "run", study=str(study))
    shutil.copyfile(done.folder / "shared.safetensors", weights)
    terms = read_terms(weights)
    assert terms is not None
    write_terms(weights, replace(terms, search="another"))
    with pytest.raises(MisuseError, match="of two searches"):
        joined(done, small_scenes, tmp_path, shared=weights, study=str(study))
    assert study.read_bytes() == before and not (tmp_path / "worker").exists()


def test_shared_weights_of_another_search_are_refused(done: Search, small_scenes: Path, tmp_path: Path):
    fewer = tmp_path / "fewer"
    shutil.copytree(small_scenes, fewer)
    next((fewer / "train" / "car").iterdir()).unlink()
    for data, changes, told in (
        (small_scenes, {"budget": "3MMACs"}, "the budget was 2 M macs, here 3 M macs"),
        (small_scenes, {"precision": "fp16"}, "the precision was fp32, here fp16"),
        (fewer, {}, "its images or their split were others"),
    ):
        with pytest.raises(MisuseError, match=f"of another search: {told}"):
            joined(done, data, tmp_path, **changes)
    with pytest.raises(MisuseError, match="holds no shared weights of a search"):
        joined(done, small_scenes, tmp_path, shared=done.report["result"]["checkpoint"])
    save_file({"a": torch.zeros(1)}, tmp_path / "half.safetensors", metadata={"state": "{}"})
    with pytest.raises(MisuseError, match="is not over"):
        joined(done, small_scenes, tmp_path, shared=tmp_path / "half.safetensors")
    assert not (tmp_path / "worker").exists()


def test_shared_weights_are_not_written_over(done: Search, small_scenes: Path):
    weights = done.folder / "shared.safetensors"
    with pytest.raises(MisuseError, match="lies in the run folder that is written anew"):
        searched(small_scenes, done.folder, shared=weights, overwrite=True)
    assert weights.is_file()


def test_ctrl_c_before_the_training_tells_how_to_go_on(small_scenes: Path, tmp_path: Path):
    stop = _Stop("decoding")
    with pytest.raises(KeyboardInterrupt):
        searched(small_scenes, tmp_path / "run", watcher=stop)
    assert stop.notes[-1].endswith(f"--out {tmp_path / 'run'} --resume")


def test_what_the_device_shows_can_rule_everything_out(small_scenes: Path, tmp_path: Path):
    """By the table alone the smallest network fits; the device is 1.3 times slower than it."""
    folder, state = (
        open_folder(small_scenes),
        State(tmp_path / "search.json", Asked("", ("1ms",), 1.0, resolutions=(32,))),
    )
    whole = Space.of("classify", 8, base=0.25, resolutions=(32,))

    class Table(LatencyTable):
        def total_ms(self, network: Network, found: object) -> float:
            return cost(network).macs / 1e6

    table = object.__new__(Table)
    smallest_ms = table.predict_ms(whole.network(whole.smallest()))

    def timed(networks: Sequence[Network]) -> list[Latency]:
        return [Latency(1.3 * table.predict_ms(n), 1, 1, 1, 1, "runtime", "fp32", "device") for n in networks]

    def narrowed(budget_ms: float) -> Space:
        costs = Costs(parse_budget(f"{budget_ms}ms"), "fp32", table)
        return narrowing.space_for(folder, replace(state), costs, timed, Watcher())

    with pytest.raises(BudgetUnmetError, match=r"takes 1\.1\d times that"):
        narrowed(1.15 * smallest_ms)
    assert narrowed(4 * smallest_ms).size > 1


def test_a_tight_budget_takes_smaller_images_before_it_takes_the_channels():
    windows = [(192, 224, 256), (160, 192, 224), (128, 160, 192), (96, 128, 160)]
    found = {
        budget: narrowing.begun("classify", 8, windows, Costs(parse_budget(budget), "fp32", None))
        for budget in ("300MMACs", "15MMACs", "1MMACs")
    }
    ample, tight, hopeless = found.values()
    assert ample.base == 1.0 and ample.choices["resolution"] == windows[0]
    assert tight.base >= 0.5 and max(map(int, tight.choices["resolution"])) < 256
    assert hopeless.base < 0.5 and hopeless.choices["resolution"] == windows[-1]


def test_test_images_choose_nothing():
    def found(name: str, met: bool, score: float) -> Found:
        return Found(name, None, Path(name), None, None, met, score, 10)  # type: ignore[arg-type]

    each = [found("lucky on test", True, 0.9), found("best on val", True, 0.7), found("over", False, 0.95)]
    full = {"lucky on test": 0.6, "best on val": 0.8, "over": 0.99}
    assert best_of(each, full).name == "best on val"


def test_who_joins_knows_that_the_weights_came_from_somewhere(done: Search, small_scenes: Path, tmp_path: Path):
    """Trained weights are trained on at a fifth of the rate, by whoever ends the search."""
    weights = tmp_path / "shared.safetensors"
    shutil.copyfile(done.folder / "shared.safetensors", weights)
    terms = read_terms(weights)
    assert terms is not None and terms.source is None
    write_terms(weights, replace(terms, source="theirs"))
    worker = joined(done, small_scenes, tmp_path, shared=weights)
    assert State.read(worker.folder).source == "theirs"


def test_a_place_without_a_study_is_told_before_anything_is_trained(small_scenes: Path, tmp_path: Path):
    with pytest.raises(MisuseError, match="is a folder; a study is kept in a file"):
        searched(small_scenes, tmp_path / "run", study=str(tmp_path))
    assert not (tmp_path / "run").exists()


def test_what_is_over_the_budget_in_the_end_is_an_error(done: Search, small_scenes: Path, tmp_path: Path):
    shutil.copytree(done.folder, tmp_path / "run")
    report = json.loads((done.folder / "report.json").read_text())
    report["result"]["met"] = False
    (tmp_path / "run" / "report.json").write_text(json.dumps(report))
    with pytest.raises(BudgetUnmetError, match=r"once trained and exported, over 2 M macs"):
        searched(small_scenes, tmp_path / "run", resume=True)


@pytest.mark.slow
def test_workers_price_by_the_table_of_the_first(
    small_scenes: Path, latency_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOBILENETS_CACHE", str(latency_cache))
    monkeypatch.setattr(narrowing, "CHECKED", 2)
    first = searched(small_scenes, tmp_path / "run", budget="1ms", trials=3)
    assert first.report["result"]["latency_ms"] <= 1 and first.report["space"]["table_factor"] != 1
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "empty"))  # a table of its own would take minutes
    worker = joined(first, small_scenes, tmp_path, budget="1ms")
    assert (worker.folder / job.TABLE).read_bytes() == (first.folder / job.TABLE).read_bytes()
    state, table = State.read(worker.folder), LatencyTable.read(worker.folder / job.TABLE)
    priced = Costs(parse_budget("1ms"), "fp32", table, first.report["space"]["table_factor"])
    for trial in read_study(tmp_path / "study.log").trials():
        assert priced.load(state.space("classify", 8).network(trial.point)) == pytest.approx(trial.load)


def test_a_finished_search_is_not_done_again(done: Search, small_scenes: Path):
    again = searched(small_scenes, done.folder, resume=True)
    assert again.report == json.loads((done.folder / "report.json").read_text())


def test_something_else_cannot_be_resumed(done: Search, small_scenes: Path):
    with pytest.raises(MisuseError, match="begun with searcher evolution, asked to go on with random"):
        searched(small_scenes, done.folder, resume=True, searcher="random")


@pytest.mark.slow
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
        ({"hours": math.inf}, "hours"),
        ({"exponent": 0.15}, "number below 0"),
        ({"exponent": math.nan}, "number below 0"),
        ({"keep": 0}, "keep"),
        ({"resolutions": (50,)}, "multiple of 32"),
        ({"searcher": "nsga2"}, "objective front"),
        ({"worker": True}, "--study"),
        ({"worker": True, "study": "study.log"}, "a worker needs --shared"),
        ({"shared": "nowhere.safetensors"}, "no such file"),
    ],
)
def test_misuse_is_refused_before_anything_is_written(changes: dict, told: str, small_scenes: Path, tmp_path: Path):
    with pytest.raises(MisuseError, match=told):
        searched(small_scenes, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_the_next_best_are_measured_until_enough_fit(tmp_path: Path):
    """The table thinks the best 1.4 times faster than they are: who fits by that is measured next, in order."""
    space, rng = Space.of("classify", 8, base=0.25, resolutions=(32,)), Random(0)
    drawn = {n.name: n for n in (space.network(space.draw(rng)) for _ in range(40))}
    loads = {name: 1.0 - 0.5 * i / len(drawn) for i, name in enumerate(drawn)}  # the best take most

    class Table(LatencyTable):
        def predict_ms(self, network: Network) -> float:
            return 10 * loads[network.name]

    asked: list[list[str]] = []

    class Looking(job.Job):
        def timed(self, networks: Sequence[Network]) -> list[Latency]:
            asked.append([n.name for n in networks])
            return [Latency(14 * loads[n.name], 1, 1, 1, 1, "runtime", "fp32", "device") for n in networks]

    table = object.__new__(Table)
    looking = object.__new__(Looking)
    looking.state, looking.watcher = State(tmp_path / "search.json", Asked("", ("10ms",), 1.0)), Watcher()
    looking.costs, looking.clock = Costs(parse_budget("10ms"), "fp32", table), Clock(device("local"), 1, "fp32", None)
    found = looking._measured({name: (network, loads[name]) for name, network in drawn.items()})
    names = list(drawn)
    assert asked[0] == names[:6] and len(asked) == 2  # 2 x the three that the next rung takes
    light = [name for name in names if 1.4 * loads[name] <= 1]
    assert asked[1] == light[:6]
    assert found == [name for name in light[:6] if 1.4 * loads[name] <= job.MARGIN] and len(found) >= 3
