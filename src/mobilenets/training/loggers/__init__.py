"""Where a training's lines go beside its CSV: one small protocol, one file per service, each an extra."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mobilenets.errors import MissingExtraError, UnknownNameError
from mobilenets.watching import Epoch

SERVICES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""Service -> the package and extra it needs; its file here is named after it."""


class Logger(Protocol):
    """One that is told each validation's line."""

    def log(self, line: Epoch) -> None:
        """A validation is done."""
        ...

    def close(self) -> None:
        """The training is over, well or not."""
        ...


def open_loggers(names: Sequence[str], run: Path | None) -> list[Logger]:
    """Loggers by name, writing about a run folder; with None they are only checked.

    Raises:
        UnknownNameError: no such service.
        MissingExtraError: its package is not installed.
    """
    opened: list[Logger] = []
    for name in names:
        if name not in SERVICES:
            raise UnknownNameError("logger", name, SERVICES, hint=f"Known: {', '.join(SERVICES)}.")
        try:
            importlib.import_module(SERVICES[name])
        except ImportError as error:
            raise MissingExtraError(SERVICES[name], name, purpose=f"--log {name}") from error
        if run is not None:
            opened.append(importlib.import_module(f"{__name__}.{name}_").open_logger(run))
    return opened


def scalars(line: Epoch) -> dict[str, float]:
    """What services are told of a line, by name."""
    return {
        "train/loss": line.train_loss,
        "val/loss": line.val_loss,
        "val/top1": line.val_score,
        "lr": line.lr,
        "resolution": float(line.resolution),
        "images_per_s": line.images_per_s,
        "waiting": line.waiting,
        "epoch": line.epoch,
    }
