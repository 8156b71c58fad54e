"""Recipes: what each does to rates, layers, classes and time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_loop import squares, training

from mobilenets.data.cache import Squares
from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.model import build
from mobilenets.table import scale
from mobilenets.training import RECIPES, Finetune, Paper, Recipe, Training
from mobilenets.training.finder import find_rate
from mobilenets.training.objectives.classes import NameClasses
from mobilenets.training.optimizers import RMSpropTF, optimizer_for, rate_at
from mobilenets.training.recipe import recipe_named
from mobilenets.training.speed import fastest_batch
from mobilenets.zoo import network


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns_colours_and_travels(name: str) -> None:
    recipe = recipe_named(name)(epochs=25, batch_size=8, precision="fp32", lr=0.02 if name == "paper" else 0.01)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    run = training(replace(recipe, head_first=0.0, ema_horizon=0.01, bn_momentum=0.1), name="mobilenet_v1")
    run.run()
    assert max(line.val_score for line in run.history) > 0.45  # a guess is 0.33; `scratch` plays with colours


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown recipe 'finetun'\. Did you mean finetune"):
        recipe_named("finetun")


def fresh_training(recipe: Recipe) -> Training:
    torch.manual_seed(0)
    model = build(scale(network("mobilenet_v2"), 0.25, 32), ["red", "green", "blue"])
    return Training(model, recipe, squares(), squares(15), fresh=(model.nodes[-1].name,))


def test_the_head_moves_first_and_early_rows_more_slowly() -> None:
    run = fresh_training(Finetune(epochs=4, batch_size=8, precision="fp32", head_first=0.5))
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    moved: list[set[str]] = []

    def tick(_: object) -> None:
        moved.append({n for n, p in run.model.named_parameters() if not torch.equal(p, before[n])})

    run.run(on_tick=tick)
    half = len(moved) // 2
    assert moved[half - 1] == {"row21.linear.weight", "row21.linear.bias"}
    assert len(moved[-1]) == len(before)
    rates = [g["lr"] for g in run.optimizer.param_groups]
    scales = [g["scale"] for g in run.optimizer.param_groups]
    assert scales == sorted(scales, reverse=True) and scales[0] == 1.0 and scales[-1] == pytest.approx(0.9**20)
    assert rates == pytest.approx([rates[0] * s for s in scales])


def test_exponential_schedule_falls_by_steps() -> None:
    recipe = Paper(epochs=100)
    assert rate_at(recipe, 0.0, 100) == 1.0
    assert rate_at(recipe, 0.5, 100) == pytest.approx(0.98 ** (20 * 2.4))
    assert rate_at(recipe, 0.501, 100) == rate_at(recipe, 0.5, 100)


def test_rmsprop_is_tensorflows() -> None:
    """By hand: epsilon inside the root, the mean square from 1, the rate inside the momentum."""
    p = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = RMSpropTF([p], lr=0.1, eps=1e-3)
    square, velocity, value = 1.0, 0.0, 1.0
    for gradient in (0.5, -0.2, 0.3):
        p.grad = torch.tensor([gradient])
        optimizer.step()
        square = 0.9 * square + 0.1 * gradient**2
        velocity = 0.9 * velocity + 0.1 * gradient / (square + 1e-3) ** 0.5
        value -= velocity
        assert p.item() == pytest.approx(value, rel=1e-6)


def test_early_stopping() -> None:
    run = training(Recipe(epochs=30, batch_size=8, precision="fp32", lr=1e-9, patience=3))
    run.run()
    first = next(i for i, line in enumerate(run.history) if line.val_score == run.best_score)
    assert len(run.history) == first + 4 < 30  # as good as the best is not better


def test_rare_classes_weigh_more() -> None:
    labels = np.array([0] * 30 + [1] * 8 + [2] * 2)
    data = Squares(squares(40).images, labels, tuple(Path(f"{i}") for i in range(40)))
    torch.manual_seed(0)
    model = build(scale(network("mobilenet_v1"), 0.25, 32), 3)
    run = Training(model, Recipe(epochs=1, balance="loss"), data, squares(15))
    assert isinstance(run.objective, NameClasses) and run.objective.weights is not None
    by_class = run.objective.weights
    weights = by_class[torch.from_numpy(labels)]
    assert weights.mean().item() == pytest.approx(1.0) and by_class[2] == 15 * by_class[0]


def test_the_papers_average_follows_the_steps_done() -> None:
    """A decay of 0.9999 from the first step on would keep the random weights of a short run."""
    run = training(Paper(epochs=2, batch_size=8, precision="fp32", lr=1e-3))
    run.run()
    pairs = zip(run.average.parameters(), run.model.parameters(), strict=True)
    assert all((a - b).abs().max() < 0.2 for a, b in pairs)


def test_a_range_test_finds_a_rate_that_learns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(scale(network("mobilenet_v1"), 0.25, 32), 3)
    before = [p.detach().clone() for p in model.parameters()]
    test = find_rate(model, Recipe(epochs=1, batch_size=8), squares())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert 1e-3 < test.lr < 3 and len(test.rates) == len(test.losses) > 10
    test.draw(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").stat().st_size > 5000
    run = training(Recipe(epochs=25, batch_size=8, precision="fp32", lr=test.lr), name="mobilenet_v1")
    run.run()
    assert run.best_score > 0.9


def test_the_batch_size_that_is_measured_keeps_eight_steps() -> None:
    model = build(scale(network("mobilenet_v1"), 0.25, 32), 3)
    assert fastest_batch(model, "fp32", torch.device("cpu"), images=100) == 16


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"dropout": 2.0}, {"balance": "yes"}, {"batch_size": 1}])
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(MisuseError):
        Recipe(epochs=1, **wrong)  # type: ignore[arg-type]


def test_groups_hold_every_parameter_once() -> None:
    model = build(scale(network("mobile_one_s0"), 0.25, 32), 3, training=True)
    optimizer, _ = optimizer_for(model, Finetune(epochs=1), 64)
    found = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())
