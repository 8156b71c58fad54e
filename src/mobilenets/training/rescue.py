"""What went wrong where a loss is no number any more: which batch, which images, which node first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilenets.model import MobileNet
from mobilenets.training.objectives import Objective

_SHOWN = 3


class NotANumberError(ArithmeticError):
    """A loss or gradient that is not finite, or a loss that runs away; the message says all that is known."""


def cause(
    model: MobileNet, objective: Objective, images: Tensor, targets: Any, paths: Sequence[Path | str],
    *, step: int, lr: float, loss: float,
) -> str:  # fmt: skip
    """One paragraph: the batch, its images, the first node that departs, the learning rate.

    Args:
        model: as it was before the step that failed.
        objective: knows each image's loss.
        images: normalised batch, n c h w.
        targets: of the batch.
        paths: of the images.
        step: number of the batch.
        lr: peak-scaled rate of the step.
        loss: of the batch.
    """
    with torch.no_grad():
        node = _first_departure(model, images)
        losses = objective.losses(model(images), targets)
    order = losses.nan_to_num(torch.inf, torch.inf, torch.inf).argsort(descending=True).tolist()
    broken = [i for i in order if not bool(losses[i].isfinite())]
    worst = [str(paths[i]) for i in (broken or order)[:_SHOWN]]
    more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    which = "images without a finite loss" if broken else "images of the highest loss"
    where = f"the first node that is not finite is {node}" if node else "every node's values are finite"
    return f"step {step}: loss {loss:.3g} at learning rate {lr:.3g}; {where}; {which}: {', '.join(worst)}{more}"


def _first_departure(model: MobileNet, images: Tensor) -> str | None:
    """The first node, in running order, with a value that is not finite; `input` where the images have one."""
    names = [node.name for node in model.nodes]
    values = {"input": images} | model.taps(images, names)
    names = ["input", *names]
    return next((name for name in names if not bool(values[name].isfinite().all())), None)
