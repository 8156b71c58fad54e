"""`train`: a run folder from a network and labelled images."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mobilenets.data.cache import Squares, load_squares, native_size
from mobilenets.data.folder import Folder, open_folder
from mobilenets.data.stretched import load_pictures
from mobilenets.doctor import glance
from mobilenets.errors import CheckpointError, MisuseError, MobileNetsError
from mobilenets.files import run_folder, write_text
from mobilenets.model import MobileNet, load, versions
from mobilenets.table import json as table_json
from mobilenets.table.rows import Network
from mobilenets.training.distill import ask_teachers
from mobilenets.training.finder import find_rate
from mobilenets.training.keeping import CHECKPOINT_S, STATE, execute, run_files
from mobilenets.training.loggers import open_loggers
from mobilenets.training.loop import Training
from mobilenets.training.matching import Matching
from mobilenets.training.objectives import Data
from mobilenets.training.parallel import World, job, join, leave
from mobilenets.training.recipe import Dense, Finetune, Recipe, recipe_named
from mobilenets.training.speed import fastest_batch
from mobilenets.training.start import Start, begin_for, calibrate, rebuilt
from mobilenets.training.state import load_state, previous
from mobilenets.watching import Watcher
from mobilenets.weights.fetch import Address, fetch
from mobilenets.zoo import network as network_by_name

MARGIN = 1.15
"""Images are kept this much larger than the network's input, so that random crops do not have to be enlarged."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """Who else teaches a training.

    Attributes:
        teachers: checkpoints or exported files, whose mean probabilities are answered beside the labels.
        match: student's node -> teacher's, whose features should agree; the first teacher, a checkpoint.
    """

    teachers: tuple[str, ...] = ()
    match: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if absent := next((teacher for teacher in self.teachers if not Path(teacher).is_file()), None):
            raise MisuseError(
                f"no such teacher: {absent}. Give a checkpoint (.safetensors) or an exported file (.onnx)."
            )
        if self.match and not self.teachers:
            raise MisuseError("--match needs a --teacher to match.")
        if self.match and not self.teachers[0].endswith(".safetensors"):
            raise MisuseError(f"--match needs a checkpoint (.safetensors) as first teacher, got {self.teachers[0]}.")


def train(
    network: Network | str,
    data: str | Path,
    *,
    out: str | Path | None = None,
    recipe: Recipe | str | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    changes: Mapping[str, Any] | None = None,
    weights: str | Path = "auto",
    teachers: Sequence[str | Path] = (),
    match: Mapping[str, str] | None = None,
    loggers: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_s: float = CHECKPOINT_S,
    watcher: Watcher | None = None,
) -> MobileNet:
    """Train a network on labelled images, boxes or masks; returns the best averaged model.

    The run folder holds settings.json, split.json, metrics.csv, best and last checkpoints, curves, confusion matrix and
    sample predictions. Whatever stops it, `resume=True` goes on from the last checkpoint, to the same weights, bit for
    bit, that an uninterrupted run of as many epochs ends with (on the processor, with as many threads). Under torchrun
    all processes train one model.

    Args:
        network: a table or a name; its classifier is made to fit the folder's classes.
        data: labelled images, see `open_folder`.
        out: run folder; None takes the next free runs/trainN.
        recipe: how to train, or its name; None is `finetune` where weights are given and found, else `quick`; `dense`
            for boxes and masks.
        minutes: overrides the recipe's; wall-clock time for all of it.
        epochs: overrides the recipe's; 30 where neither is given.
        changes: of the recipe's fields, by name.
        weights: what to start from: a file, `hf://owner/repo`, `imagenet`, `auto` or `none`.
        teachers: checkpoints (also `hf://owner/repo/file`) or exported files, whose answers are learned beside labels.
        match: student's node name -> first teacher's, whose features should agree.
        loggers: `tensorboard`, `wandb`, `mlflow`.
        resume: go on with the run in `out`; its settings and split are used.
        overwrite: write into a folder that exists.
        checkpoint_s: seconds between checkpoints.
        watcher: told about progress.

    Raises:
        MisuseError: wrong arguments, or a run folder that exists.
        DataError: images or labels that cannot be used.
        CheckpointError: weights or a teacher that do not fit.
        DivergedError: the loss left the numbers, twice.
    """
    began, world = time.perf_counter(), join()
    watcher = watcher if watcher is not None and world.leads else Watcher()
    if world.size > 1 and out is None:
        raise MisuseError("several processes need one run folder: give --out, so that a restart finds it again.")
    try:
        if world.restarts and out is not None and world.told(_is_ours(Path(out))):
            resume, overwrite = _has_state(Path(out)), True
        if resume:
            return _resume(out, data, watcher, world, checkpoint_s, began)
        asked = (fetch(Address.parse(str(t)), note=watcher.note) if str(t).startswith("hf://") else t for t in teachers)
        lessons = Lessons(tuple(str(t) for t in asked), dict(match or {}))
        open_loggers(loggers, None)  # a missing one is refused before anything is written
        given = recipe_named(recipe) if isinstance(recipe, str) else recipe
        chosen = _recipe(given or Recipe, minutes, epochs, changes or {})  # what is wrong in it is said first
        seed = chosen.seed
        table = network_by_name(network) if isinstance(network, str) else network
        chosen.check_task(table.task)
        folder = open_data(data, table, seed=seed)  # bad data is refused before a run folder is made
        start = begin_for(table, folder, weights, seed=seed, note=watcher.note)
        if recipe is None and (start.source is not None or table.task != "classify"):
            chosen = _recipe(Finetune if table.task == "classify" else Dense, minutes, epochs, changes or {})
        world.share_of(chosen.batch_size or 64)
        run = Path(world.told(str(run_folder(out, "train", overwrite=overwrite)) if world.leads else ""))
        if world.leads:
            _clear(run)
            folder = open_data(data, table, seed=seed, split_file=run / "split.json")
            for remark in glance(folder):
                watcher.note(remark)
        world.wait()
        if not world.leads:
            folder = open_data(data, table, seed=seed, split_file=run / "split.json")
        settings = start.settings() | {
            "job": job(),
            "data": str(Path(data).resolve()),
            "recipe": chosen.to_dict(),
            "teachers": list(lessons.teachers),
            "match": dict(lessons.match),
            "loggers": list(loggers),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }
        if world.leads:
            write_text(run / "settings.json", json.dumps(settings, indent=2))
        return _run(start, folder, chosen, lessons, settings, run, watcher, world, checkpoint_s, began, resumed=False)
    finally:
        leave()


def _is_ours(run: Path) -> bool:
    """Whether a run folder was begun by the job that now restarts: only then may it be gone on with unasked."""
    try:
        return bool(json.loads((run / "settings.json").read_text(encoding="utf-8"))["job"] == job())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _has_state(run: Path) -> bool:
    return any((run / name).is_file() for name in (STATE, previous(Path(STATE)).name))


def _clear(run: Path) -> None:
    for path in run_files(run):
        path.unlink()


def _recipe(
    recipe: Recipe | type[Recipe], minutes: float | None, epochs: int | None, changes: Mapping[str, Any]
) -> Recipe:
    if minutes is not None and epochs is not None:
        raise MisuseError("give either `minutes` or `epochs`, not both.")
    given = minutes is not None or epochs is not None
    if not isinstance(recipe, Recipe):
        return recipe(minutes=minutes, epochs=epochs if given else 30, **changes)
    ends: dict[str, Any] = {"minutes": minutes, "epochs": epochs} if given else {}
    return replace(recipe, **ends, **changes)


def _resume(
    out: str | Path | None, data: str | Path, watcher: Watcher, world: World, checkpoint_s: float, began: float
) -> MobileNet:
    if out is None:
        raise MisuseError("--resume needs --out: the run folder to go on with.")
    run = Path(out)
    try:
        settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MisuseError(f"{run}: no run to resume: settings.json cannot be read ({error}).") from error
    if not _has_state(run):
        if (run / "best.safetensors").is_file() and (run / "samples.png").is_file():
            watcher.note(f"{run} is finished already.")
            return load(run / "best.safetensors")
        raise CheckpointError(f"{run}: it stopped before the first checkpoint; start again with --overwrite.")
    try:
        recipe = Recipe.from_dict(settings["recipe"])
        lessons = Lessons(tuple(settings["teachers"]), settings["match"])
        seed, threads = recipe.seed, int(settings["threads"])
        table = table_json.from_dict(settings["table"], where=str(run / "settings.json"))
        folder = open_data(data, table, seed=seed, split_file=run / "split.json")
        start = rebuilt(settings, table, folder.classes)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MisuseError(f"{run}: no run to resume: settings.json is damaged ({error!r}).") from error
    if threads != torch.get_num_threads():
        watcher.note(f"begun with {threads} threads, which is kept: sums are the same, bit for bit, with as many only.")
        torch.set_num_threads(threads)
    return _run(start, folder, recipe, lessons, settings, run, watcher, world, checkpoint_s, began, resumed=True)


def open_data(path: str | Path, network: Network, *, seed: int, split_file: Path | None = None) -> Folder:
    """The data set that a network learns from: classes, boxes or masks, as its head wants them.

    Raises:
        MisuseError: no data set, or one of another task.
        DataError: see `open_folder`.
    """
    task = None if network.task == "classify" else network.task
    folder = open_folder(path, seed=seed, split_file=split_file, task=task)
    if network.task == "classify" and folder.task in ("detect", "segment"):
        head, gives = {"detect": ("ssdlite", "boxes"), "segment": ("lraspp", "masks")}[folder.task]
        raise MisuseError(
            f"{path} has {gives}, and {network.name} names classes of whole images: `{head}_{network.name}` gives "
            f"{gives}."
        )
    return folder


def load_splits(folder: Folder, resolution: int, watcher: Watcher, *, channels: int = 3) -> tuple[Data, Data]:
    """Decoded training and validation images: a little larger than `resolution`, never larger than the files are."""
    size = native_size(folder.splits["train"], round(resolution * MARGIN))
    loaded: list[Data] = []
    for split in ("train", "val"):
        watcher.phase(f"decoding {split} images", len(folder.splits[split]))
        decoded = _decoded(folder, split, size, channels, watcher)
        for path, reason in decoded.skipped[:5]:
            watcher.note(f"skipped {path}: {reason}")
        if len(decoded.skipped) > 5:
            watcher.note(f"skipped {len(decoded.skipped) - 5} more unreadable files in {split}")
        loaded.append(decoded)
    return loaded[0], loaded[1]


def _decoded(folder: Folder, split: str, size: int, channels: int, watcher: Watcher) -> Data:
    samples = folder.splits[split]
    if folder.task in ("detect", "segment"):
        return load_pictures(
            samples, size, channels=channels, exact=split != "train", on_progress=watcher.advance, on_note=watcher.note
        )
    return load_squares(
        samples, size, classes=len(folder.classes), channels=channels, exact=split != "train",
        on_progress=watcher.advance, on_note=watcher.note,
    )  # fmt: skip


def _run(
    start: Start, folder: Folder, recipe: Recipe, lessons: Lessons, settings: dict[str, Any], run: Path,
    watcher: Watcher, world: World, checkpoint_s: float, began: float, *, resumed: bool,
) -> MobileNet:  # fmt: skip
    watcher.started(run)
    table = start.model.network
    try:
        train_squares, val_squares = load_splits(folder, table.resolution, watcher, channels=table.in_channels)
        taught = _taught(start.model, lessons, train_squares, folder.classes, watcher)
    except MobileNetsError:
        if not resumed and world.leads:  # nothing has begun: the same --out must be free for the next try
            _clear(run)
            with contextlib.suppress(OSError):
                run.rmdir()
        raise
    if not resumed:
        calibrate(start, train_squares)
        recipe = _measured(start, recipe, train_squares, run, watcher, world)
        if world.leads:
            write_text(run / "settings.json", json.dumps(settings | {"recipe": recipe.to_dict()}, indent=2))
    training = Training(
        start.model, recipe, train_squares, val_squares, fresh=start.fresh, teacher=taught.answers,
        teachers=taught.models, matching=taught.matching, world=world,
        spent_s=world.told(time.perf_counter() - began),
    )  # fmt: skip
    if resumed:
        load_state(training, run / STATE, note=watcher.note)
    opened = open_loggers(settings["loggers"] if world.leads else (), run)
    try:
        return execute(training, run, watcher, checkpoint_s=checkpoint_s, loggers=opened)
    except KeyboardInterrupt:
        watcher.note(f"interrupted: go on with the same command and --out {run} --resume.")
        raise


class _Taught(NamedTuple):
    """What teachers give a training: answers to all images, or themselves; and features to be matched."""

    answers: torch.Tensor | None = None
    models: tuple[MobileNet, ...] = ()
    matching: Matching | None = None


def _taught(model: MobileNet, lessons: Lessons, images: Data, classes: Sequence[str], watcher: Watcher) -> _Taught:
    """What the teachers say of the training images, and the features to be matched."""
    if not lessons.teachers:
        return _Taught()
    matching = Matching(model, load(lessons.teachers[0]), lessons.match) if lessons.match else None
    if not isinstance(images, Squares):  # crops move boxes and masks: their teachers see every batch
        if files := [teacher for teacher in lessons.teachers if not teacher.endswith(".safetensors")]:
            raise MisuseError(f"a teacher of boxes or masks must be a checkpoint (.safetensors), got {files[0]}.")
        return _Taught(models=tuple(load(teacher) for teacher in lessons.teachers), matching=matching)
    watcher.phase("asking the teacher", len(images))
    answers = ask_teachers(lessons.teachers, images, classes, on_progress=watcher.advance, note=watcher.note)
    return _Taught(answers, matching=matching)


def _measured(start: Start, recipe: Recipe, squares: Data, run: Path, watcher: Watcher, world: World) -> Recipe:
    """The recipe with what it leaves to measuring: batch size, learning rate."""
    if recipe.batch_size == 0:
        watcher.phase("measuring batch sizes")
        precision = "fp32" if recipe.precision == "auto" else recipe.precision
        found = fastest_batch(start.model, precision, world.device, len(squares)) * world.size
        recipe = replace(recipe, batch_size=world.told(found))
        watcher.note(f"batch size {recipe.batch_size}: the fastest here")
    if recipe.lr == 0:
        watcher.phase("measuring learning rates")
        test = find_rate(start.model, recipe, squares, start.fresh)
        recipe = replace(recipe, lr=world.told(test.lr))
        if world.leads:
            test.draw(run / "lr.png")
        watcher.note(f"learning rate {recipe.lr:.2g} (at batch size 64), by a range test: {run / 'lr.png'}")
    return recipe
