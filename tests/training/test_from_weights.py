"""Trainings that start from weights: what is kept, what starts anew, which recipe, and what travels to the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mobilenets as mn
from making import lively
from mobilenets.data.cache import load_squares
from mobilenets.data.folder import open_folder
from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.fitting.candidates import grid
from mobilenets.fitting.starting import Starts
from mobilenets.model import build, with_info
from mobilenets.preprocessing import Preprocessing
from mobilenets.training import Recipe, Watcher
from mobilenets.training.start import begin_from, calibrate
from mobilenets.training.validation import predict_squares

QUICK = Recipe(epochs=1, batch_size=32, precision="fp32")


class _Notes(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def network(width: float = 0.35) -> mn.Network:
    return mn.scale(mn.network("mobilenet_v2"), width, 64)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of other classes, with conventions of its own."""
    torch.manual_seed(0)
    chosen = Preprocessing(64, crop=0.875, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic")
    table = replace(network(), padding="same", bn_eps=1e-3)
    model = lively(build(table, ["cat", "dog", "owl"], preprocessing=chosen))
    return mn.save(model, tmp_path_factory.mktemp("weights") / "source.safetensors")


def test_conventions_travel_to_the_artifact(source: Path, small_scenes: Path, tmp_path: Path) -> None:
    watcher = _Notes()
    out = tmp_path / "run"
    model = mn.train(network(), small_scenes, out=out, weights=source, epochs=1, watcher=watcher)
    assert any(note.startswith(f"starting from {source}; anew: row21.linear") for note in watcher.notes)
    assert (model.network.padding, model.network.bn_eps) == ("same", 1e-3)
    chosen = model.info.preprocessing
    assert (chosen.mean, chosen.interpolation) == ((0.5,) * 3, "bicubic")
    assert chosen.crop == 1.0, "a classifier that starts anew has seen whole images"
    settings = json.loads((out / "settings.json").read_text())
    assert settings["recipe"]["recipe"] == "finetune" and settings["weights"] == str(source)
    proof = mn.export(out / "best.safetensors", tmp_path / "m.onnx", images=[small_scenes / "val"])
    assert proof.passed
    by_file = mn.evaluate(tmp_path / "m.onnx", small_scenes, split="val")
    assert by_file.top1 == pytest.approx(model.info.metrics["val_top1"], abs=0.07)


def test_the_same_classes_keep_their_classifier(source: Path) -> None:
    start = begin_from(network(), ["cat", "dog", "owl"], source, seed=0, note=print)
    assert start.fresh == () and start.model.info.preprocessing.crop == 0.875
    assert all(
        torch.equal(a, b)
        for a, b in zip(start.model.state_dict().values(), mn.load(source).state_dict().values(), strict=True)
    )


def test_a_resumed_training_needs_the_weights_no_more(source: Path, small_scenes: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy.safetensors"
    copied.write_bytes(source.read_bytes())

    class Stop(Watcher):
        def epoch(self, line: object, best: bool) -> None:
            raise KeyboardInterrupt

    options = {"recipe": replace(QUICK, epochs=2), "weights": copied}
    with pytest.raises(KeyboardInterrupt):
        mn.train(network(), small_scenes, out=tmp_path / "run", watcher=Stop(), **options)  # type: ignore[arg-type]
    whole = mn.train(network(), small_scenes, out=tmp_path / "whole", **options)  # type: ignore[arg-type]
    copied.unlink()
    resumed = mn.train(network(), small_scenes, out=tmp_path / "run", resume=True)
    pairs = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) and resumed.info.preprocessing == whole.info.preprocessing


def test_folded_weights_get_their_batch_norm_back_before_the_first_step(shared: Path, small_scenes: Path) -> None:
    path = shared / "weights" / "tf_mobilenet_v1_025_224_imagenet.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    folder = open_folder(small_scenes)
    squares = load_squares(folder.splits["train"], 48)
    table = mn.scale(mn.network("mobilenet_v1"), 0.25, 224)
    start = begin_from(table, folder.classes, path, seed=0, note=print)
    assert start.folded
    head = start.model.get_submodule(start.model.nodes[-1].name)
    with torch.no_grad():
        head.weight.normal_(0, 0.05)  # type: ignore[union-attr,operator]
    few = replace(squares, images=squares.images[:24], labels=squares.labels[:24])
    before, _ = predict_squares(start.model, few)
    calibrate(start, squares)
    after, _ = predict_squares(start.model, few)
    assert (before - after).abs().max() < 1e-4
    variances = [value for key, value in start.model.state_dict().items() if key.endswith("running_var")]
    assert not any(bool((v == 1).all()) for v in variances)


def test_a_narrower_network_inherits_and_estimates(source: Path, small_scenes: Path, tmp_path: Path) -> None:
    folder = open_folder(small_scenes)
    start = begin_from(network(0.2), folder.classes, source, seed=0, note=print)
    assert start.estimate and start.source is not None
    before = start.model.state_dict()["row01.conv.bn.running_mean"].clone()
    calibrate(start, load_squares(folder.splits["train"], 48))
    assert not torch.equal(before, start.model.state_dict()["row01.conv.bn.running_mean"])
    model = mn.train(network(0.2), small_scenes, out=tmp_path / "run", weights=source, recipe=QUICK)
    assert np.isfinite(model.info.metrics["val_loss"])


def test_what_cannot_start_a_network_is_refused_before_a_folder_is_made(
    source: Path, small_scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(CheckpointError, match="which cannot start mobilenet_v1"):
        mn.train(mn.scale(mn.network("mobilenet_v1"), 0.25, 64), small_scenes, out=out, weights=source, epochs=1)
    with pytest.raises(MisuseError, match="no such weights"):
        mn.train(network(), small_scenes, out=out, weights=tmp_path / "none.safetensors", epochs=1)
    half = tmp_path / "half.safetensors"
    half.write_bytes(source.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        mn.train(network(), small_scenes, out=out, weights=half, epochs=1)
    assert not out.exists()


def test_auto_without_a_network_is_one_line_and_random_weights(small_scenes: Path, tmp_path: Path) -> None:
    watcher = _Notes()
    mn.train(network(), small_scenes, out=tmp_path / "run", recipe=QUICK, watcher=watcher)
    said = [note for note in watcher.notes if "ImageNet" in note]
    assert len(said) == 1 and "training starts from random ones" in said[0]
    with pytest.raises((CheckpointError, MisuseError)):
        mn.train(network(), small_scenes, out=tmp_path / "x", recipe=QUICK, weights="imagenet")
    assert not (tmp_path / "x").exists()


def test_the_task_of_a_start(source: Path) -> None:
    start = begin_from(network(), ["a", "b"], source, task="multi-label", seed=0, note=print)
    assert start.model.info.task == "multi-label" and with_info(start.model, task="classify").info.task == "classify"


def test_fit_starts_from_weights_where_they_fit(source: Path, small_scenes: Path, tmp_path: Path) -> None:
    """Networks of the weights' name, no wider than they are; the others from random weights, which it says once."""
    watcher = _Notes()
    starts = Starts(str(source), tmp_path / "search", open_folder(small_scenes), 0, watcher.note)
    by_label = {c.label: c for c in grid(8)}
    fits, wide, other = (
        by_label[f"{name} @96"] for name in ("mobilenet_v2 0.35", "mobilenet_v2 1", "mobilenet_v1 0.25")
    )
    assert [starts.warm(c) for c in (wide, fits, other)] == [False, True, False]
    assert starts.start(fits).source == str(source)
    assert (
        starts.start(wide).source is None and starts.start(other).source is None and starts.start(other).source is None
    )
    said = [note for note in watcher.notes if "starts from random weights" in note]
    assert len(said) == 2 and said[0].startswith(wide.label)


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_grey_and_four_channels(channels: int, source: Path, tmp_path: Path) -> None:
    """From RGB weights to an exported file that takes images of other channels."""
    from PIL import Image

    random = np.random.default_rng(0)
    for name in ("dark", "light"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(40):
            image = random.integers(0, 90, (40, 40, 4), dtype=np.uint8)
            image[..., -1] += 150 * (name == "light")  # only the fourth channel, or the grey, tells them apart
            kept = image if channels == 4 else image[..., 3]
            Image.fromarray(kept).save(tmp_path / "data" / name / f"{i}.png")
    table = replace(network(), in_channels=channels)
    model = mn.train(table, tmp_path / "data", out=tmp_path / "run", weights=source, recipe=Recipe(epochs=20, lr=0.1))
    assert model.network.in_channels == model.info.preprocessing.channels == channels
    proof = mn.export(tmp_path / "run" / "best.safetensors", tmp_path / "m.onnx", images=[tmp_path / "data"])
    assert proof.passed
    found = mn.predict(tmp_path / "m.onnx", tmp_path / "data" / "light")
    assert sum(p.label == "light" for p in found) >= 36
    Image.new("RGB", (40, 40)).save(tmp_path / "rgb.png")
    (other,) = mn.predict(tmp_path / "m.onnx", tmp_path / "rgb.png")
    if channels == 4:
        assert other.error is not None and "an image of 3 channels (RGB), expected 4" in other.error
    else:
        assert other.label == "dark"
