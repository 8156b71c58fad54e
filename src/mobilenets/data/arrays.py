"""Arrays of decoded images: room for them, filling them in threads, and what becomes of files that cannot be read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.decode import prepare
from mobilenets.data.splits import Sample, labels_of
from mobilenets.errors import DataError
from mobilenets.processors import processors

__all__ = ["Loading", "Progress", "allocate", "check_readable", "compacted", "filled"]

_CHUNK = 64  # files a task: enough to hide what a task costs, few enough for smooth progress
_SHOWN = 5

Progress = Callable[[int, int], None]
"""Called as (files done, files in all) from the thread that asked for them."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How images are loaded.

    Attributes:
        workers: decoding threads; all processors when None.
        memory_limit_bytes: what needs more lies in a temporary file instead of memory.
        cache_folder: where that file lies and what is kept for later runs; None: see `load_squares`.
        on_progress: told of progress.
        keep_bytes: how much may be kept; None: see `load_squares`.
        on_note: told why something could not be kept.
    """

    workers: int | None = None
    memory_limit_bytes: int = 2 << 30
    cache_folder: Path | None = None
    on_progress: Progress | None = None
    keep_bytes: int | None = None
    on_note: Callable[[str], None] | None = None


def allocate(shape: tuple[int, ...], loading: Loading) -> NDArray[np.uint8]:
    """Room for images: memory, or a temporary file that goes away with the process.

    Raises:
        DataError: the disk has no room for it.
    """
    needed = int(np.prod(shape, dtype=np.int64))
    if needed <= loading.memory_limit_bytes:
        return np.empty(shape, dtype=np.uint8)
    where = Path(loading.cache_folder or tempfile.gettempdir())
    try:
        where.mkdir(parents=True, exist_ok=True)
        # A full disk would end the process with a bus error at some later write: look before.
        free = shutil.disk_usage(where).free
        if free < needed:
            raise DataError(
                f"{where}: the decoded images need {needed / 2**30:.1f} GiB, free are {free / 2**30:.1f} GiB. "
                "Give a cache folder with more room, a smaller size or a higher memory limit."
            )
        # The file has no name from here on (Windows: is deleted on closing), so that nothing is left behind.
        with tempfile.TemporaryFile(dir=where) as file:
            return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
    except OSError as error:
        raise DataError(f"{where}: no temporary file for the decoded images: {error.strerror or error}.") from error


def filled(count: int, read: Callable[[int], None], loading: Loading) -> dict[int, str]:
    """Call `read` with 0 to `count` - 1, in threads.

    Returns:
        the reason for each index at which it raised DataError.
    """
    prepare()
    stop, threads = Event(), loading.workers or processors()

    def task(indices: range) -> tuple[range, dict[int, str]]:
        failed = {}
        for i in indices:
            if stop.is_set():
                break
            try:
                read(i)
            except DataError as error:
                failed[i] = str(error)
        return indices, failed

    done = 0
    chunk = max(1, min(_CHUNK, count // (4 * threads)))
    failed: dict[int, str] = {}
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        tasks = [pool.submit(task, range(i, min(i + chunk, count))) for i in range(0, count, chunk)]
        for finished in as_completed(tasks):
            indices, reasons = finished.result()
            failed |= reasons
            done += len(indices)
            if loading.on_progress is not None:
                loading.on_progress(done, count)
    finally:  # also on Ctrl-C: each thread ends after the image it is at
        stop.set()
        pool.shutdown(cancel_futures=True)
    return failed


def check_readable(samples: Sequence[Sample], failed: Mapping[int, str], most: float) -> None:
    """Refuse data of which too much is lost.

    Args:
        samples: all images.
        failed: the reason for each that cannot be read.
        most: part of them that may be lost.

    Raises:
        DataError: more are lost, or all images of a class.
    """
    if len(failed) > most * len(samples):
        shown = "".join(f"\n  {failed[i]}" for i in sorted(failed)[:_SHOWN])
        raise DataError(
            f"{len(failed)} of {len(samples)} images cannot be read, more than {most:.0%}. The first:{shown}\n"
            "Remove or replace them."
        )
    readable = {label for i, sample in enumerate(samples) if i not in failed for label in labels_of(sample)}
    for i in sorted(failed):
        for label in labels_of(samples[i]):
            if label not in readable:
                raise DataError(
                    f"class {label} has no image that can be read: {failed[i]} Remove the class or replace its images."
                )


def compacted(images: NDArray[np.uint8], kept: list[int]) -> NDArray[np.uint8]:
    """The kept images moved to the front, in place: a copy could exceed the memory limit."""
    for to, i in enumerate(kept):
        if to != i:
            images[to] = images[i]
    return images[: len(kept)]
