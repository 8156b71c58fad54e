"""Videos in, videos with what was found drawn on them out. PyAV's file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.data import decode
from mobilenets.errors import DataError, MissingExtraError, MisuseError
from mobilenets.files import replacing
from mobilenets.prediction.answers import names_of
from mobilenets.prediction.asking import Ask, asking
from mobilenets.prediction.auto import open_auto, wants_auto
from mobilenets.prediction.loading import seen
from mobilenets.prediction.overlays import BACKGROUND, annotated
from mobilenets.prediction.predictor import Predictor, open_model

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm")
"""Names that end so are taken for videos; case does not matter."""

Told = Callable[[int, int | None, float], None]
"""Told of frames done, of all frames where their number is known, and of frames per second."""


@dataclass(frozen=True, slots=True)
class Video:
    """What became of a video.

    Attributes:
        path: the video.
        written: the video with what was found drawn on it; None where there is an error.
        frames: how many were drawn.
        seconds: decoding, asking, drawing and encoding.
        error: why it cannot be read, or None.
    """

    path: Path
    written: Path | None
    frames: int
    seconds: float
    error: str | None = None

    @property
    def frames_per_s(self) -> float:
        """Of all the work; 0 without frames."""
        return self.frames / self.seconds if self.frames else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "path": str(self.path),
            "written": None if self.written is None else str(self.written),
            "frames": self.frames,
            "seconds": self.seconds,
            "frames_per_s": self.frames_per_s,
            "error": self.error,
        }


def is_video(path: str | Path) -> bool:
    """Whether a name has a video's extension."""
    return Path(path).suffix.lower() in SUFFIXES


def predict_videos(
    model: Any,
    paths: Sequence[str | Path],
    draw: str | Path,
    *,
    top: int | None = None,
    score: float | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    on_progress: Told | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[Video]:
    """Draw what a model finds on every frame of videos; sound is left out.

    Args:
        model: a checkpoint, an exported file, or a model in memory.
        paths: the videos.
        draw: folder for the new ones, H.264 in `.mp4`.
        top: see `predict`.
        score: see `predict`.
        threads: processors to use; None takes all.
        runtime: see `predict`; `auto` decides on generated scenes.
        precision: of float arithmetic in an exported file; None is fp32.
        on_progress: told after every frame.
        on_note: told which runtime was chosen.

    Raises:
        MissingExtraError: PyAV is not installed.
        MisuseError: no such model, or a video that would be written over one of those that are read. A video that
            cannot be read is no error: its entry says why.
    """
    pyav()
    sources = [Path(path) for path in paths]
    targets = [Path(draw) / (path.name if path.suffix == ".mp4" else f"{path.name}.mp4") for path in sources]
    _check(sources, targets)
    predictor: Predictor
    if wants_auto(model, runtime):
        predictor = open_auto(model, lambda _: [], threads=threads, precision=precision, note=on_note)
    else:
        predictor = open_model(model, threads=threads, runtime=runtime, precision=precision)
    ask = asking(predictor, top, score)
    found = []
    for path, target in zip(sources, targets, strict=True):
        try:
            found.append(draw_video(predictor, ask, path, target, on_progress=on_progress))
        except DataError as error:
            found.append(Video(path, None, 0, 0.0, str(error)))
    return found


def draw_video(predictor: Predictor, ask: Ask, path: Path, target: Path, *, on_progress: Told | None = None) -> Video:
    """Draw what a model finds on every frame of a video; the new one appears whole or not at all.

    Raises:
        DataError: it is no video, or is damaged.
    """
    av = pyav()
    started, done = time.perf_counter(), 0
    names = [(i, name) for i, name in enumerate(names_of(predictor)) if name.lower() != BACKGROUND]
    with replacing(target) as temporary, open_video(path) as source, av.open(str(temporary), "w", format="mp4") as made:
        stream = source.streams.video[0]
        writer = _Writer(made, stream)
        total = stream.frames or None
        for frame in _frames(source, stream, path):
            picture = frame_pixels(frame)
            looked = seen(decode.as_channels(picture, predictor.preprocessing.channels), predictor.preprocessing)
            image = annotated(picture, ask([path], [looked])[0], legend=names)
            writer.write(np.asarray(image), frame.pts)
            done += 1
            if on_progress is not None:
                on_progress(done, total, done / (time.perf_counter() - started))
        if not done:
            raise DataError(f"{path}: a video without frames.")
        writer.finish()
    return Video(path, target, done, time.perf_counter() - started)


class _Writer:
    """Encodes pictures at the times of the frames they were made of."""

    def __init__(self, made: Any, source: Any) -> None:
        self._made = made
        self._source = source
        self._stream: Any = None
        self._last = -1

    def write(self, picture: NDArray[np.uint8], at: int | None) -> None:
        """Encode a picture (h, w, 3); an odd last row or column is cut, which H.264 cannot have."""
        av = pyav()
        height, width = (side // 2 * 2 for side in picture.shape[:2])
        if self._stream is None:
            self._stream = self._start(width, height)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
        self._last = max(self._last + 1, at or 0)
        frame.pts, frame.time_base = self._last, self._stream.codec_context.time_base
        self._made.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Encode what the encoder still holds."""
        self._made.mux(self._stream.encode())

    def _start(self, width: int, height: int) -> Any:
        codec = "libx264" if "libx264" in pyav().codec.codecs_available else "mpeg4"
        stream = self._made.add_stream(codec, rate=self._source.average_rate or 25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = self._source.time_base or Fraction(1, 25)
        return stream


def _frames(source: Any, stream: Any, path: Path) -> Iterator[Any]:
    try:
        yield from source.decode(stream)
    except pyav().FFmpegError as error:
        raise DataError(f"{path}: the video is damaged: {error}.") from error


def open_video(path: Path) -> Any:
    """A container that has a video.

    Raises:
        DataError: it cannot be read, or has none.
    """
    av = pyav()
    try:
        source = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path}: not a video that can be read: {error}.") from error
    if not source.streams.video:
        source.close()
        raise DataError(f"{path}: has no video, only {', '.join(s.type for s in source.streams) or 'nothing'}.")
    source.streams.video[0].thread_type = "AUTO"
    return source


def frame_pixels(frame: Any) -> NDArray[np.uint8]:
    """A frame as RGB, turned as the camera was held: h w 3."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


def _check(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    for path in sources:
        if not path.is_file():
            raise MisuseError(f"no such video: {path}.")
    read = {path.resolve() for path in sources}
    if clash := next((path for path in targets if path.resolve() in read), None):
        raise MisuseError(f"{clash} is one of the videos: choose another folder for the new ones.")
    if len(set(targets)) < len(targets):
        twice = next(path for path in targets if targets.count(path) > 1)
        raise MisuseError(f"two videos would be written to {twice}: draw them into two folders.")


def pyav() -> Any:
    """PyAV.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import av
        import av.codec
    except ImportError as error:
        raise MissingExtraError("av", "video", purpose="reading and writing videos") from error
    return av
