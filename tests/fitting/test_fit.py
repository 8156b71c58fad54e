"""`fit` from end to end on small scenes: real training, real export, real measurement."""

import json
import time
from pathlib import Path

import pytest

import mobilenets as mn
from mobilenets.errors import BudgetFormatError, BudgetUnmetError, MisuseError
from mobilenets.fitting.learning import expected_error, extrapolated_error, final_error
from mobilenets.watching import Tick, Watcher


@pytest.fixture(autouse=True)
def _cache(latency_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(latency_cache))


BUDGET = ["4ms", "2MB", "20MMACs"]
SMALL = ["3ms", "3MMACs"]


def test_fit_ships_what_it_promises(small_scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    result = mn.fit(small_scenes, BUDGET, minutes=0.2, out=out)
    report = json.loads((out / "report.json").read_text())
    assert report == json.loads(json.dumps(result.report))
    winner = report["winner"]
    artifact = Path(winner["artifact"])
    assert artifact.stat().st_size == winner["file_bytes"] <= 2e6
    assert winner["latency_ms"] <= 4
    counted = mn.cost(mn.load(out / "model.safetensors").network)
    assert (counted.macs, counted.params) == (winner["macs"], winner["params"])
    assert counted.macs <= 20e6
    assert report["verification"]["passed"] and report["verification"]["max_difference"] < 1e-4
    assert mn.evaluate(artifact, small_scenes, split="val").top1 == winner["metric"]
    statuses = [c["status"] for c in report["candidates"]]
    assert len(statuses) == 360 and statuses.count("winner") == 1
    assert all(c["reason"] for c in report["candidates"] if c["status"] in ("over", "slow"))
    assert report["task"] == "classify" and report["device"]["threads"] == 1
    assert {"mobilenets", "torch", "onnxruntime"} <= set(report["versions"])
    assert (out / "report.png").stat().st_size > 20_000
    labels = {p.label for p in mn.predict(artifact, small_scenes / "val" / "car")}
    assert labels <= set(report["data"]["classes"])


class _StopInTraining(Watcher):
    def __init__(self) -> None:
        self.training = False

    def phase(self, name: str, total: int | None = None) -> None:
        self.training = name.startswith("training")

    def tick(self, tick: Tick) -> None:
        if self.training and tick.fraction > 0.3:
            raise KeyboardInterrupt


def test_interrupted_fit_resumes(small_scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    with pytest.raises(KeyboardInterrupt):
        mn.fit(small_scenes, SMALL, minutes=0.3, out=out, watcher=_StopInTraining())
    assert not (out / "report.json").exists()
    state = json.loads((out / "fit.json").read_text())
    begin = time.perf_counter()
    result = mn.fit(small_scenes, SMALL, minutes=0.3, out=out, resume=True)
    assert result.report["winner"]["latency_ms"] <= 3
    # what was measured is not measured again, and the seconds of both sittings are counted
    assert state["measured"].keys() <= json.loads((out / "fit.json").read_text())["measured"].keys()
    assert result.report["seconds"] >= state["spent_s"]
    winner = result.report["winner"]
    trained = (out / "train" / "best.safetensors").stat().st_mtime_ns
    again = mn.fit(small_scenes, SMALL, minutes=0.3, out=out, resume=True)
    assert again.report == json.loads((out / "report.json").read_text())
    (out / "report.json").unlink()  # as if it had been interrupted after the training: nothing is trained again
    again = mn.fit(small_scenes, SMALL, minutes=0.3, out=out, resume=True)
    assert (out / "train" / "best.safetensors").stat().st_mtime_ns == trained
    assert again.report["winner"]["metric"] == winner["metric"]
    with pytest.raises(MisuseError, match="begun with budget 3 ms and 3 M macs"):
        mn.fit(small_scenes, "2ms", minutes=0.3, out=out, resume=True)
    assert state["winner"] == f"{winner['network']} {winner['width']:g} @{winner['resolution']}"
    assert time.perf_counter() - begin < 60


def test_unmeetable_budget_names_one_that_is(small_scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    with pytest.raises(BudgetUnmetError, match=r"nothing fits 1KB|nothing fits 0.001MB"):
        mn.fit(small_scenes, "1KB", out=out)
    assert not out.exists()
    with pytest.raises(BudgetUnmetError, match=r"--budget [0-9.]+ms"):
        mn.fit(small_scenes, "1us", out=out, minutes=0.2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"minutes": 0.0}, "minutes"),
        ({"threads": 0}, "threads"),
        ({"device": "lokal"}, "device 'lokal'. Did you mean local"),
        ({"precision": "int4"}, "precision"),
        ({"max_drop": 2.0}, "max_drop"),
        ({"resume": True}, "--out"),
    ],
)
def test_misuse(small_scenes: Path, tmp_path: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(MisuseError, match=words):
        mn.fit(small_scenes, "3ms", **options)  # type: ignore[arg-type]


def test_wrong_unit_writes_nothing(small_scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(BudgetFormatError):
        mn.fit(small_scenes, "3 bananas", out=tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_learning_curve_orders_as_it_should() -> None:
    assert expected_error(60, 1e5, 10_000) < expected_error(50, 1e5, 10_000)
    assert expected_error(50, 2e5, 10_000) < expected_error(50, 1e5, 10_000)
    assert expected_error(50, 1e9, 100) == expected_error(50, 1e7, 100)  # repeats stop teaching
    assert expected_error(50, 10, 10_000) > expected_error(50, 20, 10_000) > 1.0  # it orders where little is learned
    assert expected_error(50, 1e9, 100, head_start=10.0) < expected_error(
        50, 1e9, 100
    )  # and repeats take no start away


def test_extrapolation_lies_between_the_floor_and_the_measured_error() -> None:
    assert extrapolated_error(50, 0.6, 60, 60) == pytest.approx(0.6)
    assert final_error(50) < extrapolated_error(50, 0.6, 60, 600) < 0.6
    # the better network overtakes when there is time for it, and only then
    small, large = (45, 0.55), (60, 0.62)
    assert extrapolated_error(*small, 60, 70) < extrapolated_error(*large, 60, 70)
    assert extrapolated_error(*small, 60, 2000) > extrapolated_error(*large, 60, 2000)
    assert extrapolated_error(50, 0.01, 60, 600) == pytest.approx(0.01)  # better than the floor stays


@pytest.mark.slow
def test_generated_scenes_pass_90_percent(tmp_path: Path) -> None:
    """The demo's promise: a linear model on pixels stays under 40 % (tests/data/test_scenes.py), this passes 90 %."""
    from mobilenets.data import scenes

    scenes.write_classification(tmp_path / "scenes", per_class_train=400, per_class_val=60, size=96)
    result = mn.fit(tmp_path / "scenes", "2ms", minutes=3.0, out=tmp_path / "fit")
    assert result.report["winner"]["metric"] > 0.9
    assert result.report["winner"]["latency_ms"] < 2
