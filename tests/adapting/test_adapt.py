"""`adapt` from end to end on small scenes: real fine-tuning, real export, real measurement."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mobilenets as mn
from making import TOY, trained
from mobilenets.adapting import Adapted
from mobilenets.adapting.adapt import restless
from mobilenets.adapting.job import AIM, Job
from mobilenets.adapting.learning import Classroom, Speed, tuning_recipe
from mobilenets.adapting.pacing import LEAST_CHOICE, pace_of
from mobilenets.adapting.state import State
from mobilenets.adapting.trajectory import changed_rows, front, steps
from mobilenets.costs import parse_budget
from mobilenets.costs.sizes import sizes
from mobilenets.data import scenes
from mobilenets.data.subset import subset
from mobilenets.errors import BudgetUnmetError, CheckpointError, DataError, MisuseError
from mobilenets.latency import Latency, device
from mobilenets.model import MobileNet, build
from mobilenets.preprocessing import Preprocessing
from mobilenets.search import able, narrowest
from mobilenets.search.timing import Clock, Costs, steps_left
from mobilenets.table import json as table_json
from mobilenets.table import scale, with_classes
from mobilenets.training import Recipe, load_splits
from mobilenets.training.recipe import Dense
from mobilenets.training.run import open_data
from mobilenets.watching import Watcher
from mobilenets.zoo import network


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of three classes."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    scenes.write_classification(folder, per_class_train=24, per_class_val=6, size=48)
    return folder


@pytest.fixture(scope="module")
def start(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a few rows for these classes."""
    folder = open_data(photos, TOY, seed=0)
    wide = scale(TOY, 2.0)  # narrow ones have nothing to give in steps of 8
    model = trained(with_classes(wide, len(folder.classes)), folder.classes)
    return mn.save(model, tmp_path_factory.mktemp("start") / "start.safetensors")


class _Stop(Watcher):
    """Ctrl-C where something is noted, or a phase begins."""

    def __init__(self, word: str) -> None:
        self.word = word

    def note(self, text: str) -> None:
        if text.startswith(self.word):
            raise KeyboardInterrupt

    def phase(self, name: str, total: int | None = None) -> None:
        self.note(name)


def macs(model: Path) -> int:
    return mn.cost(mn.load(model).network).macs


@pytest.mark.slow
def test_down_to_the_budget_with_interruptions(start: Path, photos: Path, tmp_path: Path) -> None:
    out, budget = tmp_path / "run", f"{0.7 * macs(start):.0f}MACs"

    def go(watcher: Watcher | None = None, *, resume: bool = True) -> object:
        return mn.adapt(start, photos, budget, minutes=0.3, out=out, resume=resume, delta=0.08, watcher=watcher)

    with pytest.raises(KeyboardInterrupt):
        go(_Stop("step  1"), resume=False)
    (zero, one) = steps(out / "steps")
    assert (zero.number, one.number) == (0, 1) and one.macs < zero.macs == macs(start)
    kept = mn.load(out / "steps" / "01.safetensors")  # what is there is of use
    assert kept.network == one.network and mn.cost(kept.network).macs == one.macs
    assert sum(p["kept"] for p in one.proposals) == 1 and all(p["load"] < zero.load for p in one.proposals)
    written = (out / "steps" / "01.safetensors").stat().st_mtime_ns
    with pytest.raises(KeyboardInterrupt):
        go(_Stop("exporting"))
    result = go()
    assert isinstance(result, Adapted) and result.folder == out
    report = json.loads((out / "report.json").read_text())
    assert report == json.loads(json.dumps(result.report))
    assert (out / "steps" / "01.safetensors").stat().st_mtime_ns == written  # it was not made again
    end = report["result"]
    assert report["met"] and end["macs"] <= 0.7 * macs(start)
    way = steps(out / "steps")
    assert len(way) == len(report["steps"]) > 1 and way[-1].load <= 1.0 < way[-2].load
    assert [s.macs for s in way] == sorted((s.macs for s in way), reverse=True)
    assert mn.load(out / "model.safetensors").network.rows == way[-1].network.rows
    assert mn.evaluate(end["artifact"], photos, split="val").metric == end["metric"]
    assert report["verification"]["max_difference"] < 1e-4
    assert (out / "trajectory.png").stat().st_size > 20_000
    assert table_json.read(out / "table.json").rows == way[-1].network.rows
    again = mn.adapt(start, photos, budget, minutes=0.3, out=out, delta=0.08, resume=True)
    assert again.report == report
    with pytest.raises(MisuseError, match="begun with rule ratio, asked to go on with accuracy"):
        mn.adapt(start, photos, budget, out=out, delta=0.08, rule="accuracy", resume=True)
    with pytest.raises(MisuseError, match="is not empty"):
        mn.adapt(start, photos, budget, out=out)
    # a file that is over the budget when it is timed: the report is there, a resumed run times it again
    state = json.loads((out / "adapt.json").read_text())
    (out / "adapt.json").write_text(json.dumps(state | {"budgets": ["1KB"]}))
    (out / "report.json").write_text(json.dumps(report | {"met": False}))
    with pytest.raises(BudgetUnmetError, match=r"over 0.001 MB; .*report.json.*mobilenets adapt .*model.safetensors"):
        mn.adapt(start, photos, "1KB", minutes=0.3, out=out, delta=0.08, resume=True)
    now = json.loads((out / "report.json").read_text())
    assert not now["met"] and now["budget"]["text"] == "0.001 MB" and now["result"]["macs"] == end["macs"]


@pytest.mark.slow
def test_down_to_a_latency_from_an_object(
    photos: Path, tmp_path: Path, latency_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps by the table, corrected by what is measured; the printed line goes on where no path was given."""
    monkeypatch.setenv("MOBILENETS_CACHE", str(latency_cache))
    classes = open_data(photos, TOY, seed=0).classes
    model = trained(with_classes(replace(scale(TOY, 3.0), resolution=64), len(classes)), classes)
    clock, out = Clock(device("local"), 1, "fp32", None), tmp_path / "run"
    limit_ms = 0.85 * clock.time(model.network)[0].median_ms
    told: list[str] = []

    class Told(_Stop):
        def note(self, text: str) -> None:
            told.append(text)
            super().note(text)

    def go(given: MobileNet | str, watcher: Watcher | None = None, *, resume: bool = True) -> None:
        mn.adapt(given, photos, f"{limit_ms}ms", minutes=0.15, delta=0.1, out=out, resume=resume, watcher=watcher)

    with pytest.raises(KeyboardInterrupt):
        go(model, Told("step  1"), resume=False)
    words = shlex.split(told[-1].partition("go on with ")[2])
    assert words[:2] == ["mobilenets", "adapt"] and words[-1] == "--resume"
    try:
        go(words[2])
    except BudgetUnmetError as error:  # a busy machine may be slower in the last minute
        assert "Was another program running?" in str(error)
    report = json.loads((out / "report.json").read_text())
    way, state = steps(out / "steps"), json.loads((out / "adapt.json").read_text())
    assert len(way) > 1 and way[0].measured_ms == state["start_ms"] == report["start"]["latency_first_ms"]
    assert way[-1].measured_ms <= limit_ms * (AIM + 1e-9) and way[-1].load == way[-1].measured_ms / limit_ms
    assert all(kept.predicted_ms is not None and kept.predicted_ms > 0 for kept in way)
    assert report["met"] == (report["result"]["latency_ms"] <= limit_ms)
    assert 0 < state["steps_begun_s"] < state["spent_s"]


def test_an_interrupt_before_the_first_step_goes_on(start: Path, photos: Path, tmp_path: Path) -> None:
    out, budget = tmp_path / "run", f"{0.9 * macs(start):.0f}MACs"
    with pytest.raises(KeyboardInterrupt):
        mn.adapt(start, photos, budget, minutes=0.1, delta=0.1, out=out, watcher=_Stop("asking the start"))
    assert (out / "steps" / "00.safetensors").is_file() and steps(out / "steps") == []
    with pytest.raises(KeyboardInterrupt):  # an object now, a path before: the network is in the folder
        mn.adapt(mn.load(start), photos, budget, minutes=0.1, delta=0.1, out=out, resume=True, watcher=_Stop("step  1"))
    assert [kept.number for kept in steps(out / "steps")] == [0, 1]


def test_minutes_that_change() -> None:
    state = State(Path("adapt.json"), "", "", ["1MACs"], 10.0, 0.01, "ratio", "local", "fp32", 1, 0)
    told: list[str] = []

    class Told(Watcher):
        def note(self, text: str) -> None:
            told.append(text)

    state.last(12.0, Told())
    assert (state.minutes, state.tuning_s) == (12.0, 0.0)  # it has not begun
    state.tuning_s = 60.0
    state.last(13.0, Told())
    assert state.tuning_s == 120.0
    state.last(1.0, Told())
    assert state.tuning_s == 5.0 and not told
    state.tuned = True
    state.last(2.0, Told())
    assert state.tuning_s == 5.0 and "change nothing" in told[0]


def test_every_width_that_can_give_is_shown() -> None:
    fire, thin = network("squeezenet"), narrowest(network("squeezenet"), 8)
    rows = changed_rows(fire, thin)
    assert {name.split()[-1] for name, _, _ in rows} >= {"squeeze", "expand1", "expand3"}
    assert all(after < before for _, before, after in rows if before > 8)
    xception = changed_rows(network("xception"), network("xception"))
    assert any("widths 2" in name for name, _, _ in xception)


def test_by_measured_latency(
    start: Path, photos: Path, tmp_path: Path, latency_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(latency_cache))
    model = mn.load(start)
    measured = mn.benchmark(model.network, seconds=0.5).median_ms
    told: list[str] = []

    class Told(Watcher):
        def note(self, text: str) -> None:
            told.append(text)

    result = mn.adapt(model, photos, f"{50 * measured}ms", out=tmp_path / "none", watcher=Told())
    assert result.folder is None and result.artifact is None and result.model is model
    assert result.report["met"] and "meets" in told[-1] and not (tmp_path / "none").exists()
    with pytest.raises(BudgetUnmetError, match=r"cannot reach 1e-0\d ms by narrower layers.*Ask for [\d.]+ ms"):
        mn.adapt(model, photos, "0.00000001ms", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def headed(name: str, classes: tuple[str, ...]) -> MobileNet:
    torch.manual_seed(0)
    net = with_classes(scale(network(name), 0.25, 96), len(classes))
    return build(net, classes, preprocessing=Preprocessing.default(96, shaping="stretch"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write"),
    [("ssdlite_mobilenet_v3_small", scenes.write_detection), ("lraspp_mobilenet_v3_small", scenes.write_segmentation)],
)
def test_heads(name: str, write: Callable[..., object], tmp_path: Path) -> None:
    write(tmp_path / "data", train=24, val=8)
    folder = open_data(tmp_path / "data", network(name), seed=0)
    model = headed(name, folder.classes)
    before = mn.cost(model.network).macs
    result = mn.adapt(
        model, tmp_path / "data", f"{0.85 * before:.0f}MACs", minutes=0.1, delta=0.2, out=tmp_path / "run"
    )
    assert result.report["met"] and mn.cost(result.model.network).macs <= 0.85 * before
    assert result.report["task"] == folder.task and result.artifact is not None
    evaluated = mn.evaluate(result.artifact, tmp_path / "data", split="val")
    assert evaluated.metric == pytest.approx(result.report["result"]["metric"], nan_ok=True)


def test_proposals_are_chosen_by_images_that_they_do_not_see(start: Path, photos: Path) -> None:
    model = mn.load(start)
    train, val = load_splits(open_data(photos, model.network, seed=0), 32, Watcher())
    room = Classroom(model, train, val, answers=None, seed=0)
    assert set(room.kept_out).isdisjoint(room.learned)
    assert len(room.kept_out) + len(room.learned) == len(train)
    assert {str(p) for p in room.held.paths}.isdisjoint(str(p) for p in val.paths)
    one, other = (room.taught(model.network, model, steps=2, lesson=1) for _ in range(2))
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)  # all proposals of a step see the same batches
    assert room.score(one) == room.score(other)
    room.fewer(3)
    assert len(room.held) == 3 and len(subset(train, room.learned[:2])) == 2


def test_fp16_files_are_counted() -> None:
    """What is timed holds float weights; what is shipped has half of their bytes, and no factor beside it."""
    counted, timed = sizes(TOY, "fp16").file_bytes, sizes(TOY, "fp32").file_bytes
    costs = Costs(parse_budget("1KB"), "fp16", None)
    costs.learn(TOY, 1.0, timed)
    assert counted < timed and costs.file_factor == 1.0
    real, load = costs.measured(TOY, 1.0, timed)
    assert real.file_bytes == counted and load == costs.load(TOY) == counted / 1000
    assert Costs(parse_budget("1KB"), "fp32", None).measured(TOY, 1.0, 3000)[1] == 3.0


def test_corrected_costs() -> None:
    budget = parse_budget(["1MACs", "1KB"])
    costs = Costs(budget, "fp32", None)
    counted = sizes(TOY)
    assert costs.load(TOY) == counted.macs
    costs.learn(TOY, 3.0, 2 * counted.file_bytes)
    file_only = Costs(parse_budget("1KB"), "fp32", None, file_factor=costs.file_factor)
    assert file_only.load(TOY) == pytest.approx(2 * counted.file_bytes / 1000)
    assert costs.latency_ms(TOY) is None


@pytest.mark.parametrize(("load", "cut", "count"), [(1.25, 0.0125, 20), (1.25, 0.1, 3), (1.0, 0.1, 1), (0.9, 0.1, 1)])
def test_steps_left(load: float, cut: float, count: int) -> None:
    assert steps_left(load, cut) == count


@pytest.mark.parametrize(
    ("left_s", "steps", "proposals", "seconds"),
    [
        (1000.0, 50, 9, 250.0),  # of 0.02 each, as asked for
        (60.5, 12, 9, 60.0),  # 13 would take 65
        (59.5, 11, 9, 55.0),
        (20.5, 8, 4, 20.0),  # of 0.125 each, which four can give; 9 would take 22.5
        (-1.0, 4, 4, 10.0),  # one of 1.0 or two of 0.5 would leave no choice
    ],
)
def test_pace(left_s: float, steps: int, proposals: int, seconds: float) -> None:
    """From twice the budget, where nine widths can give a tenth, four a quarter and two everything."""
    found = pace_of(2.0, 0.02, left_s, network_s=0.5, count_of=lambda cut: 9 if cut <= 0.1 else 4 if cut <= 0.25 else 2)
    assert (found.steps, found.proposals) == (steps, proposals) and found.seconds == pytest.approx(seconds)
    assert found.cut == pytest.approx(1 / steps)


def test_pace_where_nothing_gives_delta() -> None:
    found = pace_of(1.5, 0.1, 1e6, network_s=0.5, count_of=lambda cut: int(cut <= 0.03))
    assert (found.cut, found.steps, found.proposals) == (pytest.approx(0.025), 20, 1), "smaller steps, rather than none"


def test_a_restless_device_is_told_of() -> None:
    quiet = Latency(1.0, 1.1, 0.9, 30, 1, "runtime", "fp32", "device", rounds_ms=(1.0, 1.05, 1.02))
    assert restless(quiet) == "" == restless(replace(quiet, rounds_ms=()))
    assert "differ by 40%" in restless(replace(quiet, rounds_ms=(1.0, 1.4, 1.1)))


def test_steps_in_a_time() -> None:
    speed = Speed(step_s=0.1, fixed_s=1.0)
    assert speed.proposal_s(20) == pytest.approx(3.0)
    assert speed.steps_in(3.05, least=5, most=100) == 20
    assert speed.steps_in(0.5, least=5, most=100) == 5 and speed.steps_in(1e6, least=5, most=100) == 100


def test_steps_are_as_small_as_the_time_allows(photos: Path, tmp_path: Path) -> None:
    """V3-Small with twice its budget: steps of 2 % of it where there is time, else as many as the time holds."""
    table = replace(with_classes(network("mobilenet_v3_small"), 3), resolution=64)
    model = trained(table, open_data(photos, TOY, seed=0).classes)
    costs = Costs(parse_budget(f"{sizes(table).macs // 2}MACs"), "fp32", None)
    state = State(tmp_path / "adapt.json", "", str(photos), ["1MACs"], 10.0, 0.01, "ratio", "local", "fp32", 1, 0)
    state.divisor = 8
    told: list[str] = []

    class Told(Watcher):
        def note(self, text: str) -> None:
            told.append(text)

    clock = Clock(device("local"), 1, "fp32", None)
    folder = open_data(photos, table, seed=0)
    job = Job(tmp_path, state, model, folder, costs, clock, Told(), time.perf_counter(), ships=False)
    job.start_load, job.speed = costs.load(table), Speed(step_s=0.01, fixed_s=0.1)  # a proposal: 0.1 + 40 x 0.01 s
    assert job.start_load == pytest.approx(2.0, rel=1e-4)
    job.until = time.perf_counter() + 1e6
    assert job.cut(table) == pytest.approx(0.02, rel=1e-4) and job.planned == 50 and told == []
    job.until = time.perf_counter() + 60.5
    wide = job.cut(table)
    needs_s = {k: 0.5 * k * (1 + able(table, job.ways, costs.load, cut=1 / k, divisor=8)) for k in range(1, 51)}
    most = max(k for k, seconds in needs_s.items() if seconds <= 60)  # the reference network learns beside them
    assert job.planned == most < 50 and wide == pytest.approx(1 / most, rel=1e-3)
    assert job.count == able(table, job.ways, costs.load, cut=wide, divisor=8) < len(job.ways)
    assert told == [text for text in told if f"about {job.planned} of 50 steps" in text] and len(told) == 1
    job.shown, job.until = False, time.perf_counter() - 100  # the time is over, and there is still a choice to be made
    job.cut(table)
    assert job.count >= LEAST_CHOICE and "10 minutes are too few" in told[1] and "minutes more" in told[1]


def test_front() -> None:
    assert front([(4.0, 0.8), (3.0, 0.85), (2.0, 0.7), (1.0, 0.75)]) == [1, 3]


def test_a_damaged_step_is_named(tmp_path: Path) -> None:
    (tmp_path / "00.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"00\.json: a damaged step"):
        steps(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"minutes": 0.0}, "minutes"),
        ({"delta": 1.0}, "delta"),
        ({"rule": "best"}, "rule"),
        ({"precision": "int4"}, "precision"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "seed"),
        ({"device": "lokal"}, "Did you mean local"),
        ({"resume": True}, "--resume needs --out"),
    ],
)
def test_misuse(start: Path, photos: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(MisuseError, match=words):
        mn.adapt(start, photos, "1MACs", **options)  # type: ignore[arg-type]


def test_other_networks_and_classes_are_refused(start: Path, photos: Path, tmp_path: Path) -> None:
    hybrid = build(with_classes(scale(network("mobilenet_v4_hybrid_medium"), 1.0, 64), 3))
    with pytest.raises(MisuseError, match="cannot be chosen one by one"):
        mn.adapt(hybrid, photos, "1MACs")
    model = build(with_classes(scale(TOY, 2.0), 3), ("lying", "standing", "slanting"))
    with pytest.raises(DataError, match="lying"):
        mn.adapt(model, photos, f"{0.7 * mn.cost(model.network).macs:.0f}MACs", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_has_learned_is_tuned_at_a_lower_rate() -> None:
    """Of its task's training, for each task."""
    for name, plain in (("ssdlite_mobilenet_v3_small", Dense(epochs=1)), ("mobilenet_v3_small", Recipe(epochs=1))):
        model = build(network(name))
        assert tuning_recipe(model, 60.0, 0).lr <= plain.lr / 4
