"""A training inside its run folder: what it leaves behind, and what a resume needs."""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mobilenets.files import remove_leftovers, write_text
from mobilenets.metrics import METRICS, SPOKEN
from mobilenets.model import MobileNet, load, save, with_info
from mobilenets.training import pictures
from mobilenets.training.loggers import Logger
from mobilenets.training.loop import Training
from mobilenets.training.state import previous, save_state
from mobilenets.watching import Epoch, Watcher

STATE = "resume.safetensors"
FILES = (
    "settings.json", "split.json", "metrics.csv", "best.safetensors", "last.safetensors", STATE,
    previous(Path(STATE)).name, "curves.png", "confusion.png", "precision.png", "samples.png", "lr.png",
)  # fmt: skip
"""What a run folder may hold."""
CHECKPOINT_S = 60.0
"""Seconds between checkpoints: what a kill can cost."""


def run_files(run: Path) -> list[Path]:
    """The files of a run folder that a training writes."""
    return [path for name in FILES if (path := run / name).is_file()]


def execute(
    training: Training, run: Path, watcher: Watcher, *, checkpoint_s: float = CHECKPOINT_S,
    loggers: Sequence[Logger] = (),
) -> MobileNet:  # fmt: skip
    """Run a training to its end inside a folder: checkpoints, CSV, pictures, and the state a resume needs."""
    keeper = _Keeper(training, run, watcher, loggers)
    watcher.metric = SPOKEN[training.task]
    watcher.phase(f"training {training.model.network.label}")
    if not training.world.leads:
        training.run(checkpoint_s=checkpoint_s)
        training.world.wait()
        return load(run / "best.safetensors")
    for name in FILES:
        remove_leftovers(run / name)
    try:
        training.run(
            on_tick=watcher.tick, on_epoch=keeper.record, on_checkpoint=keeper.checkpoint, on_note=watcher.note,
            checkpoint_s=checkpoint_s,
        )  # fmt: skip
    except KeyboardInterrupt:
        if training.whole:  # else the last checkpoint stays
            save_state(training, run / STATE)
            save(_with_metrics(training), run / "last.safetensors")
        raise
    finally:
        for logger in loggers:
            logger.close()
    keeper.finish()
    best = load(run / "best.safetensors")
    pictures.curves(training.history, run / "curves.png", best.network.label, metric=SPOKEN[training.task])
    training.objective.draw(best, training.val, run)
    for path in (run / STATE, previous(run / STATE)):
        path.unlink(missing_ok=True)
    training.world.wait()
    return best


class _Keeper:
    """Writes what a training leaves behind; a disk that is full costs the file, not the training."""

    def __init__(self, training: Training, run: Path, watcher: Watcher, loggers: Sequence[Logger]) -> None:
        self.training, self.run, self.watcher, self.loggers = training, run, watcher, loggers
        self.owed: MobileNet | None = None

    def checkpoint(self) -> None:
        """The state that a resume needs."""
        try:
            save_state(self.training, self.run / STATE)
        except OSError as error:
            self._missed(error)

    def record(self, line: Epoch, best: bool) -> None:
        """After a validation: checkpoints, the resume state, the CSV, the loggers."""
        model = _with_metrics(self.training)
        if best:
            self.owed = model
        try:
            self._write_best()
            save(model, self.run / "last.safetensors")
            save_state(self.training, self.run / STATE)
            _write_csv(self.training, self.run / "metrics.csv")
        except OSError as error:
            if self.owed is not None:
                self.owed = copy.deepcopy(self.owed)  # the average goes on moving
            self._missed(error)
        for logger in self.loggers:
            logger.log(line)
        self.watcher.epoch(line, best)

    def finish(self) -> None:
        """What is still owed; now a full disk is an error."""
        self._write_best()
        _write_csv(self.training, self.run / "metrics.csv")

    def _write_best(self) -> None:
        if self.owed is not None:
            save(self.owed, self.run / "best.safetensors")
            self.owed = None

    def _missed(self, error: OSError) -> None:
        self.watcher.note(
            f"{self.run}: a checkpoint could not be written ({error.strerror or error}); the training goes on, the one "
            "before is still there. Free some space."
        )


def _write_csv(training: Training, path: Path) -> None:
    """The history, with the metric under its name."""
    named = {f.name: f.name for f in fields(Epoch)} | {"val_score": f"val_{METRICS[training.task]}"}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(named.values())
    writer.writerows(asdict(line).values() for line in training.history)
    write_text(path, text.getvalue())


def _with_metrics(training: Training) -> MobileNet:
    metrics: dict[str, Any] = {}
    if training.history:
        line = training.history[-1]
        metric = f"val_{METRICS[training.task]}"
        beside = {f"val_{name}": value for name, value in training.beside.items()}
        metrics = {metric: line.val_score, **beside, "val_loss": line.val_loss}
        metrics |= {"epoch": line.epoch, "seconds": line.seconds}
    return with_info(training.average, metrics=metrics, recipe=training.recipe.to_dict())
