"""Pictures of a camera, as they come. Linux's cameras, through PyAV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mobilenets.data.sources import Source
from mobilenets.errors import DataError
from mobilenets.prediction.loading import Frame
from mobilenets.prediction.video import frame_pixels, pyav

_CAMERA = re.compile(r"camera:(\d+)")


def is_camera(name: str) -> bool:
    """Whether a name is a camera's: `camera:0`."""
    return _CAMERA.fullmatch(name) is not None


def camera_frames(name: str) -> Iterator[Source]:
    """Pictures of a camera until it ends or nobody asks for more.

    Raises:
        MissingExtraError: PyAV is not installed.
        DataError: there is no such camera, or it stopped.
    """
    av, device = pyav(), f"/dev/video{name.partition(':')[2]}"
    try:
        opened = av.open(device, format="v4l2")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(
            f"{name}: no camera can be opened at {device}: {error}. Is one connected, and may you read it?"
        ) from error
    return _frames(opened, name)


def _frames(opened: Any, name: str) -> Iterator[Source]:
    with opened:
        try:
            for number, frame in enumerate(opened.decode(video=0)):
                yield Frame(name, number, frame_pixels(frame))
        except pyav().FFmpegError as error:
            raise DataError(f"{name}: the camera stopped: {error}.") from error
