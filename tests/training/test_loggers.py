"""Loggers: one protocol, each behind its extra, told each validation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import mobilenets as mn
from mobilenets.errors import MissingExtraError, UnknownNameError
from mobilenets.training import Recipe
from mobilenets.training.loggers import open_loggers


def test_tensorboard_reads_what_was_written(small_scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    network = mn.scale(mn.network("mobilenet_v1"), 0.25, 32)
    recipe = Recipe(epochs=2, batch_size=32, precision="fp32")
    model = mn.train(network, small_scenes, out=out, recipe=recipe, weights="none", loggers=["tensorboard"])
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    scores = [event.value for event in events.Scalars("val/top1")]
    assert len(scores) == 2 and max(scores) == pytest.approx(model.info.metrics["val_top1"])


def test_unknown_and_missing_loggers_are_refused_before_anything_is_written(
    small_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown logger 'tensorbord'\. Did you mean tensorboard"):
        open_loggers(["tensorbord"], None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    network = mn.scale(mn.network("mobilenet_v1"), 0.25, 32)
    with pytest.raises(MissingExtraError, match=r"--log wandb needs wandb.*pip install 'mobilenets\[wandb\]'"):
        mn.train(network, small_scenes, out=tmp_path / "run", loggers=["wandb"])
    assert not (tmp_path / "run").exists()
