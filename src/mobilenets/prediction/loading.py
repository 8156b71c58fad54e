"""Images a batch at a time, decoded by threads while the model runs on those before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilenets.data import decode
from mobilenets.data.sources import Source
from mobilenets.errors import DataError
from mobilenets.metrics import Task
from mobilenets.prediction.predictor import Predictor
from mobilenets.preprocessing import Preprocessing

Pixels = NDArray[np.uint8]

BATCH = 32

S = TypeVar("S", bound=Source)
T = TypeVar("T")


def batch_of(task: Task) -> int:
    """Images at once: outputs of detectors and segmenters are tens of megabytes an image."""
    match task:
        case "classify" | "multi-label":
            return BATCH
        case "detect":
            return 16
        case "segment":
            return 4


class Seen(NamedTuple):
    """An image as the network sees it and as people do.

    Attributes:
        square: uint8 r r c.
        size: width and height of the upright image, in pixels.
        picture: the upright image, uint8 h w c, where it was asked for.
    """

    square: Pixels
    size: tuple[int, int]
    picture: Pixels | None


def seen(picture: Pixels, preprocessing: Preprocessing, *, keep: bool = False) -> Seen:
    """An upright image (h, w, c) as a network sees it; `keep` keeps the image itself."""
    height, width = picture.shape[:2]
    return Seen(decode.resize_crop(picture, preprocessing), (width, height), picture if keep else None)


def load_seen(path: Source, preprocessing: Preprocessing, *, task: Task, keep: bool = False) -> Seen:
    """Decode an image as a network sees it. Big JPEGs are decoded smaller, to twice what the network takes or more.

    On photos of 12 megapixels that is three times as fast, and the pixels differ by less than the quality of most
    JPEGs does.

    Args:
        path: the image.
        preprocessing: how it becomes the input.
        task: boxes and masks need the image's own size.
        keep: keep the image itself, whole.

    Raises:
        DataError: it cannot be read.
    """
    if keep:
        return seen(decode.decode(path, channels=preprocessing.channels), preprocessing, keep=True)
    picture = decode.decode(path, at_least_px=2 * preprocessing.short_side, channels=preprocessing.channels)
    looked = seen(picture, preprocessing)
    if task in ("classify", "multi-label"):
        return looked
    return looked._replace(size=decode.upright_size(path))


def batches(
    files: Sequence[S], load: Callable[[S], T], size: int
) -> Iterator[tuple[Sequence[S], list[T], dict[S, str]]]:
    """(files, what was loaded of the readable ones in the same order, reasons of the unreadable) a batch."""

    def tried(path: S) -> tuple[T | None, str]:
        try:
            return load(path), ""
        except DataError as error:
            return None, str(error)

    parts = [files[i : i + size] for i in range(0, len(files), size)]
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(tried, path) for path in parts[0]] if parts else []
        for i, part in enumerate(parts):
            results = [future.result() for future in waiting]
            if i + 1 < len(parts):
                waiting = [pool.submit(tried, path) for path in parts[i + 1]]
            errors = {path: why for path, (_, why) in zip(part, results, strict=True) if why}
            yield part, [each for each, _ in results if each is not None], errors


def loaded_batches(
    files: Sequence[S], predictor: Predictor, size: int = BATCH
) -> Iterator[tuple[Sequence[S], Pixels, dict[S, str]]]:
    """(files, readable images as uint8 n h w c in the same order, reasons of the unreadable) a batch."""
    contract = predictor.preprocessing
    side = contract.resolution

    def load(path: S) -> Pixels:
        return decode.load_image(path, contract)

    for part, images, errors in batches(files, load, size):
        stacked = np.stack(images) if images else np.zeros((0, side, side, contract.channels), np.uint8)
        yield part, stacked, errors
