"""All images of a data set as decoded squares: decoded once, in threads, read in every epoch and in later runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.data import kept
from mobilenets.data.arrays import Loading, Progress, allocate, check_readable, compacted, filled
from mobilenets.data.decode import image_size, load_image
from mobilenets.data.sources import Source
from mobilenets.data.splits import Sample, labels_of
from mobilenets.errors import DataError, MisuseError
from mobilenets.preprocessing import Preprocessing

__all__ = ["Reader", "Skipped", "Squares", "decoded_images", "load_squares", "native_size"]

Skipped = tuple[Source, str]
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
    way = "" if exact or channels != 3 else "draft"
    loading = Loading(workers, memory_limit_bytes, cache_folder, on_progress, keep_bytes, on_note)
    images, failed = decoded_images(
        samples, size, _reader(size, channels, exact), channels=channels, way=way, loading=loading
    )
    check_readable(samples, failed, max_unreadable)
    readable = [sample for i, sample in enumerate(samples) if i not in failed]
    return Squares(
        images=images,
        labels=_labels(readable, classes),
        paths=tuple(sample.path for sample in readable),
        skipped=tuple((samples[i].path, failed[i]) for i in sorted(failed)),
    )


def decoded_images(
    samples: Sequence[Sample], size: int, read: Reader, *, channels: int, way: str, loading: Loading
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Images that can be read, s s c each, decoded or as an earlier run kept them, and the reasons of the others.

    Args:
        samples: images; their labels do not matter.
        size: side of what `read` gives, in pixels.
        read: decodes an image to s s c.
        channels: of what it gives.
        way: what tells its pixels from those of other readers, for what is kept; empty for evaluation's squares.
        loading: threads, memory, what is kept.

    Raises:
        MisuseError: `MOBILENETS_CACHE_GB` is not a number.
        DataError: no room for the temporary file.
    """
    limit = kept.limit_bytes() if loading.keep_bytes is None else loading.keep_bytes
    folder = kept.squares_folder(loading.cache_folder)
    key = kept.key(samples, size, way + ("" if channels == 3 else f" {channels} channels")) if limit else None
    found = kept.read(folder, key, len(samples), (size, size, channels)) if key else None
    if found is not None:
        if loading.on_progress is not None:
            loading.on_progress(len(samples), len(samples))
        return found
    images = allocate((len(samples), size, size, channels), loading)

    def decode(i: int) -> None:
        images[i] = read(samples[i].path)

    failed = filled(len(samples), decode, loading)
    images = compacted(images, [i for i in range(len(samples)) if i not in failed])
    lasting = all(_opens(samples[i].path) for i in failed)
    if key and lasting and (note := kept.write(folder, key, images, failed, limit)) and loading.on_note is not None:
        loading.on_note(note)
    return images, failed


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


def _reader(size: int, channels: int, exact: bool) -> Reader:
    if exact or channels != 3:
        target = Preprocessing.default(size, channels)
        return lambda path: load_image(path, target)
    from mobilenets.data.drafts import draft_square

    return lambda path: draft_square(path, size)
