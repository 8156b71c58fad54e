"""What changes over a training beside its rate: the size of the images, and the weights' moving average."""

from __future__ import annotations

import torch
from torch import nn

from mobilenets.table import Network
from mobilenets.training.recipe import Recipe


def resolution_at(network: Network, low: float, fraction: float) -> int:
    """Training resolution in pixels at a part of the training, below the network's own by steps of 16.

    Where padding is `same`, which differs with the size, by steps of 32: there it stays as the network has it. So
    it does for boxes and masks: anchors are those of one size, and small objects are lost first.

    Args:
        network: the table.
        low: the first resolution as part of the last one, `Recipe.low_resolution`.
        fraction: of the training, 0 to 1.
    """
    final = network.resolution
    grain = 32 if network.padding == "same" else 16
    if low >= 1.0 or fraction >= 0.75 or final % grain or network.task in ("detect", "segment"):
        return final
    part = low if fraction < 0.5 else (1 + low) / 2
    return min(final, max(32, round(part * final / grain) * grain))


@torch.no_grad()
def move_average(average: nn.Module, model: nn.Module, recipe: Recipe, *, step: int, expected_steps: float) -> None:
    """Move the average towards the weights, in place. Its horizon follows the steps that the training will have."""
    horizon = min(recipe.ema_horizon * expected_steps, step / 4)
    decay = min(1 - 1 / max(horizon, 1.0), recipe.ema_decay)
    averaged = [t for t in average.state_dict().values() if t.is_floating_point()]
    current = [t for t in model.state_dict().values() if t.is_floating_point()]
    torch._foreach_lerp_(averaged, current, 1 - decay)
