"""Whole images stretched to squares, with their boxes or masks: what detectors and segmenters learn from.

Places in a stretched image are the same parts of its width and height as before; a mask is stretched as its image is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.annotations import IGNORED, Boxes, Objects
from mobilenets.data.arrays import Loading, Progress, allocate, check_readable, compacted, filled
from mobilenets.data.cache import Reader, Skipped, decoded_images
from mobilenets.data.decode import load_image
from mobilenets.data.sources import Source
from mobilenets.data.splits import Sample
from mobilenets.errors import DataError, MisuseError
from mobilenets.preprocessing import Preprocessing

__all__ = ["Pictures", "load_pictures"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Decoded images, stretched to squares of one size.

    Attributes:
        images: uint8 n s s c, in memory or memory-mapped as `Squares` are.
        truth: the objects of each image; or masks, uint8 n s s, resized to the nearest pixel.
        samples: the n images.
        skipped: images that could not be read, or whose mask could not, with the reason; they are nowhere else.
    """

    images: NDArray[np.uint8]
    truth: tuple[Objects, ...] | NDArray[np.uint8]
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def paths(self) -> tuple[Source, ...]:
        """Of the n images."""
        return tuple(sample.path for sample in self.samples)

    @property
    def labels(self) -> NDArray[np.float32]:
        """Which classes each image has: (n, k), 1 where it has one of them and else 0."""
        present = [_present(truth) for truth in self.truth]
        found = np.zeros((len(self), 1 + max((labels.max(initial=0) for labels in present), default=0)), np.float32)
        for row, labels in zip(found, present, strict=True):
            row[labels] = 1.0
        return found


def _present(truth: Objects | NDArray[np.uint8]) -> NDArray[np.int64]:
    """Indices of the classes in an image."""
    labels = truth[1] if isinstance(truth, tuple) else truth[truth != IGNORED]
    return np.unique(labels).astype(np.int64)


def load_pictures(
    samples: Sequence[Sample],
    size: int,
    *,
    workers: int | None = None,
    memory_limit_bytes: int = 2 << 30,
    cache_folder: Path | None = None,
    on_progress: Progress | None = None,
    max_unreadable: float = 0.05,
    channels: int = 3,
    exact: bool = True,
    keep_bytes: int | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Pictures:
    """Decode whole images to squares of `size` pixels, and their masks.

    Args:
        samples: files with boxes, or files with masks.
        size: side of the squares, in pixels.
        workers: decoding threads; all processors when None.
        memory_limit_bytes: images that need more lie in a temporary file instead of memory, and so do masks.
        cache_folder: see `load_squares`.
        on_progress: called as (files done, files in all) from the calling thread; masks are files too.
        max_unreadable: part of the images that may be skipped because they or their masks cannot be read.
        channels: 1 (grey), 3 (RGB) or 4.
        exact: whether pixels are those of evaluation to the bit. False is for training and takes less time; it loads
            torch.
        keep_bytes: see `load_squares`; masks are not kept.
        on_note: told why images could not be kept.

    Raises:
        MisuseError: images with neither boxes nor masks, or with both; `MOBILENETS_CACHE_GB` is not a number.
        DataError: no samples, too many files cannot be read, all files of a class, or no room for the temporary file.
    """
    if not samples:
        raise DataError("there are no images to load: the list of samples is empty.")
    boxed = [isinstance(sample.label, Boxes) for sample in samples]
    if any(isinstance(sample.label, int | tuple) for sample in samples) or len(set(boxed)) > 1:
        raise MisuseError("these images have not all boxes or all masks: `load_squares` loads images with classes.")
    loading = Loading(workers, memory_limit_bytes, cache_folder, on_progress, keep_bytes, on_note)
    count = len(samples) * (1 if boxed[0] else 2)
    masks, failed = (None, dict[int, str]()) if boxed[0] else _masks(samples, size, _part(loading, 0, count))
    check_readable(samples, failed, max_unreadable)
    whole = [i for i in range(len(samples)) if i not in failed]
    images, unread = decoded_images(
        [samples[i] for i in whole],
        size,
        _reader(size, channels, exact),
        channels=channels,
        way="stretched" if exact or channels != 3 else "stretched draft",
        loading=_part(loading, count - len(whole), count),
    )
    failed |= {whole[i]: reason for i, reason in unread.items()}
    check_readable(samples, failed, max_unreadable)
    if masks is not None:
        masks = compacted(masks, [i for i in range(len(samples)) if i not in failed])
    readable = tuple(sample for i, sample in enumerate(samples) if i not in failed)
    truth = tuple(s.label.arrays() for s in readable if isinstance(s.label, Boxes)) if masks is None else masks
    return Pictures(images, truth, readable, tuple((samples[i].path, failed[i]) for i in sorted(failed)))


def _masks(samples: Sequence[Sample], size: int, loading: Loading) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Masks of all images, and why some have none."""
    masks = allocate((len(samples), size, size), loading)

    def read(i: int) -> None:
        label = samples[i].label
        if not isinstance(label, int | tuple | Boxes):
            masks[i] = np.asarray(Image.fromarray(label.read()).resize((size, size), Image.Resampling.NEAREST))

    return masks, filled(len(samples), read, loading)


def _part(loading: Loading, before: int, count: int) -> Loading:
    """The same with progress of a part told as progress of the whole."""
    if (tell := loading.on_progress) is None:
        return loading
    return replace(loading, on_progress=lambda done, _: tell(before + done, count))


def _reader(size: int, channels: int, exact: bool) -> Reader:
    if exact or channels != 3:
        target = Preprocessing.default(size, channels, shaping="stretch")
        return lambda path: load_image(path, target)
    from mobilenets.data.drafts import draft_stretched

    return lambda path: draft_stretched(path, size)
