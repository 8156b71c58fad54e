"""Pictures of cameras (Linux's) and frames of videos, as they come; through PyAV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenets.data.sources import Source
from mobilenets.errors import DataError, MisuseError
from mobilenets.prediction.loading import Frame
from mobilenets.prediction.video import frame_pixels, open_video, pyav

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
    return _from_camera(opened, name)


def _from_camera(opened: Any, name: str) -> Iterator[Source]:
    try:
        yield from _frames(opened, name)
    except pyav().FFmpegError as error:
        raise DataError(f"{name}: the camera stopped: {error}.") from error


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What is left of a video that is damaged: a source that says why.

    Attributes:
        path: the video.
        why: it cannot be read on.
    """

    path: Path
    why: str

    @property
    def name(self) -> str:
        """The video's."""
        return self.path.name

    @property
    def suffix(self) -> str:
        """The video's."""
        return self.path.suffix

    def read_bytes(self) -> bytes:
        """Nothing.

        Raises:
            DataError: always.
        """
        raise DataError(self.why)

    def __str__(self) -> str:
        return str(self.path)


def video_frames(path: Path) -> Iterator[Source]:
    """Frames of a video, `clip.mp4/0` and on; a damaged one ends in a source that says so.

    Raises:
        MissingExtraError: PyAV is not installed.
        MisuseError: no such video.
    """
    pyav()
    if not path.is_file():
        raise MisuseError(f"no such video: {path}.")
    return _from_video(path)


def _from_video(path: Path) -> Iterator[Source]:
    try:
        yield from _frames(open_video(path), str(path))
    except DataError as error:
        yield Unreadable(path, str(error))
    except pyav().FFmpegError as error:
        yield Unreadable(path, f"{path}: the video is damaged: {error}.")


def _frames(opened: Any, name: str) -> Iterator[Source]:
    with opened:
        for number, frame in enumerate(opened.decode(video=0)):
            yield Frame(name, number, frame_pixels(frame))
