"""One image file to what it is and a thumbnail."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.decode import decode, prepare
from mobilenets.data.orientation import jpeg_orientation, orientation
from mobilenets.data.sources import Source
from mobilenets.errors import DataError

THUMB_PX = 16

Thumb = NDArray[np.uint8]

_PNG_DEPTH = 24  # offset of a PNG's bits per channel; Pillow opens 16 bits of colour as 8 and does not say so


@dataclass(frozen=True, slots=True)
class Facts:
    """What an image file is.

    Attributes:
        digest: hash of the file's bytes; empty where it cannot be read.
        width: in pixels, before any rotation; 0 where unknown.
        height: likewise.
        format: Pillow's name of the format, empty where unknown.
        traits: kinds of notes that hold: rotated, grey, CMYK, 16 bits, transparent, animated.
        error: why it cannot be decoded, or None.
        seen: width and height after any rotation, in pixels.
    """

    digest: bytes
    width: int = 0
    height: int = 0
    format: str = ""
    traits: tuple[str, ...] = ()
    error: str | None = None
    seen: tuple[int, int] = (0, 0)


def content(path: Source) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


def digest(data: bytes) -> bytes:
    """Hash of a file's content."""
    return hashlib.blake2b(data, digest_size=16).digest()


def examine(path: Source) -> tuple[Facts, Thumb | None]:
    """Decode a file: what it is, and its thumbnail (uint8 16 16 3), None where it cannot be decoded. Raises nothing."""
    key = b""
    try:
        data = content(path)
        key = digest(data)
        image = decode(path)
    except DataError as error:
        return Facts(key, error=str(error)), None
    width, height, name, traits = _header(data)
    small = Image.fromarray(image).resize((THUMB_PX, THUMB_PX), Image.Resampling.BOX)
    return Facts(key, width, height, name, traits, seen=(image.shape[1], image.shape[0])), np.asarray(small)


def _header(data: bytes) -> tuple[int, int, str, tuple[str, ...]]:
    """Width, height, format and traits of an image that can be decoded."""
    with Image.open(io.BytesIO(data), formats=prepare()) as image:
        deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
        turned = jpeg_orientation(data) if image.format in ("JPEG", "MPO") else orientation(image)
        found = {
            "rotated": 2 <= turned <= 8,
            "grey": deep or image.mode in ("1", "L", "LA", "La"),
            "CMYK": image.mode == "CMYK",
            "16 bits": deep or (image.format == "PNG" and data[_PNG_DEPTH] == 16),
            "transparent": image.has_transparency_data,
            # further frames of an MPO are other views or gain maps of the same photo
            "animated": image.format != "MPO" and getattr(image, "is_animated", False),
        }
        return *image.size, image.format or "", tuple(name for name, holds in found.items() if holds)


def looks_like_image(path: Path) -> bool:
    """Whether a file's content is an image's, whatever its name; pixels are not decoded."""
    try:
        with Image.open(path, formats=prepare()):
            return True
    except Exception:  # Pillow's readers raise almost any type, and each says: no
        return False
