"""Files that appear whole or not at all: written under a temporary name, then renamed. Where runs and caches lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mobilenets.errors import MisuseError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends well and removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | Path) -> None:
    """Remove what a killed process left behind while it wrote a file: nobody else may be writing it."""
    path = Path(path)
    for left in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        left.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write text whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def cache_folder() -> Path:
    """`MOBILENETS_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("MOBILENETS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mobilenets"


def run_folder(out: str | Path | None, verb: str, *, overwrite: bool = False) -> Path:
    """The folder for a run: `out`, or the next free `runs/<verb>N`.

    Raises:
        MisuseError: `out` exists and holds files (it is left as it is).
    """
    if out is None:
        numbers = range(1, 10**6)
        out = next(p for n in numbers if not (p := Path("runs") / f"{verb}{n}").exists())
    check_new(out, overwrite=overwrite)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    return out


def check_new(out: str | Path | None, *, overwrite: bool = False) -> None:
    """Refuse a run folder that cannot be begun; None is a free one. Nothing is written.

    Raises:
        MisuseError: `out` is a file, or exists and holds files.
    """
    if out is None:
        return
    out = Path(out)
    if out.is_file():
        raise MisuseError(f"{out} is a file; --out needs a folder that does not exist yet.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise MisuseError(
            f"the run folder {out} exists and is not empty: choose another --out, or --resume to go on with it, or "
            "--overwrite to replace what a run writes there."
        )


def check_same(run: object, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Refuse to go on with an interrupted run by other settings than it was begun with.

    Raises:
        MisuseError: a value of `now` that is another one in `before`.
    """
    for name, asked in now.items():
        if before.get(name) != asked:
            raise MisuseError(
                f"{run}: begun with {name} {before.get(name)}, asked to go on with {asked}: give the same one, or "
                "another --out."
            )
