"""`train`: a run folder from a network and a folder of images."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.data.cache import Squares, load_squares, native_size
from mobilenets.data.folder import Folder, open_folder
from mobilenets.errors import CheckpointError, MisuseError, MobileNetsError
from mobilenets.files import run_folder, write_text
from mobilenets.model import MobileNet, build, load, save, versions, with_info
from mobilenets.table import json as table_json
from mobilenets.table.rows import Network
from mobilenets.training import pictures
from mobilenets.training.loop import Training, predict_squares
from mobilenets.training.recipe import Recipe
from mobilenets.training.state import load_state, save_state
from mobilenets.watching import Epoch, Watcher

STATE = "resume.safetensors"
FILES = (
    "settings.json", "split.json", "metrics.csv", "best.safetensors", "last.safetensors", STATE, "curves.png",
    "confusion.png", "samples.png",
)  # fmt: skip
"""What a run folder may hold."""
MARGIN = 1.15
"""Images are kept this much larger than the network's input, so that random crops do not have to be enlarged."""


def train(
    network: Network | str,
    data: str | Path,
    *,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> MobileNet:
    """Train a network on a folder of class folders; returns the best averaged model.

    The run folder holds settings.json, split.json, metrics.csv, best and last checkpoints, curves, confusion matrix and
    sample predictions. Interrupting keeps `last` and the state that `resume=True` goes on from.

    Args:
        network: a table or a name; its classifier is made to fit the folder's classes.
        data: a folder of class folders, or with train/ and val/.
        out: run folder; None takes the next free runs/trainN.
        recipe: how to train; None is the default recipe.
        minutes: overrides the recipe's; wall-clock training time.
        epochs: overrides the recipe's.
        resume: go on with the run in `out`; its settings and split are used.
        overwrite: write into a folder that exists.
        watcher: told about progress.

    Raises:
        MisuseError: wrong arguments, or a run folder that exists.
        DataError: images or labels that cannot be used.
    """
    watcher = watcher or Watcher()
    if resume:
        return _resume(out, data, watcher)
    chosen = _recipe(recipe, minutes, epochs)
    folder = open_folder(data, seed=chosen.seed)  # bad data is refused before a run folder is made
    table = build(network, folder.classes).network
    run = run_folder(out, "train", overwrite=overwrite)
    _clear(run)
    folder = open_folder(data, seed=chosen.seed, split_file=run / "split.json")
    settings = {
        "table": table_json.to_dict(table),
        "data": str(Path(data).resolve()),
        "recipe": chosen.to_dict(),
        "versions": versions(),
    }
    write_text(run / "settings.json", json.dumps(settings, indent=2))
    return _run(table, folder, chosen, run, watcher, state=None)


def run_files(run: Path) -> list[Path]:
    """The files of a run folder that a training writes."""
    return [path for name in FILES if (path := run / name).is_file()]


def _clear(run: Path) -> None:
    for path in run_files(run):
        path.unlink()


def _recipe(recipe: Recipe | None, minutes: float | None, epochs: int | None) -> Recipe:
    if minutes is not None and epochs is not None:
        raise MisuseError("give either `minutes` or `epochs`, not both.")
    if recipe is None:
        return Recipe(minutes=minutes, epochs=epochs if epochs is not None or minutes is not None else 30)
    if minutes is None and epochs is None:
        return recipe
    return replace(recipe, minutes=minutes, epochs=epochs)


def _resume(out: str | Path | None, data: str | Path, watcher: Watcher) -> MobileNet:
    if out is None:
        raise MisuseError("--resume needs --out: the run folder to go on with.")
    run = Path(out)
    try:
        settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MisuseError(f"{run}: no run to resume: settings.json cannot be read ({error}).") from error
    if not (run / STATE).is_file():
        if (run / "best.safetensors").is_file() and (run / "confusion.png").is_file():
            watcher.note(f"{run} is finished already.")
            return load(run / "best.safetensors")
        raise CheckpointError(f"{run}: it stopped before the first checkpoint; start again with --overwrite.")
    try:
        recipe = Recipe.from_dict(settings["recipe"])
        table = table_json.from_dict(settings["table"], where=str(run / "settings.json"))
    except (KeyError, TypeError, AttributeError) as error:
        raise MisuseError(f"{run}: no run to resume: settings.json is damaged ({error!r}).") from error
    folder = open_folder(data, seed=recipe.seed, split_file=run / "split.json")
    return _run(table, folder, recipe, run, watcher, state=run / STATE)


def load_splits(folder: Folder, resolution: int, watcher: Watcher) -> tuple[Squares, Squares]:
    """Decoded training and validation images: a little larger than `resolution`, never larger than the files are."""
    size = native_size(folder.splits["train"], round(resolution * MARGIN))
    loaded = []
    for split in ("train", "val"):
        watcher.phase(f"decoding {split} images", len(folder.splits[split]))
        squares = load_squares(folder.splits[split], size, on_progress=watcher.advance)
        for path, reason in squares.skipped[:5]:
            watcher.note(f"skipped {path}: {reason}")
        if len(squares.skipped) > 5:
            watcher.note(f"skipped {len(squares.skipped) - 5} more unreadable files in {split}")
        loaded.append(squares)
    return loaded[0], loaded[1]


def _run(
    table: Network, folder: Folder, recipe: Recipe, run: Path, watcher: Watcher, *, state: Path | None
) -> MobileNet:
    import torch

    watcher.started(run)
    torch.manual_seed(recipe.seed)
    try:
        train_squares, val_squares = load_splits(folder, table.resolution, watcher)
    except MobileNetsError:
        if state is None:  # nothing has begun: the same --out must be free for the next try
            _clear(run)
            with contextlib.suppress(OSError):
                run.rmdir()
        raise
    model = build(table, folder.classes, training=True)
    training = Training(model, recipe, train_squares, val_squares)
    if state is not None:
        load_state(training, state)
    try:
        return execute(training, run, watcher)
    except KeyboardInterrupt:
        watcher.note(f"interrupted: go on with the same command and --out {run} --resume.")
        raise


def execute(training: Training, run: Path, watcher: Watcher) -> MobileNet:
    """Run a training to its end inside a folder: checkpoints, CSV, pictures, and the state a resume needs."""
    recipe, val = training.recipe, training.val
    watcher.phase(f"training {training.model.network.label}")

    def on_epoch(line: Epoch, best: bool) -> None:
        _record(training, run, recipe, best)
        watcher.epoch(line, best)

    try:
        training.run(on_tick=watcher.tick, on_epoch=on_epoch)
    except KeyboardInterrupt:
        save_state(training, run / STATE)
        save(_with_metrics(training, recipe), run / "last.safetensors")
        raise
    best = load(run / "best.safetensors")
    _draw(best, training, val, best.info.classes, run)
    (run / STATE).unlink(missing_ok=True)
    return best


def _with_metrics(training: Training, recipe: Recipe) -> MobileNet:
    metrics: dict[str, Any] = {}
    if training.history:
        line = training.history[-1]
        metrics = {"val_top1": line.val_top1, "val_loss": line.val_loss, "epoch": line.epoch, "seconds": line.seconds}
    return with_info(training.average, metrics=metrics, recipe=recipe.to_dict())


def _record(training: Training, run: Path, recipe: Recipe, best: bool) -> None:
    """After each validation: checkpoints, the resume state, the CSV, the curves."""
    model = _with_metrics(training, recipe)
    save(model, run / "last.safetensors")
    if best:
        save(model, run / "best.safetensors")
    save_state(training, run / STATE)
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(line) for line in training.history)
    write_text(run / "metrics.csv", text.getvalue())


def _draw(model: MobileNet, training: Training, val: Squares, classes: tuple[str, ...], run: Path) -> None:
    probabilities, labels = (t.numpy() for t in predict_squares(model, val))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (labels, probabilities.argmax(1)), 1)
    pictures.curves(training.history, run / "curves.png", model.network.label)
    pictures.confusion(counts, classes, run / "confusion.png")
    pictures.samples(np.asarray(val.images), labels, probabilities, classes, run / "samples.png")
