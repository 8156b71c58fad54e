"""The parity pack of a bundle: images with what must come out of each step, so that a port finds where it departs."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data import decode, scenes
from mobilenets.data.sources import Source
from mobilenets.errors import DataError, MisuseError
from mobilenets.exports.loaders.answers import Answer, answers, described, difference
from mobilenets.files import write_bytes, write_text
from mobilenets.outputs import Outputs
from mobilenets.preprocessing import Preprocessing

FORMAT = "mobilenets-parity/1"
IMAGES = 8
TOLERANCE = 1e-4
"""Of probabilities in float32 where the pixels are the same: another runtime adds in another order."""
PIXEL_TOLERANCE = 4
"""Levels by which a square may differ by another JPEG decoder; what the other order of two passes does comes on top."""
NOISE = 2
"""Levels by which pixels are moved to measure how far probabilities follow: few differ by the most that is taken."""
DRAWS = 8
"""Squares with so much noise that an image's own tolerance is measured on."""
KEPT_BYTES = 1_000_000
"""Files up to this size stay as they are; larger ones, and other formats, become a PNG."""
PNG_PX = 640
"""Longest side of such a PNG."""
_BROWSERS = {b"\xff\xd8\xff": ".jpg", b"\x89PN": ".png", b"RIF": ".webp"}

TOLERANCE_HEADS = 1e-3
"""Of scores of boxes, and of the part of a mask's pixels that may differ, where the pixels are the same."""

Run = Callable[[NDArray[np.uint8]], Outputs]
"""What a model gives for uint8 images (n, h, w, c), by name."""


def write_parity_pack(
    folder: str | Path,
    images: Sequence[Source],
    preprocessing: Preprocessing,
    run: Run,
    classes: Sequence[str],
    *,
    anchors: NDArray[np.float32] | None = None,
    limit: int = IMAGES,
    tolerance: float | None = None,
) -> dict[str, Any]:
    """Write `folder/parity/`: images, the squares that the network sees of them, and what it answers.

    Expectations are of the files as they are stored. An image may be stored as a smaller PNG (see `KEPT_BYTES`).

    Args:
        folder: of the bundle.
        images: to choose from, evenly; unreadable ones are passed over; generated scenes where none are given.
        preprocessing: of the model.
        run: the outputs of a session on the artifact.
        classes: names of the outputs.
        anchors: of a detector whose boxes are not made inside.
        limit: how many images.
        tolerance: of answers where the pixels are the same, by the task unless given; int8 artifacts want their own
            `run` or a larger one.

    Returns:
        What `parity.json` holds.

    Raises:
        MisuseError: none of the images can be read.
    """

    def said(pixels: NDArray[np.uint8]) -> Answer:
        return answers(run(pixels[None]), anchors)[0]

    place = Path(folder) / "parity"
    entries = []
    for number, (data, suffix) in enumerate(_chosen(images, preprocessing.channels, limit), 1):
        file = f"{number:02d}{suffix}"
        write_bytes(place / file, data)
        entries.append(_expected(place / file, preprocessing, said, classes, tolerance))
    if not entries:
        raise MisuseError(f"no readable image among the {len(images)} given for the parity pack.")
    pack = {
        "format": FORMAT,
        "preprocessing": preprocessing.to_dict(),
        "down_first": decode.DOWN_FIRST,
        "tolerance": entries[0].pop("tolerance"),
        "images": [{key: value for key, value in entry.items() if key != "tolerance"} for entry in entries],
    }
    write_text(place / "parity.json", json.dumps(pack, indent=1, ensure_ascii=False))
    return pack


def _expected(
    path: Path, preprocessing: Preprocessing, said: Callable[[NDArray[np.uint8]], Answer], classes: Sequence[str],
    tolerance: float | None,
) -> dict[str, Any]:  # fmt: skip
    """One image's line in the pack; its square is written beside it."""
    pixels = decode.load_image(path, preprocessing)
    either = _either_order(decode.decode(path, channels=preprocessing.channels), preprocessing)
    off = max(int(np.abs(other.astype(int) - pixels).max()) for other in either)
    answer = said(pixels)
    if tolerance is None:
        tolerance = TOLERANCE if isinstance(answer, np.ndarray) and answer.ndim == 1 else TOLERANCE_HEADS
    moved = max(difference(answer, said(other)) for other in (*either, *_noisy(pixels)))
    square = f"{path.stem}.square.png"
    write_bytes(path.with_name(square), _png(pixels))
    masked = {}
    if isinstance(answer, np.ndarray) and answer.ndim == 2:
        masked = {"mask": f"{path.stem}.mask.png"}
        write_bytes(path.with_name(masked["mask"]), _png(answer[..., None]))
    return {
        "file": path.name,
        "square": square,
        "square_sha256": hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        **described(answer, classes),
        **masked,
        "tolerance": tolerance,
        "pixel_tolerance": off + PIXEL_TOLERANCE,
        "tolerance_other_pixels": min(1.0, max(tolerance, 2 * moved)),
    }


def _either_order(image: NDArray[np.uint8], preprocessing: Preprocessing) -> list[NDArray[np.uint8]]:
    """The square of an image resized across and then down, and down and then across."""
    side, (height, width) = preprocessing.resolution, image.shape[:2]
    left, top, right, bottom = decode.square_box(width, height, preprocessing)
    filter_ = Image.Resampling[preprocessing.interpolation.upper()]
    found = []
    for down_first in (False, True):
        planes = []
        for channel in range(image.shape[2]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            if down_first:
                plane = plane.resize((width, side), filter_, box=(0, top, width, bottom))
                planes.append(plane.resize((side, side), filter_, box=(left, 0, right, side)))
            else:
                plane = plane.resize((side, height), filter_, box=(left, 0, right, height))
                planes.append(plane.resize((side, side), filter_, box=(0, top, side, bottom)))
        found.append(np.stack([np.asarray(plane) for plane in planes], axis=2))
    return found


def _noisy(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Squares whose every pixel is off by up to `NOISE` levels."""
    generator = np.random.default_rng(0)
    draws = [generator.integers(-NOISE, NOISE + 1, pixels.shape) for _ in range(DRAWS)]
    return [np.clip(pixels + noise, 0, 255).astype(np.uint8) for noise in draws]


def _chosen(images: Sequence[Source], channels: int, limit: int) -> list[tuple[bytes, str]]:
    """Encoded images and their suffixes, evenly from those given."""
    if not images:
        drawn = [scenes.scene(seed, size=160).image for seed in range(limit)]
        return [(_png(decode.as_channels(image, channels)), ".png") for image in drawn]
    found: list[tuple[bytes, str]] = []
    step = max(1, len(images) // limit)
    order = dict.fromkeys([*range(0, len(images), step), *range(len(images))])  # the others, should some be unreadable
    for index in order:
        if len(found) == limit:
            break
        try:
            found.append(_stored(images[index], channels))
        except DataError:  # unreadable files are the data's matter
            continue
    return found


def _stored(source: Source, channels: int) -> tuple[bytes, str]:
    """An image as it is, where any decoder reads it and it is small; else a PNG of it.

    Raises:
        DataError: it cannot be read.
    """
    pixels = decode.decode(source, channels=channels)
    data = source.read_bytes()
    suffix = _BROWSERS.get(data[:3])
    if suffix is not None and len(data) <= KEPT_BYTES:
        return data, suffix
    return _png(_smaller(pixels)), ".png"


def _smaller(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    factor = PNG_PX / max(height, width)
    if factor >= 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    planes = [Image.fromarray(pixels[..., c]).resize(size, Image.Resampling.BILINEAR) for c in range(pixels.shape[2])]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """An image of 1, 3 or 4 channels, without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, format="PNG", optimize=True)
    return file.getvalue()
