"""Artifacts that appear whole or not at all: one file, a file with others beside it, or a folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilenets.exports.formats import FORMATS


def files_of(path: Path) -> tuple[Path, ...]:
    """The file or folder itself last, what belongs to it first."""
    format = FORMATS.get(path.suffix)
    return (*(path.with_suffix(suffix) for suffix in (format.beside if format else ())), path)


def size_bytes(path: Path) -> int:
    """Of everything that belongs to an artifact."""
    files = [f for part in files_of(path) for f in (part.rglob("*") if part.is_dir() else [part]) if f.is_file()]
    return sum(file.stat().st_size for file in files)


def failed_name(path: Path) -> Path:
    """Where an artifact that did not pass is kept: `NAME.failed.EXT`."""
    return path.with_suffix(f".failed{path.suffix}")


@contextmanager
def replacing_artifact(path: Path) -> Iterator[Path]:
    """A path of the same name in an empty folder beside it; what is written there moves here when the block ends well.

    Whatever had the name before stays until then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder:
        inside = Path(folder) / path.name
        yield inside
        move(inside, path)


def move(source: Path, target: Path) -> None:
    """Give an artifact, with all that belongs to it, another place; what lay there goes."""
    for old, new in zip(files_of(source), files_of(target), strict=True):
        if not old.exists():
            continue
        if new.is_dir() or old.is_dir():
            remove(new)
        old.replace(new)


def remove(path: Path) -> None:
    """Delete an artifact and all that belongs to it, where it is there."""
    for part in files_of(path):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
