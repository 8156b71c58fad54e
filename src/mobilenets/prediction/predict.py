"""Images to labels, boxes or masks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mobilenets.data.sources import Source
from mobilenets.prediction.asking import LIKELY, asking, check_asked
from mobilenets.prediction.batch_function import with_batches
from mobilenets.prediction.drawn import Drawn
from mobilenets.prediction.found import Prediction
from mobilenets.prediction.inputs import sources_of
from mobilenets.prediction.loading import BATCH, loaded_batches
from mobilenets.prediction.pipeline import through
from mobilenets.prediction.predictor import Predictor
from mobilenets.prediction.sessions import Opened, already_open, open_for_many

__all__ = ["BATCH", "LIKELY", "Prediction", "loaded_batches", "predict", "predict_files", "predict_stream"]

SAMPLE = 64
"""First images that may be looked at to choose a runtime."""

Progress = Callable[[int, int], None]


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
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[Prediction]:
    """What a model says of image files: classes, boxes or masks.

    Args:
        model: a checkpoint, an exported file, or a model in memory.
        paths: files, folders (searched through) or globs; see `sources_of` for what else.
        top: classes listed for each file, 5 unless given; of a detector the boxes, 100 unless given.
        score: least score of a box that is listed, 0.5 unless given.
        draw: folder for the pictures with what was found drawn on them.
        threads: processors to use; None takes all that are allowed.
        runtime: of an exported file; None takes the format's own; `auto` measures, see `auto.choose`. A bundle's folder
            is always measured.
        precision: of float arithmetic in an exported file; None is fp32.
        on_progress: called with (done, all).
        on_note: told which runtime was chosen.

    Raises:
        MisuseError: no such model or path, a folder without images, a `top` or `score` out of range, or a picture that
            would be written over an image. A file that cannot be read is no error: its prediction says why.
    """
    names = [paths] if isinstance(paths, str | Path) else paths
    files: list[Source] = []

    def sample() -> Sequence[Source]:
        files.extend(sources_of(names))
        return files

    opened = open_for_many(model, sample, threads=threads, runtime=runtime, precision=precision, note=on_note)
    return _all(opened, files or sample(), top, score, draw, on_progress)


def predict_stream(
    model: Any,
    paths: str | Path | Iterable[str | Path],
    *,
    top: int | None = None,
    score: float | None = None,
    draw: str | Path | None = None,
    features: str | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[Prediction]:
    """`predict` of any number of images, one after the other, in bounded memory.

    What is wrong with the request is told at once, before the first prediction is asked for.

    Args:
        model: see `predict`.
        paths: see `sources_of`.
        top: see `predict`.
        score: see `predict`.
        draw: see `predict`; all names are listed first, since the pictures' folders depend on them.
        features: a node whose values are wanted, too, such as `row19.conv`; see `features.open_featured`.
        threads: see `predict`.
        runtime: see `predict`.
        precision: see `predict`.
        on_note: told which runtime was chosen, and how the processors share the work.
    """
    opened, sources, drawn = open_with(
        model, [paths] if isinstance(paths, str | Path) else paths, top=top, score=score, draw=draw, features=features,
        threads=threads, runtime=runtime, precision=precision, on_note=on_note,
    )  # fmt: skip
    return through(sources, opened, partial(asking, top=top, score=score), drawn=drawn, on_plan=on_note)


def open_with(
    model: Any,
    paths: Iterable[str | Path],
    *,
    top: int | None = None,
    score: float | None = None,
    draw: str | Path | None = None,
    features: str | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    on_note: Callable[[str], None] | None = None,
) -> tuple[Opened, Iterator[Source], Drawn | None]:
    """A model, its images and what draws on them, for arguments as `predict_stream` has them."""
    sources, first = sources_of(paths), list[Source]()

    def sample() -> Sequence[Source]:
        first.extend(itertools.islice(sources, SAMPLE))
        return first

    opened = open_for_many(
        model, sample, features=features, threads=threads, runtime=runtime, precision=precision, note=on_note
    )
    check_asked(opened.first.task, top, score)
    sources = itertools.chain(first, sources)
    if draw is None:
        return opened, sources, None
    listed = list(sources)
    return opened, iter(listed), drawing(listed, draw)


def predict_files(
    predictor: Predictor,
    files: Sequence[Path],
    *,
    top: int | None = None,
    score: float | None = None,
    draw: str | Path | None = None,
    on_progress: Progress | None = None,
) -> list[Prediction]:
    """`predict` of an opened model and files that are known."""
    return _all(already_open(predictor), files, top, score, draw, on_progress)


def _all(
    opened: Opened,
    files: Sequence[Source],
    top: int | None,
    score: float | None,
    draw: str | Path | None,
    on_progress: Progress | None,
) -> list[Prediction]:
    check_asked(opened.first.task, top, score)
    drawn = None if draw is None else drawing(files, draw)
    found: list[Prediction] = []
    for each in through(files, opened, partial(asking, top=top, score=score), drawn=drawn):
        found.append(each)
        if on_progress is not None:
            on_progress(len(found), len(files))
    return found


def drawing(sources: Sequence[Source], folder: str | Path) -> Drawn:
    """What draws on images, in a folder."""
    return Drawn([Path(str(source)) for source in sources], Path(folder))
