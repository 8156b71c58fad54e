"""Predictions into a file, from the first image or from where a killed run was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mobilenets.data.sources import Source
from mobilenets.errors import MisuseError
from mobilenets.prediction import Prediction
from mobilenets.prediction.asking import asking
from mobilenets.prediction.frames import is_camera
from mobilenets.prediction.pipeline import through
from mobilenets.prediction.predict import open_with
from mobilenets.streams.journal import Journal, journal_of, part_of
from mobilenets.streams.outputs import Output, check_suffix


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a run.

    Attributes:
        path: the file.
        rows: images in it.
        before: of them by runs that were interrupted.
        errors: images of this run that could not be read.
    """

    path: Path
    rows: int
    before: int
    errors: int


def predict_to(
    out: str | Path,
    model: str | Path,
    paths: str | Path | Iterable[str | Path],
    *,
    resume: bool = False,
    overwrite: bool = False,
    top: int | None = None,
    score: float | None = None,
    draw: str | Path | None = None,
    features: str | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    on_row: Callable[[Prediction], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Done:
    """Write what a model says of images to a file, a row for each, in their order and in bounded memory.

    The file appears when all rows are there. A run that was killed at any moment goes on with `resume`, and the file is
    the same, byte for byte, as if it had not been.

    Args:
        out: `.csv`, `.jsonl`, `.json` (COCO's where there are boxes or masks) or `.parquet`.
        model: a checkpoint, an exported file or a bundle.
        paths: see `prediction.inputs.sources_of`.
        resume: go on where a run with the same arguments was interrupted; begin where there was none.
        overwrite: replace the file, and forget what an interrupted run left.
        top: see `predict`.
        score: see `predict`.
        draw: see `predict`.
        features: a node whose values are written, too; see `prediction.features`.
        threads: see `predict`.
        runtime: see `predict`.
        precision: see `predict`.
        on_row: told every prediction of this run.
        on_note: told which runtime was chosen, and how the processors share the work.

    Raises:
        MisuseError: the file exists, an interrupted run had other settings or inputs, or see `predict`.
    """
    out, names = Path(out), [paths] if isinstance(paths, str | Path) else list(paths)
    check_suffix(out)
    if resume and overwrite:
        raise MisuseError("--resume and --overwrite exclude each other.")
    if resume and any(is_camera(str(name)) for name in names):
        raise MisuseError("--resume needs inputs that are the same again, which a camera's are not.")
    if resume and out.exists() and not part_of(out).exists():
        journal_of(out).unlink(missing_ok=True)
        if on_note is not None:
            on_note(
                f"{out} is there and no interrupted run beside it: nothing to resume. What it is of is not checked."
            )
        return Done(out, 0, 0, 0)
    opened, sources, drawn = open_with(
        model, names, top=top, score=score, draw=draw, features=features, threads=threads, runtime=runtime,
        precision=precision, on_note=on_note,
    )  # fmt: skip
    settings = {
        "model": _sha256(Path(model)), "runtime": getattr(opened.first, "runtime", "pytorch"), "precision": precision,
        "threads": threads, "top": top, "score": score, "features": features,
        "draw": None if draw is None else str(draw),
    }  # fmt: skip
    journal = Journal(out, settings, resume=resume, overwrite=overwrite)
    journal.skip(_names(sources))
    before, errors = journal.rows, 0
    if before and on_note is not None:
        on_note(f"going on after {before:,} rows.")
    output = Output(out, opened.first.task, features=features is not None)
    ask = partial(asking, top=top, score=score)
    with journal.writing(output.header()) as write:
        for each in through(sources, opened, ask, drawn=drawn, on_plan=on_note):
            write(str(each.path), output.lines(each))
            errors += each.error is not None
            if on_row is not None:
                on_row(each)
    output.finish(journal.part)
    journal.file.unlink()
    return Done(out, journal.rows, before, errors)


def _names(sources: Iterator[Source]) -> Iterator[str]:
    return (str(source if isinstance(source, Path) else Path(str(source))) for source in sources)


def _sha256(model: Path) -> str:
    """Of a file; of a bundle, of what it says of its files."""
    file = model / "artifacts.json" if model.is_dir() else model
    if not file.is_file():
        raise MisuseError(f"no such file: {file}. Expected a checkpoint or an exported file.")
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
