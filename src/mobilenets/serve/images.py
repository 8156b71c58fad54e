"""Encoded images from requests to what a network sees of them, within limits."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.data import decode
from mobilenets.errors import DataError, TooManyPixelsError
from mobilenets.metrics import Task
from mobilenets.prediction.loading import Seen, load_seen
from mobilenets.preprocessing import Preprocessing
from mobilenets.serve.problems import Problem


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """An encoded image of a request, a `Source`.

    Attributes:
        name: for people, such as `image 1`; nothing that a request said.
        data: its bytes.
    """

    name: str
    data: bytes

    @property
    def suffix(self) -> str:
        """None is known."""
        return ""

    def read_bytes(self) -> bytes:
        """The encoded image."""
        return self.data

    def __str__(self) -> str:
        return self.name


def load(upload: Upload, preprocessing: Preprocessing, task: Task, max_pixels: int) -> Seen:
    """Decode an image, if its header promises no more than `max_pixels`; the size is the upright image's own.

    Raises:
        Problem: 413 too many pixels, 415 not an image, 422 damaged or truncated.
    """
    jpeg = upload.data.startswith(b"\xff\xd8")
    try:
        # how others are turned may stand behind their pixels; a JPEG's header tells, and it may be decoded smaller
        width, height = decode.upright_size(upload) if jpeg else decode.image_size(upload)
    except TooManyPixelsError as error:
        raise _too_large(str(error)) from error
    except DataError as error:
        raise Problem(415, str(error), "Send a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image.") from error
    if width * height > max_pixels:
        raise _too_large(f"{upload}: {width}x{height} pixels, limit {max_pixels:,} pixels.")
    try:
        seen = load_seen(upload, preprocessing, task=task)
    except TooManyPixelsError as error:
        raise _too_large(str(error)) from error
    except (DataError, MemoryError) as error:
        raise Problem(422, str(error), "Is the file whole? Save the image anew.", code="unreadable") from error
    return seen._replace(size=(width, height)) if jpeg else seen


def _too_large(message: str) -> Problem:
    return Problem(
        413, message, "Send a smaller image: the network sees a few hundred pixels a side.", code="too_large"
    )
