"""Optimisers and their parameter groups: who decays, who moves how fast, and how the rate goes over the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from mobilenets.model import MobileNet
from mobilenets.table.nodes import row_of
from mobilenets.training.recipe import Recipe

DECAY_STEP = 2.4
"""Epochs between the steps of an exponential schedule whose `rate_decay` is given an epoch."""


class RMSpropTF(torch.optim.Optimizer):
    """RMSProp as TensorFlow has it: epsilon inside the root, the mean square begins at 1, the rate inside the momentum.

    The MobileNet papers train with it (V1, section 3.2; V2, section 6.1; V3, section 6.1.1: decay and momentum 0.9).
    torch.optim.RMSprop adds epsilon outside the root, which with the papers' epsilon of 0.001 to 1.0 is another
    optimiser.
    """

    def __init__(self, params: Any, lr: float, *, decay: float = 0.9, momentum: float = 0.9, eps: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "momentum": momentum, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step. Weight decay is L2, added to the gradient."""
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, group)

    def _move(self, p: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["square"] = torch.ones_like(p)
            state["velocity"] = torch.zeros_like(p)
        assert p.grad is not None
        gradient = p.grad.add(p, alpha=group["weight_decay"]) if group["weight_decay"] else p.grad
        state["square"].lerp_(gradient.square(), 1 - group["decay"])
        update = gradient * (state["square"] + group["eps"]).rsqrt_()
        state["velocity"].mul_(group["momentum"]).add_(update, alpha=group["lr"])
        p.sub_(state["velocity"])


def optimizer_for(
    model: MobileNet, recipe: Recipe, batch_size: int, fresh: Collection[str] = ()
) -> tuple[torch.optim.Optimizer, float]:
    """(optimiser, peak learning rate for this batch size). Each group's `scale` multiplies the rate.

    Args:
        model: what is trained.
        recipe: optimiser, rate, decay of weights, and of the rate from layer to layer.
        batch_size: over all processes; the rate follows it in proportion (AdamW: by the square root).
        fresh: nodes that start anew; they move at the full rate.
    """
    return optimizer_of(_groups(model, recipe, fresh), recipe, batch_size)


def optimizer_of(groups: list[dict[str, Any]], recipe: Recipe, batch_size: int) -> tuple[torch.optim.Optimizer, float]:
    """(the recipe's optimiser of parameter groups, peak learning rate for this batch size)."""
    match recipe.optimizer:
        case "sgd":
            lr = recipe.lr * batch_size / 64
            return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, foreach=True), lr
        case "adamw":
            lr = recipe.lr * math.sqrt(batch_size / 64)
            return torch.optim.AdamW(groups, lr=lr, foreach=True), lr
        case "rmsprop":
            lr = recipe.lr * batch_size / 64
            return RMSpropTF(groups, lr=lr), lr


def _groups(model: MobileNet, recipe: Recipe, fresh: Collection[str]) -> list[dict[str, Any]]:
    """Weight decay on matrices and filters only (batch norm and biases are vectors); earlier rows move more slowly."""
    last = row_of(model.nodes[-1])
    of_row = {node.name: row_of(node) for node in model.nodes}
    found: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        node = name.rpartition(".")[0]
        scale = 1.0 if node in fresh else recipe.layer_decay ** (last - of_row[node])
        found.setdefault((scale, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": recipe.weight_decay if decays else 0.0, "scale": scale}
        for (scale, decays), parameters in sorted(found.items(), key=lambda item: item[0], reverse=True)
    ]


def rate_at(recipe: Recipe, fraction: float, epochs: float) -> float:
    """Part of the peak learning rate at a part of the training.

    The head's own phase has the full rate; then comes a linear warm-up, then a cosine to zero or an exponential fall.

    Args:
        recipe: schedule, warm-up, the head's phase.
        fraction: of the training, 0 to 1.
        epochs: that the whole training has.
    """
    if fraction < recipe.head_first:
        return 1.0
    left = (fraction - recipe.head_first) / max(1 - recipe.head_first, 1e-9)
    if left < recipe.warmup:
        return 0.02 + 0.98 * left / recipe.warmup
    if recipe.schedule == "exponential":
        return float(recipe.rate_decay ** (math.floor(fraction * epochs / DECAY_STEP) * DECAY_STEP))
    return 0.5 * (1 + math.cos(math.pi * (left - recipe.warmup) / (1 - recipe.warmup)))


def head_only(model: nn.Module, fresh: Collection[str], *, frozen: bool) -> None:
    """Freeze all parameters but those of the fresh nodes, or free them all."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not frozen or name.rpartition(".")[0] in fresh)
