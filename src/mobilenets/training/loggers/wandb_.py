"""Weights & Biases: a run named after the run folder; its own environment variables say where and whether online."""

from __future__ import annotations

import json
from pathlib import Path

from mobilenets.training.loggers import Logger, scalars
from mobilenets.watching import Epoch


class _WandB:
    def __init__(self, run: Path) -> None:
        import wandb  # type: ignore[import-not-found,unused-ignore]

        settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
        self.run = wandb.init(project="mobilenets", name=run.name, dir=str(run), config=settings["recipe"])

    def log(self, line: Epoch) -> None:
        self.run.log(scalars(line), step=line.step)

    def close(self) -> None:
        self.run.finish()


def open_logger(run: Path) -> Logger:
    """A logger of a run folder."""
    return _WandB(run)
