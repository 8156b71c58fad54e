"""Models that are served: opened as often as threads ask them, known by name only."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mobilenets.errors import MisuseError
from mobilenets.prediction import Prediction, Predictor, open_model
from mobilenets.prediction.answers import names_of
from mobilenets.prediction.asking import Read, reading
from mobilenets.prediction.loading import Seen, batch_of
from mobilenets.runtime import SUFFIXES
from mobilenets.serve.settings import Settings
from mobilenets.web import runs_in_browser

MOST_SESSIONS = 4
"""Sessions of a model: each holds its weights, and more processors help a session, too."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEPT_READERS = 256


class Asked(NamedTuple):
    """An image and what to tell of it.

    Attributes:
        name: for people.
        seen: what the network sees.
        top: classes or boxes that are told; None is the usual.
        score: least score of a box that is told; None is the usual.
    """

    name: str
    seen: Seen
    top: int | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is served.

    Attributes:
        name: by which requests ask for it.
        path: its file.
        predictors: each for one thread.
        sha256: of the file.
        max_batch: images that it may be asked about at once.
        reader: what reads outputs, by `top` and `score`.
    """

    name: str
    path: Path
    predictors: tuple[Predictor, ...]
    sha256: str
    max_batch: int
    reader: Callable[[int | None, float | None], Read]

    @property
    def first(self) -> Predictor:
        """One of the predictors, to ask what all have in common."""
        return self.predictors[0]

    @property
    def browser(self) -> bool:
        """Whether a browser can run the file."""
        return runs_in_browser(self.path, self.first)

    def to_dict(self) -> dict[str, Any]:
        """What clients are told of it."""
        return {
            "name": self.name,
            "task": self.first.task,
            "classes": list(names_of(self.first)),
            "resolution": self.first.preprocessing.resolution,
            "runtime": getattr(self.first, "runtime", "pytorch"),
            "precision": getattr(self.first, "precision", "fp32"),
            "bytes": self.path.stat().st_size,
            "sha256": self.sha256,
            "browser": self.browser,
        }


def open_models(
    named: Sequence[str], settings: Settings, *, runtime: str | None = None, precision: str | None = None
) -> dict[str, Model]:
    """Models by name, opened and run once.

    Args:
        named: files, or `NAME=FILE`; a file's name without its suffix is its model's name.
        settings: of the server.
        runtime: of exported files; None takes the format's own.
        precision: of float arithmetic in exported files.

    Raises:
        MisuseError: no model, two of a name, a name that does not fit an address, or see `open_model`.
    """
    if not named:
        raise MisuseError("no models given: name checkpoints or exported files (mobilenets serve model.onnx).")
    pairs = [_name_and_path(each) for each in named]
    for name, path in pairs:
        if others := [str(other) for again, other in pairs if again == name and other is not path]:
            raise MisuseError(f"two models are named {name!r} ({path}, {others[0]}): give one a name (other={path}).")
    return {name: _opened(name, path, settings, runtime, precision) for name, path in pairs}


def _name_and_path(named: str) -> tuple[str, Path]:
    name, equals, path = named.partition("=")
    if not equals or Path(named).exists():
        name, path = Path(named).stem, named
    if not _NAME.fullmatch(name):
        raise MisuseError(
            f"{name!r} ({named}) cannot be a model's name: up to 100 letters, digits, dots, hyphens and underscores. "
            f"Give it one: NAME={path}."
        )
    return name, Path(path)


def _opened(name: str, path: Path, settings: Settings, runtime: str | None, precision: str | None) -> Model:
    """A session for each of several threads: an answer's last operators run on one processor however many it has.

    PyTorch's threads are the process's, so checkpoints are opened once.
    """
    exported = path.suffix.lower() in SUFFIXES
    sessions = min(settings.processors, MOST_SESSIONS) if exported else 1
    threads = max(1, settings.processors // sessions)
    predictors = tuple(
        open_model(
            path, threads=threads, runtime=runtime if exported else None, precision=precision if exported else None
        )
        for _ in range(sessions)
    )
    first = predictors[0]
    contract = first.preprocessing
    black = np.zeros((1, contract.resolution, contract.resolution, contract.channels), np.uint8)
    for predictor in predictors:  # what a runtime puts off until its first run
        predictor.outputs(black)

    @functools.lru_cache(_KEPT_READERS)
    def reader(top: int | None, score: float | None) -> Read:
        return reading(first, top, score)

    reader(None, None)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Model(name, path, predictors, digest, min(settings.max_batch, batch_of(first.task)), reader)


def answering(model: Model, predictor: Predictor) -> Callable[[Sequence[Asked]], list[Prediction]]:
    """What answers a batch: the network runs once, its outputs are read as each request wants."""

    def answer(batch: Sequence[Asked]) -> list[Prediction]:
        outputs = predictor.outputs(np.stack([each.seen.square for each in batch]))
        told: dict[int, Prediction] = {}
        for wanted in dict.fromkeys((each.top, each.score) for each in batch):
            at = [i for i, each in enumerate(batch) if (each.top, each.score) == wanted]
            part = {name: values[at] for name, values in outputs.items()} if len(at) < len(batch) else outputs
            paths, images = [Path(batch[i].name) for i in at], [batch[i].seen for i in at]
            told |= dict(zip(at, model.reader(*wanted)(paths, images, part), strict=True))
        return [told[i] for i in range(len(batch))]

    return answer
