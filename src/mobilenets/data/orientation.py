"""How a camera was held: the EXIF orientation of an image file, and turning the pixels upright."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["jpeg_orientation", "orientation", "upright"]

_ORIENTATION = 0x0112


def upright(image: NDArray[np.uint8], written: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (1 to 8; any other value turns nothing)."""
    match written:
        case 2:
            image = image[:, ::-1]
        case 3:
            image = image[::-1, ::-1]
        case 4:
            image = image[::-1]
        case 5:
            image = image.swapaxes(0, 1)
        case 6:
            image = np.rot90(image, -1)
        case 7:
            image = image[::-1, ::-1].swapaxes(0, 1)
        case 8:
            image = np.rot90(image)
        case _:
            pass
    return np.ascontiguousarray(image)


def orientation(image: Image.Image) -> int:
    """Orientation of an image that Pillow has loaded, 1 where it has none."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1


def jpeg_orientation(data: bytes) -> int:
    """Orientation from a JPEG's EXIF, else from its XMP, as Pillow reads them."""
    written = 0
    for segment in _app1(data):
        if segment.startswith(b"Exif\0\0"):
            exif = Image.Exif()
            try:
                exif.load(segment)
                if _ORIENTATION in exif:
                    return int(exif[_ORIENTATION])
            except Exception:  # damaged EXIF says nothing about the pixels
                continue
        elif found := re.search(rb'tiff:Orientation(?:="|>)([1-8])', segment):
            written = int(found[1])
    return written or 1


def _app1(data: bytes) -> Iterator[bytes]:
    """The APP1 segments (EXIF, XMP) before the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and (marker := data[at + 1]) != 0xDA:
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
        if marker == 0xE1:
            yield data[at + 4 : end]
        at = end
