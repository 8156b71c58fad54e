"""What a user names, as images one after the other: nothing is listed before it is needed.

A row follows for every image that is named, twice for one that is named twice. Names in lists are not looked at before
their turn: a file that is not there is a row with its error.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from mobilenets.data.download import Address, downloaded
from mobilenets.data.files import each_image, is_image
from mobilenets.data.parquet import images_of
from mobilenets.data.shards import expand_braces, members
from mobilenets.data.sources import Source
from mobilenets.errors import DataError, MisuseError
from mobilenets.prediction.frames import Unreadable, camera_frames, is_camera, video_frames
from mobilenets.prediction.video import is_video

__all__ = ["listed_names", "sources_of"]


def sources_of(paths: Iterable[str | Path]) -> Iterator[Source]:
    """Images of files, folders (searched through), globs, shards, Parquet files, lists, addresses, videos or cameras.

    Args:
        paths: `NAME.tar` (with braces or wildcards for several), `NAME.parquet` (image bytes, paths or web addresses),
            `@LIST` (a text file with a path or a web address on each line), `-` (such lines on stdin), `camera:0`,
            `https://...`; videos, whose frames are images; everything else names files.

    Raises:
        MisuseError: a path does not exist, or a folder or pattern has no images.
        DataError: a Parquet file or a camera cannot be read. A shard or a video that is damaged ends in an image that
            cannot be read.
    """
    return itertools.chain.from_iterable([_sources(str(path)) for path in paths])


def _sources(path: str) -> Iterator[Source]:
    if path == "-":
        return _named(_lines(sys.stdin))
    if path.startswith("@"):
        return _named(listed_names(Path(path[1:]).expanduser()))
    if is_camera(path):
        return camera_frames(path)
    if is_video(path):
        return video_frames(Path(path).expanduser())
    names = _tables(path)
    if path.endswith(".tar"):
        return itertools.chain.from_iterable(_shard(name) for name in names)
    if path.endswith(".parquet"):
        return itertools.chain.from_iterable([images_of(name) for name in names])
    return iter((Address(path),)) if _is_address(path) else each_image(path)


def _is_address(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def _tables(path: str) -> Sequence[Path]:
    """Shards or Parquet files that a name stands for; of the web, downloaded."""
    if not path.endswith((".tar", ".parquet")):
        return ()
    if _is_address(path):
        return [downloaded(url) for url in expand_braces(path)]
    return [file for part in expand_braces(path) for file in each_image(part)]


def _shard(file: Path) -> Iterator[Source]:
    try:
        yield from (member for member in members(file, file.stat().st_size) if is_image(member.name))
    except DataError as error:
        yield Unreadable(file, str(error))


def listed_names(file: Path) -> Iterator[str]:
    """Paths and addresses of a text file, one a line, read as they are needed.

    Raises:
        MisuseError: there is no such file.
    """
    if not file.is_file():
        raise MisuseError(f"no such list: {file}. Expected a text file with a path or a web address on each line.")
    return _lines(file.open(encoding="utf-8-sig", errors="surrogateescape"))


def _lines(lines: TextIO) -> Iterator[str]:
    with lines:
        for line in lines:
            if name := line.rstrip("\r\n"):
                yield name


def _named(names: Iterator[str]) -> Iterator[Source]:
    return (Address(name) if _is_address(name) else Path(name) for name in names)
