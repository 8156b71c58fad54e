"""All images of a data set as decoded squares: decoded once, in threads, read in every epoch and in later runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from mobilenets.data import kept
from mobilenets.data.decode import image_size, load_image, prepare
from mobilenets.data.sources import Source
from mobilenets.data.splits import Sample, labels_of
from mobilenets.errors import DataError, MisuseError
from mobilenets.preprocessing import Preprocessing

__all__ = ["Squares", "load_squares", "native_size"]

_CHUNK = 64  # files a task: enough to hide what a task costs, few enough for smooth progress
_SHOWN = 5

Skipped = tuple[Source, str]
Progress = Callable[[int, int], None]
Reader = Callable[[Source], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Squares:
    """Decoded images, cut to squares of one size.

    Attributes:
        images: uint8 n s s c (RGB, grey, or four channels), in memory or memory-mapped: a temporary file that goes away
            with the process, or one that is kept and cannot be written to.
        labels: int64 n; of multi-label data float32 n k, 1 where the image is of the class and else 0.
        paths: of the n images.
        skipped: files that could not be read, with the reason; they are in none of the others.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | NDArray[np.float32]
    paths: tuple[Source, ...]
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


def load_squares(
    samples: Sequence[Sample],
    size: int,
    *,
    workers: int | None = None,
    memory_limit_bytes: int = 2 << 30,
    cache_folder: Path | None = None,
    on_progress: Progress | None = None,
    max_unreadable: float = 0.05,
    classes: int | None = None,
    channels: int = 3,
    exact: bool = True,
    keep_bytes: int | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Squares:
    """Decode images to squares of `size` pixels (`resize_crop` with everything of the short side kept).

    Args:
        samples: files and labels.
        size: side of the squares, in pixels.
        workers: decoding threads; all processors when None.
        memory_limit_bytes: squares that need more lie in a temporary file instead of memory.
        cache_folder: where that file lies, the system's temporary folder when None, and where squares are kept for the
            next run, in `squares` of the user's cache folder when None.
        on_progress: called as (files done, files in all) from the calling thread.
        max_unreadable: part of the files that may be skipped because they cannot be read.
        classes: how many there are; needed for multi-label data only.
        channels: 1 (grey), 3 (RGB) or 4.
        exact: whether squares are those of evaluation to the bit. False is for training and takes less time, a fifth
            for large photos: see `drafts`; it loads torch.
        keep_bytes: how much may be kept for later runs, of all data sets together; None is `MOBILENETS_CACHE_GB`, else
            4 GB; 0 keeps nothing. Squares that were used longest ago are removed first.
        on_note: told why squares could not be kept.

    Raises:
        MisuseError: multi-label data without `classes`, or `MOBILENETS_CACHE_GB` is not a number.
        DataError: no samples, too many files cannot be read, all files of a class, or no room for the temporary file.
    """
    if not samples:
        raise DataError("there are no images to load: the list of samples is empty.")
    if classes is None and any(isinstance(sample.label, tuple) for sample in samples):
        raise MisuseError("these images have several labels each: `classes` must say how many classes there are.")
    limit = kept.limit_bytes() if keep_bytes is None else keep_bytes
    folder = kept.squares_folder(cache_folder)
    exact = exact or channels != 3
    way = ("" if exact else "draft") + ("" if channels == 3 else f" {channels} channels")
    key = kept.key(samples, size, way) if limit else None
    found = kept.read(folder, key, len(samples), (size, size, channels)) if key else None
    if found is None:
        images = _allocate((len(samples), size, size, channels), memory_limit_bytes, cache_folder)
        failed = _decode_all(
            samples, images, _reader(size, channels, exact), workers or os.cpu_count() or 1, on_progress
        )
        images = _compact(images, [i for i in range(len(samples)) if i not in failed])
        lasting = all(_opens(samples[i].path) for i in failed)
        if key and lasting and (note := kept.write(folder, key, images, failed, limit)) and on_note is not None:
            on_note(note)
    else:
        images, failed = found
        if on_progress is not None:
            on_progress(len(samples), len(samples))
    _check_readable(samples, failed, max_unreadable)
    readable = [sample for i, sample in enumerate(samples) if i not in failed]
    return Squares(
        images=images,
        labels=_labels(readable, classes),
        paths=tuple(sample.path for sample in readable),
        skipped=tuple((samples[i].path, failed[i]) for i in sorted(failed)),
    )


def _labels(samples: Sequence[Sample], classes: int | None) -> NDArray[np.int64] | NDArray[np.float32]:
    if classes is None or not any(isinstance(sample.label, tuple) for sample in samples):
        return np.array([sample.label for sample in samples], dtype=np.int64)
    labels = np.zeros((len(samples), classes), np.float32)
    for row, sample in zip(labels, samples, strict=True):
        row[list(labels_of(sample))] = 1.0
    return labels


def _opens(source: Source) -> bool:
    """Whether bytes can be read at all: what is missing or forbidden now may be there in the next run."""
    try:
        source.read_bytes()
    except (OSError, DataError):
        return False
    return True


def native_size(samples: Sequence[Sample], largest: int, probe: int = 64, seed: int = 0) -> int:
    """Side of the squares to load: `largest`, or less where the images themselves are smaller.

    Images of 32 pixels are stored at 32, not enlarged. Looks at the headers of `probe` files drawn with `seed`; their
    longest short side counts, rounded up to a multiple of 8.
    """
    drawn = np.random.default_rng(seed).permutation(len(samples))[:probe]
    short = [side for i in drawn if (side := _short_side(samples[i].path))]
    return min(largest, -(-max(short) // 8) * 8) if short else largest


def _short_side(path: Source) -> int | None:
    try:
        return min(image_size(path))
    except DataError:  # reported when the images are loaded
        return None


def _allocate(shape: tuple[int, ...], limit: int, folder: Path | None) -> NDArray[np.uint8]:
    needed = int(np.prod(shape, dtype=np.int64))
    if needed <= limit:
        return np.empty(shape, dtype=np.uint8)
    where = Path(folder or tempfile.gettempdir())
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


def _reader(size: int, channels: int, exact: bool) -> Reader:
    if exact:
        target = Preprocessing.default(size, channels)
        return lambda path: load_image(path, target)
    from mobilenets.data.drafts import draft_square

    return lambda path: draft_square(path, size)


def _decode_all(
    samples: Sequence[Sample], images: NDArray[np.uint8], read: Reader, workers: int, on_progress: Progress | None
) -> dict[int, str]:
    """Fill `images`; give the reason for each index that could not be read."""
    prepare()
    stop = Event()

    def task(indices: range) -> tuple[range, dict[int, str]]:
        failed = {}
        for i in indices:
            if stop.is_set():
                break
            try:
                images[i] = read(samples[i].path)
            except DataError as error:
                failed[i] = str(error)
        return indices, failed

    total, done = len(samples), 0
    chunk = max(1, min(_CHUNK, total // (4 * workers)))
    failed: dict[int, str] = {}
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        tasks = [pool.submit(task, range(i, min(i + chunk, total))) for i in range(0, total, chunk)]
        for finished in as_completed(tasks):
            indices, reasons = finished.result()
            failed |= reasons
            done += len(indices)
            if on_progress is not None:
                on_progress(done, total)
    finally:  # also on Ctrl-C: each thread ends after the image it is at
        stop.set()
        pool.shutdown(cancel_futures=True)
    return failed


def _check_readable(samples: Sequence[Sample], failed: dict[int, str], most: float) -> None:
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


def _compact(images: NDArray[np.uint8], kept: list[int]) -> NDArray[np.uint8]:
    """The kept images moved to the front, in place: a copy could exceed the memory limit."""
    for to, i in enumerate(kept):
        if to != i:
            images[to] = images[i]
    return images[: len(kept)]
