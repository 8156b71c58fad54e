"""Image files to RGB arrays, and RGB arrays to the square a network takes.

libjpeg-turbo (simplejpeg) decodes grey and colour JPEGs, which are nearly all photos, about 1.4 times faster than
Pillow and with the same pixels; Pillow decodes the rest. Both release the GIL, so threads decode in parallel.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mobilenets.data.files import EXTENSIONS, find_images
from mobilenets.data.orientation import jpeg_orientation, orientation, upright
from mobilenets.data.sources import Source
from mobilenets.errors import DataError, MisuseError, TooManyPixelsError
from mobilenets.preprocessing import Preprocessing

__all__ = [
    "DOWN_FIRST",
    "EXTENSIONS",
    "MAX_PIXELS",
    "as_channels",
    "decode",
    "find_images",
    "image_size",
    "load_image",
    "prepare",
    "resize_crop",
    "square_box",
    "upright_size",
]

Bytes = NDArray[np.uint8]

MAX_PIXELS = 178_956_970
"""Largest image that is decoded, in pixels: Pillow's own hard limit, 512 MiB of RGB."""

DOWN_FIRST = int(PIL.__version__.partition(".")[0]) >= 13
"""Whether Pillow resizes a tall image down first, then across: where its height shrinks by more than twice as many
pixels as its width. Older versions go across first always. Clipping between the passes makes that a few levels."""

# Only these: Pillow's other readers are rarely photos, and some of them start programs (EPS starts Ghostscript).
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF")
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
}
_HEIC = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")


def decode(path: Source, *, at_least_px: int | None = None, channels: int = 3) -> Bytes:
    """An encoded image as RGB, rotated as its EXIF says; of an animation the first frame.

    Transparent pixels lie on white. 16-bit values are scaled to 8 bits. Floating point images are read as [0, 1], as
    [0, 255] where they go above 1, and are stretched to [0, 255] where they leave that.

    Args:
        path: the image.
        at_least_px: a JPEG may be decoded smaller (to 1/2, 3/8, 1/4 or 1/8, which is done before most of the work) as
            long as its short side has so many pixels; None decodes it whole.
        channels: 3; 1 for grey (the luma of colours); 4 for files of four channels, which are taken as they are: the
            fourth is no transparency then.

    Shapes: uint8 h w c, contiguous, writable.

    Raises:
        DataError: the file has not four channels where four are asked for; it is missing, empty, not an image,
            damaged, truncated, or above `MAX_PIXELS`.
    """
    data = _read(path)
    if channels == 4:
        return _pillow(data, path, _four)
    image = _turbo(data, path, at_least_px or 0) if data.startswith(b"\xff\xd8\xff") else None
    return as_channels(_pillow(data, path, _rgb) if image is None else image, channels)


def as_channels(image: Bytes, channels: int) -> Bytes:
    """RGB as it is, as grey, or with its luma as a fourth channel: uint8 h w 3 -> h w c.

    Raises:
        MisuseError: another number of channels.
    """
    if channels == 3:
        return image
    if channels not in (1, 4):
        raise MisuseError(f"images of {channels} channels cannot be read: 1 (grey), 3 (RGB) or 4.")
    grey = np.array(Image.fromarray(image).convert("L"))[..., None]  # h w 1
    return grey if channels == 1 else np.concatenate([image, grey], axis=2)


def load_image(path: Source, preprocessing: Preprocessing) -> Bytes:
    """`decode`, then `resize_crop`: uint8 r r c, with as many channels as `preprocessing` has.

    Raises:
        DataError: see `decode`.
    """
    return resize_crop(decode(path, channels=preprocessing.channels), preprocessing)


def resize_crop(image: Bytes, preprocessing: Preprocessing) -> Bytes:
    """The centre square of an RGB image after its short side was resized, or all of it where images are stretched.

    Pillow's antialiased filters. The square's exact place in the original is resized, so what is cut away is never
    computed and the aspect ratio holds to a fraction of a pixel. Smaller images are enlarged the same way.

    Shapes: uint8 h w c -> uint8 r r c, with r the resolution of `preprocessing`.
    """
    side = preprocessing.resolution
    height, width = image.shape[:2]
    if height == width == side == preprocessing.short_side:
        return image
    box = square_box(width, height, preprocessing)
    filter_ = Image.Resampling[preprocessing.interpolation.upper()]
    if image.shape[2] == 3:
        return np.array(Image.fromarray(image).resize((side, side), filter_, box=box))
    planes = [Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(image.shape[2])]
    return np.stack([np.asarray(plane.resize((side, side), filter_, box=box)) for plane in planes], axis=2)


def square_box(width: int, height: int, preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, in an image's own pixels, of what becomes the input."""
    if preprocessing.shaping == "stretch":
        return 0.0, 0.0, float(width), float(height)
    kept = min(height, width) * preprocessing.resolution / preprocessing.short_side
    left, top = (width - kept) / 2, (height - kept) / 2
    return max(left, 0.0), max(top, 0.0), min(left + kept, width), min(top + kept, height)


def image_size(path: Source) -> tuple[int, int]:
    """Width and height in pixels as the header says them, before any EXIF rotation. Pixels are not decoded.

    Raises:
        DataError: the file is missing, empty or not an image.
    """
    try:
        file = path if isinstance(path, Path) else io.BytesIO(_read(path))
        with Image.open(file, formats=prepare()) as image:
            return image.size
    except Exception as error:
        raise _failure(path, _read(path), error) from error


def upright_size(path: Source) -> tuple[int, int]:
    """Width and height in pixels after the EXIF rotation. Pixels are not decoded.

    Raises:
        DataError: the file is missing, empty or not an image.
    """
    try:
        file = path if isinstance(path, Path) else io.BytesIO(_read(path))
        with Image.open(file, formats=prepare()) as image:
            turned = orientation(image) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else image.size
    except Exception as error:
        raise _failure(path, _read(path), error) from error


@functools.cache
def prepare() -> tuple[str, ...]:
    """Load Pillow's readers and name those that are used; call it before threads decode."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _read(path: Source) -> bytes:
    try:
        if isinstance(path, Path):
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - half the time of read_bytes on small files
                data = file.readall()
        else:
            data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL byte
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not data:
        raise DataError(f"{path}: empty file (0 bytes), expected an image.")
    return data


def _check_pixels(path: Source, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise TooManyPixelsError(f"{path}: decompression bomb: {width}x{height} pixels, limit {MAX_PIXELS:,} pixels.")


def _turbo(data: bytes, path: Source, at_least_px: int = 0) -> Bytes | None:
    """Decode a JPEG, or give None where Pillow has to decide: CMYK, 12 bits, odd or damaged files."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        _check_pixels(path, width, height)
        if colours in ("CMYK", "YCCK"):
            return None
        # Factors between 1 and 2 take as long as decoding whole.
        image: Bytes = simplejpeg.decode_jpeg(
            data, "RGB", min_height=at_least_px, min_width=at_least_px, min_factor=2 if at_least_px else 1
        )
    except (ValueError, MemoryError) as error:
        if "remature end" in str(error):
            raise DataError(f"{path}: truncated JPEG: it ends after {len(data):,} bytes.") from error
        return None
    return upright(image, jpeg_orientation(data))


def _pillow(data: bytes, path: Source, convert: Callable[[Image.Image], Bytes]) -> Bytes:
    try:
        with Image.open(io.BytesIO(data), formats=prepare()) as image:
            _check_pixels(path, *image.size)
            image.load()
            # After loading: PNG may hold its EXIF behind the pixels, and TIFF is rotated by load() itself.
            return upright(convert(image), orientation(image))
    except Exception as error:
        raise _failure(path, data, error) from error


def _failure(path: Source, data: bytes, error: Exception) -> DataError:
    """What to tell of a file that Pillow refuses; its readers raise almost any type."""
    if isinstance(error, DataError):
        return error if str(path) in str(error) else DataError(f"{path}: {error}")
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        found = re.search(r"\d+", str(error))
        return TooManyPixelsError(
            f"{path}: decompression bomb: {int(found[0]) if found else '?':,} pixels, limit {MAX_PIXELS:,} pixels."
        )
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        return DataError(f"{path}: a HEIC image, which cannot be read: convert it to JPEG or PNG first.")
    kind = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        return DataError(f"{path}: not an image: begins with {data[:16]!r}.")
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return DataError(f"{path}: truncated {kind}: it ends after {len(data):,} bytes.")
    if isinstance(error, UnidentifiedImageError):
        return DataError(f"{path}: damaged {kind}: its header ({len(data):,} bytes in the file) cannot be read.")
    return DataError(f"{path}: damaged {kind}: {error or type(error).__name__}.")


def _four(image: Image.Image) -> Bytes:
    """The four channels of an image that has four, untouched.

    Raises:
        DataError: it has not.
    """
    if len(image.getbands()) != 4:
        raise DataError(f"an image of {len(image.getbands())} channels ({image.mode}), expected 4.")
    return np.array(image)


def _rgb(image: Image.Image) -> Bytes:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.repeat(_to_8_bits(np.asarray(image))[..., None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    return np.array(image.convert("RGB"))


def _to_8_bits(values: NDArray[Any]) -> Bytes:
    """Grey values of 16 bits, 32 bits or floating point as 8 bits; h w -> h w."""
    if values.dtype.itemsize == 2:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    known = (65535.0,) if values.dtype.kind == "i" else (1.0, 255.0)
    white = next((limit for limit in known if high <= limit), None)
    if low < 0.0 or white is None:
        return np.rint((finite - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8)
    return np.rint(finite * (255.0 / white)).astype(np.uint8)
