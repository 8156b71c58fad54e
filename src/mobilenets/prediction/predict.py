"""Image files to labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilenets.data import decode
from mobilenets.data.sources import Source
from mobilenets.errors import DataError, MisuseError
from mobilenets.prediction.auto import open_auto, wants_auto
from mobilenets.prediction.predictor import Predictor, open_model

BATCH = 32
LIKELY = 0.5
"""Probability from which an image has a class, where it may have several."""

S = TypeVar("S", bound=Source)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one file.

    Attributes:
        path: the file.
        label: most probable class; where images have several, all at least as likely as not, joined by `|`; None where
            the file cannot be read.
        score: probability of the most probable class.
        top: the most probable classes with their probabilities, best first.
        error: why the file cannot be read, or None.
    """

    path: Path
    label: str | None
    score: float | None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        top = [{"label": label, "score": score} for label, score in self.top]
        return {"path": str(self.path), "label": self.label, "score": self.score, "top": top, "error": self.error}


def predict(
    model: Any,
    paths: str | Path | Sequence[str | Path],
    *,
    top: int = 5,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[Prediction]:
    """Label image files.

    Args:
        model: a checkpoint, an exported file, or a model in memory.
        paths: files, folders (searched through) or globs.
        top: how many classes to list for each file.
        threads: processors to use; None takes all.
        runtime: of an exported file; None takes the format's own; `auto` measures, see `auto.choose`. A bundle's folder
            is always measured.
        precision: of float arithmetic in an exported file; None is fp32.
        on_progress: called with (done, all).
        on_note: told which runtime was chosen.

    Raises:
        MisuseError: no such model or path, a folder without images, or `top` below 1. A file that cannot be read is
            no error: its prediction says why.
    """
    if top < 1:
        raise MisuseError(f"`top` (={top}) must be at least 1.")
    chosen = wants_auto(model, runtime)
    predictor = None if chosen else open_model(model, threads=threads, runtime=runtime, precision=precision)
    files = decode.find_images([paths] if isinstance(paths, str | Path) else paths)
    if predictor is None:
        predictor = open_auto(model, lambda _: files, threads=threads, precision=precision, note=on_note)
    found: list[Prediction] = []
    for batch, images, errors in loaded_batches(files, predictor):
        rows = iter(predictor.run(images)) if len(images) else iter(())
        for path in batch:
            if path in errors:
                found.append(Prediction(path, None, None, error=errors[path]))
            else:
                found.append(_prediction(path, next(rows), predictor, top))
        if on_progress is not None:
            on_progress(len(found), len(files))
    return found


def loaded_batches(
    files: Sequence[S], predictor: Predictor, size: int = BATCH
) -> Iterator[tuple[Sequence[S], NDArray[np.uint8], dict[S, str]]]:
    """(files, readable images as uint8 n h w c in the same order, reasons of the unreadable) a batch.

    The next batch is decoded by threads while the model runs on this one.
    """

    def load(path: Source) -> NDArray[np.uint8] | str:
        try:
            return decode.load_image(path, predictor.preprocessing)
        except DataError as error:
            return str(error)

    batches = [files[i : i + size] for i in range(0, len(files), size)]
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(load, path) for path in batches[0]] if batches else []
        for i, batch in enumerate(batches):
            results = [future.result() for future in waiting]
            if i + 1 < len(batches):
                waiting = [pool.submit(load, path) for path in batches[i + 1]]
            errors = {path: r for path, r in zip(batch, results, strict=True) if isinstance(r, str)}
            images = [r for r in results if not isinstance(r, str)]
            size_px = predictor.preprocessing.resolution
            stacked = (
                np.stack(images)
                if images
                else np.zeros((0, size_px, size_px, predictor.preprocessing.channels), np.uint8)
            )
            yield batch, stacked, errors


def _prediction(path: Path, row: NDArray[np.float32], predictor: Predictor, top: int) -> Prediction:
    classes = predictor.classes
    order = np.argsort(-row).tolist()
    named = tuple((classes[i] if i < len(classes) else str(i), float(row[i])) for i in order)
    label = named[0][0]
    if predictor.task == "multi-label":
        label = "|".join(name for name, score in named if score >= LIKELY)
    return Prediction(path, label, named[0][1], named[:top])
