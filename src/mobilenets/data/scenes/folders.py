"""Folders of many files: drawn in several processes, whole or not there at all."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

__all__ = ["appearing", "check_set", "each"]

Job = TypeVar("Job")

MOST_IMAGES = 1_000_000
"""Of one kind in one split: keeps the seeds of all images apart."""


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder beside the target, which is renamed to it when the block ends well and removed when it does not.

    Raises:
        ValueError: the target exists.
    """
    if folder.exists():
        raise ValueError(f"{folder} already exists; give a folder that does not, or remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes it private
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def each(write: Callable[[Job], None], jobs: Sequence[Job], workers: int) -> None:
    """Do every job, in this process or in several."""
    if workers == 1:
        _some(write, jobs)
        return
    # A forked child could inherit a lock that another thread of the caller holds; a spawned one cannot.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        shares = [pool.submit(_some, write, jobs[n::workers]) for n in range(workers)]
        for share in shares:
            share.result()


def _some(write: Callable[[Job], None], jobs: Sequence[Job]) -> None:
    for job in jobs:
        write(job)


def check_set(counts: tuple[int, int], seed: int, workers: int, what: str) -> None:
    """Refuse what is out of range.

    Raises:
        ValueError: an argument is out of range.
    """
    if not all(1 <= count <= MOST_IMAGES for count in counts):
        raise ValueError(f"{what} are {counts}; each must be 1 to {MOST_IMAGES}")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more")
