"""Image files to labels, boxes or masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mobilenets.data import decode
from mobilenets.data.sources import Source
from mobilenets.prediction.asking import LIKELY, asking, unreadable
from mobilenets.prediction.auto import open_auto, wants_auto
from mobilenets.prediction.batch_function import with_batches
from mobilenets.prediction.drawn import Drawn
from mobilenets.prediction.found import Prediction
from mobilenets.prediction.loading import BATCH, Seen, batch_of, batches, load_seen, loaded_batches
from mobilenets.prediction.predictor import Predictor, open_model

__all__ = ["BATCH", "LIKELY", "Prediction", "loaded_batches", "predict", "predict_files"]


@with_batches  # mobilenets.predict.batch_function: the same for engines that have the rows
def predict(
    model: Any,
    paths: str | Path | Sequence[str | Path],
    *,
    top: int | None = None,
    score: float | None = None,
    draw: str | Path | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[Prediction]:
    """What a model says of image files: classes, boxes or masks.

    Args:
        model: a checkpoint, an exported file, or a model in memory.
        paths: files, folders (searched through) or globs.
        top: classes listed for each file, 5 unless given; of a detector the boxes, 100 unless given.
        score: least score of a box that is listed, 0.5 unless given.
        draw: folder for the pictures with what was found drawn on them.
        threads: processors to use; None takes all.
        runtime: of an exported file; None takes the format's own; `auto` measures, see `auto.choose`. A bundle's folder
            is always measured.
        precision: of float arithmetic in an exported file; None is fp32.
        on_progress: called with (done, all).
        on_note: told which runtime was chosen.

    Raises:
        MisuseError: no such model or path, a folder without images, a `top` or `score` out of range, or a picture that
            would be written over an image. A file that cannot be read is no error: its prediction says why.
    """
    chosen = wants_auto(model, runtime)
    predictor = None if chosen else open_model(model, threads=threads, runtime=runtime, precision=precision)
    files = decode.find_images([paths] if isinstance(paths, str | Path) else paths)
    if predictor is None:
        predictor = open_auto(model, lambda _: files, threads=threads, precision=precision, note=on_note)
    return predict_files(predictor, files, top=top, score=score, draw=draw, on_progress=on_progress)


def predict_files(
    predictor: Predictor,
    files: Sequence[Path],
    *,
    top: int | None = None,
    score: float | None = None,
    draw: str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Prediction]:
    """`predict` of an opened model and files that are known."""
    ask = asking(predictor, top, score)
    drawn = None if draw is None else Drawn(files, Path(draw))
    found: list[Prediction] = []

    def load(path: Source) -> Seen:
        return load_seen(path, predictor.preprocessing, keep=drawn is not None)

    for part, images, errors in batches(files, load, batch_of(predictor.task)):
        readable = [path for path in part if path not in errors]
        told = iter(ask(readable, images) if images else [])
        found += [unreadable(path, errors[path], predictor.task) if path in errors else next(told) for path in part]
        if drawn is not None:
            drawn.write([each for each in found[-len(part) :] if each.error is None], images)
        if on_progress is not None:
            on_progress(len(found), len(files))
    return found
