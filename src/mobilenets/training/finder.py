"""A learning rate by a range test: raise it over some steps, watch the loss, stop where it climbs."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from pathlib import Path

from mobilenets.drawing import figure, save_figure
from mobilenets.model import MobileNet
from mobilenets.training.loop import Training
from mobilenets.training.objectives import Data
from mobilenets.training.recipe import Recipe
from mobilenets.training.rescue import NotANumberError

STEPS = 60
SPAN = {"sgd": (1e-3, 10.0), "adamw": (1e-6, 1e-1), "rmsprop": (1e-4, 1.0)}
"""Rates at batch size 64 between which each optimiser is tried."""
SAFETY = 5.0
"""The rate taken is that of the lowest loss, divided by this: the test's last steps ride on the ones before."""


@dataclass(frozen=True, slots=True)
class RangeTest:
    """Outcome of a range test.

    Attributes:
        lr: the rate to take, at batch size 64 as in a recipe.
        rates: tried ones, ascending.
        losses: smoothed, one a rate.
    """

    lr: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    def draw(self, path: Path) -> None:
        """Loss over rate, with the one taken."""
        made = figure(6, 3.6)
        axes = made.subplots()
        axes.plot(self.rates, self.losses)
        axes.axvline(self.lr, color="tab:green", ls="--", label=f"taken: {self.lr:.2g}")
        low, first = min(self.losses), self.losses[0]
        axes.set(
            xscale="log", xlabel="learning rate at batch size 64", ylabel="training loss, smoothed",
            ylim=(0.95 * low, max(1.3 * first, 1.05 * low)),
        )  # fmt: skip
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        save_figure(made, path)


def find_rate(model: MobileNet, recipe: Recipe, train: Data, fresh: tuple[str, ...] = ()) -> RangeTest:
    """Range test (Smith, arXiv:1506.01186) of a recipe's optimiser on a copy of the model.

    Args:
        model: stays as it is.
        recipe: its `lr` is not looked at.
        train: decoded training images.
        fresh: nodes that start anew.
    """
    endless = replace(recipe, lr=1.0, epochs=10**6, minutes=None, head_first=0.0, warmup=0.0, precision="fp32")
    probe = Training(copy.deepcopy(model), endless, train, train, fresh=fresh)
    low, high = SPAN[recipe.optimizer]
    rates: list[float] = []
    losses: list[float] = []
    smooth = 0.0
    batches = probe._batches()
    for i in range(STEPS):
        rate = low * (high / low) ** (i / (STEPS - 1))
        probe.rate_factor = rate
        try:
            loss, _ = probe._step(next(batches), 0.0)
        except NotANumberError:
            break
        smooth = 0.9 * smooth + 0.1 * loss
        rates.append(rate)
        losses.append(smooth / (1 - 0.9 ** (i + 1)))
        if not math.isfinite(loss) or losses[-1] > 1.5 * losses[0]:
            break
    best = min(range(len(losses)), key=losses.__getitem__) if losses else 0
    taken = rates[best] / SAFETY if rates else low
    return RangeTest(taken, tuple(rates), tuple(losses))
