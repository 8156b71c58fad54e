"""Data sets of scenes on disk."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from mobilenets.data.scenes.drawing import check, scene
from mobilenets.data.scenes.kinds import KINDS

__all__ = ["write_classification"]

JPEG_QUALITY = 90
SPLITS = ("train", "val")
_SEED_STRIDE = 1_000_000  # images of one kind in one split; keeps the seeds of all images apart


class _Job(NamedTuple):
    """One image of a data set."""

    file: Path
    kind: int
    seed: int


def _jobs(folder: Path, seed: int, counts: Sequence[int]) -> Iterator[_Job]:
    """Yield the images of a data set, split by split and kind by kind."""
    for s, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        for kind in range(len(KINDS)):
            start = ((seed * len(SPLITS) + s) * len(KINDS) + kind) * _SEED_STRIDE
            for number in range(count):
                yield _Job(folder / split / KINDS[kind] / f"{number + 1:04d}.jpg", kind, start + number)


def _write(jobs: Sequence[_Job], size: int) -> None:
    for job in jobs:
        drawn = scene(job.seed, size=size, kind=job.kind)
        Image.fromarray(drawn.image).save(job.file, quality=JPEG_QUALITY)


def _write_all(jobs: Sequence[_Job], size: int, workers: int) -> None:
    """Write the images, in this process or in several."""
    if workers == 1:
        _write(jobs, size)
        return
    # A forked child could inherit a lock that another thread of the caller holds; a spawned one cannot.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        shares = [pool.submit(_write, jobs[n::workers], size) for n in range(workers)]
        for share in shares:
            share.result()


def _check_set(counts: tuple[int, int], seed: int, workers: int) -> None:
    if not all(1 <= count <= _SEED_STRIDE for count in counts):
        raise ValueError(f"images per class are {counts}; each must be 1 to {_SEED_STRIDE}")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more")


def write_classification(
    folder: Path,
    *,
    per_class_train: int,
    per_class_val: int,
    size: int = 128,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Write a data set of one folder per class: `train/<kind>/0001.jpg`, `val/<kind>/0001.jpg` and on.

    The images are written to a folder beside the target which is renamed at the end, so that the target
    is either complete or absent.

    Args:
        folder: target; it must not exist. Missing parents are made.
        per_class_train: training images per class, 1 or more.
        per_class_val: validation images per class, 1 or more; none is also a training image.
        size: side of the square images in pixels.
        seed: 0 or more; other seeds give other images.
        workers: processes to draw in; the images are the same for any number. With more than one, a
            script has to guard its main part with `if __name__ == "__main__":`.

    Raises:
        ValueError: the target exists or an argument is out of range.
    """
    counts = (per_class_train, per_class_val)
    check(size, None, 1)
    _check_set(counts, seed, workers)
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"{folder} already exists; give a folder that does not, or remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for split, name in itertools.product(SPLITS, KINDS):
            (partial / split / name).mkdir(parents=True)
        _write_all(list(_jobs(partial, seed, counts)), size, workers)
        partial.chmod(0o755)  # mkdtemp makes it private
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
