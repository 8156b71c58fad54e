"""`train`: what a run folder holds, what is refused, what an interrupt leaves."""

import csv
import json
from pathlib import Path

import pytest

import mobilenets as mn
from mobilenets.errors import MisuseError
from mobilenets.training import STATE, Recipe, Watcher
from mobilenets.watching import Epoch

RECIPE = Recipe(epochs=2, batch_size=16, precision="fp32")


def net() -> mn.Network:
    return mn.scale(mn.network("mobilenet_v3_small"), 0.25, 32)


def test_run_folder_and_refusal_of_an_existing_one(small_scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    model = mn.train(net(), small_scenes, out=out, recipe=RECIPE)
    assert model.info.classes == tuple(sorted(p.name for p in (small_scenes / "train").iterdir()))
    names = {p.name for p in out.iterdir()}
    pictures = {"curves.png", "confusion.png", "samples.png"}
    assert names == pictures | {
        "settings.json", "split.json", "metrics.csv", "best.safetensors", "last.safetensors",
    }  # fmt: skip
    lines = list(csv.DictReader((out / "metrics.csv").open()))
    assert len(lines) == 2
    best = mn.load(out / "best.safetensors")
    assert best.info.metrics["val_top1"] == max(float(line["val_top1"]) for line in lines)
    assert json.loads((out / "settings.json").read_text())["recipe"]["epochs"] == 2
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    with pytest.raises(MisuseError, match="exists and is not empty"):
        mn.train(net(), small_scenes, out=out, recipe=RECIPE)
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == before


class _Stop(Watcher):
    def epoch(self, line: Epoch, best: bool) -> None:
        raise KeyboardInterrupt


def test_interrupt_keeps_last_and_resume_finishes(small_scenes: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "stopped", tmp_path / "whole"
    with pytest.raises(KeyboardInterrupt):
        mn.train(net(), small_scenes, out=out, recipe=RECIPE, watcher=_Stop())
    assert (out / STATE).is_file() and (out / "last.safetensors").is_file()
    resumed = mn.train(net(), small_scenes, out=out, resume=True)
    straight = mn.train(net(), small_scenes, out=whole, recipe=RECIPE)
    assert not (out / STATE).exists()
    same = zip(resumed.state_dict().values(), straight.state_dict().values(), strict=True)
    assert all(bool((a == b).all()) for a, b in same)


def test_resume_needs_a_run(small_scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="needs --out"):
        mn.train(net(), small_scenes, resume=True)
    with pytest.raises(MisuseError, match="no run to resume"):
        mn.train(net(), small_scenes, out=tmp_path / "none", resume=True)


def test_bad_data_makes_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MisuseError):
        mn.train(net(), tmp_path / "empty", out=tmp_path / "run", recipe=RECIPE)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name",
    [
        "mobile_one_s0",
        "mobilenet_v4_hybrid_medium",
        "mobile_former_26m",
        "dense_mobilenet_16",
        "mobilenet_edgetpu_v2_xs",
    ],
)
def test_every_kind_of_network_is_trained_saved_and_exported(name: str, small_scenes: Path, tmp_path: Path) -> None:
    """Branches, attention, two streams, dense blocks, groups: trained as they are trained, exported as deployed."""
    network = mn.scale(mn.network(name), 0.25, 48)
    # the first epochs are on smaller images; a high rate on so few would leave logits of hundreds and float32's noise
    recipe = Recipe(epochs=3, batch_size=32, precision="fp32", lr=0.02)
    model = mn.train(network, small_scenes, out=tmp_path / "run", recipe=recipe)
    deployed = mn.build(model.network)
    assert model.as_trained and (model.nodes != deployed.nodes) == (name == "mobile_one_s0")
    proof = mn.export(tmp_path / "run" / "best.safetensors", tmp_path / "model.onnx", images=[small_scenes / "val"])
    assert proof.passed and proof.max_difference < 1e-4
