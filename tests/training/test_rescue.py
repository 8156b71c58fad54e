"""A loss that leaves the numbers: the cause is told, once the training goes on at half the rate, then it stops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_loop import RECIPE, training

from mobilenets.errors import DivergedError
from mobilenets.training import Training


def poisoned(node: str, at: int, times: int) -> tuple[Training, list[str]]:
    """A training one of whose filters becomes infinite before a step, for so many times."""
    run = training(replace(RECIPE, epochs=4))
    left = [times]
    before = run._step

    def step(chosen: object, stop: float) -> tuple[float, bool]:
        if run.step >= at and left[0]:
            left[0] -= 1
            with torch.no_grad():
                run.model.get_submodule(node).weight[0] = torch.inf  # type: ignore[index,operator]
        return before(chosen, stop)  # type: ignore[arg-type]

    run._step = step  # type: ignore[method-assign,assignment]
    return run, []


def test_once_is_told_and_survived() -> None:
    run, notes = poisoned("row05.expand.conv", at=7, times=1)
    run.run(on_note=notes.append)
    assert run.rate_factor == 0.5 and run.history[-1].step == 4 * run.steps_per_epoch
    assert all(p.isfinite().all() for p in run.model.parameters())
    first, second = notes
    assert "the training diverged: step 7: loss nan at learning rate" in first
    assert "the first node that is not finite is row05.expand.conv" in first
    assert "images without a finite loss" in first and ".jpg" in first
    assert second == f"going on from step {run.steps_per_epoch} at half the learning rate."


def test_twice_is_an_error_with_the_cause() -> None:
    run, notes = poisoned("row03.depthwise.conv", at=3, times=2)
    with pytest.raises(DivergedError, match=r"diverged again at half the rate. step 3: .* row03.depthwise.conv"):
        run.run(on_note=notes.append)


def test_a_rate_that_is_far_too_high_runs_away() -> None:
    run = training(replace(RECIPE, epochs=40, lr=3e4, warmup=0.0, label_smoothing=0.0), name="mobilenet_v1")
    notes: list[str] = []
    with pytest.raises(DivergedError, match="Give a lower --lr"):
        run.run(on_note=notes.append)
    assert notes


def test_clipping_bounds_the_step() -> None:
    run = training(replace(RECIPE, clip=0.01))
    norms = []
    before = run.optimizer.step

    def step() -> None:
        norms.append(
            float(torch.nn.utils.get_total_norm([p.grad for p in run.model.parameters() if p.grad is not None]))
        )
        before()

    run.optimizer.step = step  # type: ignore[method-assign,assignment]
    run.run()
    assert max(norms) <= 0.01 * 1.001
