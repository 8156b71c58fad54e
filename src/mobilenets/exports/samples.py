"""Images for proofs: to compare on, to score on, to calibrate on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from mobilenets.data import decode, scenes
from mobilenets.data.folder import labelled
from mobilenets.data.formats import read_data
from mobilenets.data.sources import Source
from mobilenets.data.splits import Label
from mobilenets.errors import DataError, MisuseError
from mobilenets.model import MobileNet
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime.session import Images

CALIBRATION = 128
"""Images that int8 takes its ranges from, unless told otherwise."""

T = TypeVar("T")


def sample_images(
    model: MobileNet, paths: Sequence[str | Source] = (), *, limit: int = 80, scenes_n: int = 8
) -> Images:
    """Images to verify on, preprocessed: at most `limit` of the given files, or generated scenes.

    Shapes:
        result: uint8 (n, r, r, 3).

    Raises:
        MisuseError: a path without images.
    """
    preprocessing = model.info.preprocessing
    if not paths:
        made = [scenes.scene(seed, size=preprocessing.resolution).image for seed in range(scenes_n)]
        channels = preprocessing.channels
        return np.stack([decode.resize_crop(decode.as_channels(image, channels), preprocessing) for image in made])
    # An image inside a larger file is one already.
    found: list[Source] = [
        image for path in paths for image in (decode.find_images([path]) if isinstance(path, str | Path) else [path])
    ]
    loaded, _ = loaded_images(spread(found, limit), preprocessing)
    if not len(loaded):
        raise MisuseError(f"no readable image among the {len(found)} given to verify on.")
    return loaded


def labelled_images(
    model: MobileNet, data: str | Path, *, split: str | None = None, limit: int = 500
) -> tuple[Images, list[Label]]:
    """Labelled images, preprocessed, for scoring: at most `limit` of a data set's test images (else val's, else all).

    Raises:
        MisuseError: no data set, or no such split.
        DataError: classes that the model does not know, or no readable image.
    """
    samples = spread(labelled(data, model.info.classes, split=split), limit)
    images, kept = loaded_images([sample.path for sample in samples], model.info.preprocessing)
    if not len(images):
        raise DataError(f"{data}: none of the {len(samples)} images can be read.")
    return images, [samples[i].label for i in kept]


def calibration_images(model: MobileNet, data: str | Path, *, limit: int = CALIBRATION) -> Images:
    """Images to take int8's ranges from, preprocessed: at most `limit`, of the training images where there are such.

    Raises:
        MisuseError: no data set.
        DataError: no readable image.
    """
    splits = read_data(data, need_classes=1).splits
    entries = splits.get("train") or next(iter(splits.values()))
    images, _ = loaded_images([entry.source for entry in spread(entries, limit)], model.info.preprocessing)
    if not len(images):
        raise DataError(f"{data}: none of its images can be read.")
    return images


def spread(items: Sequence[T], limit: int) -> Sequence[T]:
    """At most `limit` items, evenly over all."""
    return items if len(items) <= limit else [items[i * len(items) // limit] for i in range(limit)]


def loaded_images(
    paths: Sequence[Source], preprocessing: Preprocessing, on_progress: Callable[[int, int], None] | None = None
) -> tuple[Images, list[int]]:
    """The readable images, and which they are: unreadable files are the data's matter, not the artifact's."""

    def load(path: Source) -> Images | None:
        try:
            return decode.load_image(path, preprocessing)
        except DataError:
            return None

    found, kept = [], []
    with ThreadPoolExecutor() as pool:
        for i, image in enumerate(pool.map(load, paths)):
            if image is not None:
                found.append(image)
                kept.append(i)
            if on_progress is not None:
                on_progress(i + 1, len(paths))
    size = preprocessing.resolution
    return np.stack(found) if found else np.zeros((0, size, size, preprocessing.channels), np.uint8), kept
