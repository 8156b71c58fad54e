"""`mobilenets predict MODEL PATHS... --cluster auto --out FOLDER`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.errors import MisuseError


def run_on_cluster(
    model: Path,
    paths: Sequence[str],
    out: Path | str | None,
    *,
    address: str,
    workers: str | None,
    top: int | None,
    score: float | None,
    threads: int | None,
    runtime: str | None,
    precision: str | None,
    resume: bool,
    overwrite: bool,
    json: bool,
) -> int:
    """`predict` on a Ray cluster; see `scaling.predict_cluster`.

    Raises:
        MisuseError: no paths or no folder, or bounds that cannot be read.
    """
    from mobilenets.scaling import predict_cluster

    if not paths:
        raise MisuseError("no images given: name files, folders, patterns or addresses after the model.")
    if out is None:
        raise MisuseError("--cluster needs --out: the folder for the Parquet files.")
    with Display() as display:
        try:
            run = predict_cluster(
                model, paths, _address(out), address=address, workers=_bounds(workers), top=top, score=score,
                threads=threads or 1, runtime=runtime, precision=precision, resume=resume, overwrite=overwrite,
                watcher=display,
            )  # fmt: skip
        except KeyboardInterrupt:
            display.note(f"interrupted: the same command with --resume goes on with {out}.")
            raise
    if json:
        print_json(run.to_dict())
    else:
        speed = f"in {run.seconds:.1f} s by {run.workers} worker{'s' * (run.workers != 1)}"
        kept = f", {run.kept} of them from before" if run.kept else ""
        stdout().print(
            f"{run.rows} rows, {run.errors} unreadable, {speed}: {run.parts} Parquet files{kept} in {run.out}"
        )
    return 1 if run.errors == run.rows else 0


def _bounds(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if (found := re.fullmatch(r"(\d+)(?::(\d+))?", text)) is None:
        raise MisuseError(f"--workers (={text}) must be the least and the most, such as 1:8, or one number for both.")
    return int(found[1]), int(found[2] or found[1])


def _address(out: Path | str) -> Path | str:
    """A path that took the second slash out of an address gets it back."""
    found = re.fullmatch(r"([a-z][a-z0-9+.-]+):/([^/].*)", str(out))
    return out if found is None else f"{found[1]}://{found[2]}"
