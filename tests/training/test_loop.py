"""The loop: seeded, resumable to the bit, decaying what should decay."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mobilenets.data.augment import DEFAULT, LIGHT
from mobilenets.data.cache import Squares
from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.model import build
from mobilenets.table import scale
from mobilenets.training import Recipe, Training
from mobilenets.training.speed import bf16_products
from mobilenets.training.state import load_state, save_state
from mobilenets.zoo import network

RECIPE = Recipe(epochs=2, batch_size=8, precision="fp32")


def squares(n: int = 40) -> Squares:
    """Three classes that differ by colour: learnable in a few steps."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    images = rng.integers(0, 80, (n, 40, 40, 3), dtype=np.uint8)
    images[np.arange(n), :, :, labels] += 150
    return Squares(images, labels.astype(np.int64), tuple(Path(f"{i}.jpg") for i in range(n)))


def training(recipe: Recipe = RECIPE, name: str = "mobilenet_v3_small") -> Training:
    torch.manual_seed(0)
    model = build(scale(network(name), 0.25, 32), ["red", "green", "blue"])
    return Training(model, recipe, squares(), squares(15))


def weights(run: Training) -> list[torch.Tensor]:
    return [value.clone() for value in run.average.state_dict().values()]


def test_same_seed_same_weights() -> None:
    first, second = training(), training()
    first.run()
    second.run()
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    other = training(replace(RECIPE, seed=1))
    other.run()
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(other), strict=True))


def test_learns_colours() -> None:
    run = training(replace(RECIPE, epochs=25, lr=0.1), name="mobilenet_v1")
    run.run()
    assert run.history[-1].val_score > 0.9
    assert run.history[-1].train_loss < run.history[0].train_loss


def test_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = training(replace(RECIPE, epochs=3))
    whole.run()
    half = training(replace(RECIPE, epochs=3))

    def stop(line: object, best: bool) -> None:
        if len(half.history) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half.run(on_epoch=stop)
    save_state(half, tmp_path / "state.safetensors")
    again = training(replace(RECIPE, epochs=3))
    load_state(again, tmp_path / "state.safetensors")
    assert again.step == half.step > 0
    again.run()
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))
    assert [e.val_loss for e in again.history] == [e.val_loss for e in whole.history]


def test_resume_refuses_another_network_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(training(), path)
    with pytest.raises(CheckpointError, match="another network"):
        load_state(training(name="mobilenet_v1"), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot resume"):
        load_state(training(), path)


def test_weight_decay_spares_vectors() -> None:
    decayed, spared = training().optimizer.param_groups
    assert decayed["weight_decay"] > 0 and all(p.ndim > 1 for p in decayed["params"])
    assert spared["weight_decay"] == 0 and all(p.ndim <= 1 for p in spared["params"])
    total = sum(p.numel() for p in training().model.parameters())
    assert sum(p.numel() for g in (decayed, spared) for p in g["params"]) == total


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_rate_warms_up_and_falls_to_zero(optimizer: str) -> None:
    run = training(replace(RECIPE, optimizer=optimizer))  # type: ignore[arg-type]
    rates = [run.lr_at(f) for f in np.linspace(0, 1, 101)]
    top = int(np.argmax(rates))
    assert top == 15
    assert rates[top] == pytest.approx(run.peak_lr)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert np.all(np.diff(rates[:top]) > 0) and np.all(np.diff(rates[top:]) < 0)


def test_resolution_grows_in_steps_and_ends_full() -> None:
    run = training()
    run.model.network = scale(run.model.network, resolution=96)
    assert [run.resolution_at(f) for f in (0.0, 0.49, 0.5, 0.74, 0.75, 1.0)] == [64, 64, 80, 80, 96, 96]
    run.model.network = replace(run.model.network, padding="same")
    assert [run.resolution_at(f) for f in (0.0, 0.5, 0.75)] == [64, 96, 96]  # by 32: its padding stays what it is
    run.model.network = scale(run.model.network, resolution=100)
    assert run.resolution_at(0.0) == 100


def test_augmentation_follows_the_length_of_the_training() -> None:
    assert RECIPE.augmentation_for(5) == LIGHT
    assert RECIPE.augmentation_for(100) == DEFAULT
    assert replace(RECIPE, augmentation=DEFAULT).augmentation_for(5) == DEFAULT


def test_bf16_products_put_the_setting_back() -> None:
    before = torch.backends.mkldnn.conv.fp32_precision
    with pytest.raises(RuntimeError), bf16_products(True):
        raise RuntimeError
    assert torch.backends.mkldnn.conv.fp32_precision == before


def test_clock_ends_the_training() -> None:
    run = training(Recipe(minutes=0.01, batch_size=8, precision="fp32"))
    run.run()
    assert run.fraction == 1.0
    assert run.history


@pytest.mark.parametrize(
    "wrong",
    [{}, {"epochs": 1, "minutes": 1.0}, {"epochs": 0}, {"epochs": 1, "lr": -1.0}, {"epochs": 1, "optimizer": "x"}],
)
def test_recipe_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(MisuseError):
        Recipe(**wrong)  # type: ignore[arg-type]


def test_recipe_round_trip() -> None:
    for recipe in (RECIPE, replace(RECIPE, augmentation=LIGHT)):
        assert Recipe.from_dict(recipe.to_dict()) == recipe
