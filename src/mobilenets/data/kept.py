"""Decoded squares kept on the disk between runs: one file per list of images and size, the oldest removed first.

A file is NumPy's format, so that it can be memory-mapped, with a trailer behind the pixels: the images that could not
be read, as JSON, its length and a mark. A file that was cut has no such end and is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray

from mobilenets.data.sources import Member, Row, Source
from mobilenets.data.splits import Sample
from mobilenets.errors import MisuseError
from mobilenets.files import cache_folder, replacing

__all__ = ["file_stamp", "key", "limit_bytes", "read", "squares_folder", "write"]

FORMAT = 1
"""Raised when decoding or resizing changes its pixels: what was kept before is then ignored."""

_MARK = b"mobilenets squares"
_END = struct.Struct(f"<Q{len(_MARK)}s")
_GB = 1_000_000_000
_DEFAULT_GB = "4"

Images = NDArray[np.uint8]
Failed = Mapping[int, str]


def squares_folder(chosen: Path | None) -> Path:
    """Where squares are kept: in a chosen cache folder, else in the user's."""
    return (chosen or cache_folder()) / "squares"


def limit_bytes() -> int:
    """How much may be kept: `MOBILENETS_CACHE_GB`, else 4 GB; 0 keeps nothing.

    Raises:
        MisuseError: it is not a number.
    """
    given = os.environ.get("MOBILENETS_CACHE_GB") or _DEFAULT_GB
    try:
        return max(0, int(float(given) * _GB))
    except (ValueError, OverflowError) as error:
        raise MisuseError(
            f"MOBILENETS_CACHE_GB is {given!r}; expected gigabytes, such as 4; 0 keeps nothing."
        ) from error


def key(samples: Sequence[Sample], size: int, way: str = "") -> str | None:
    """What the squares of these images are kept under: names, lengths and times of the files, in order.

    Args:
        samples: images; their labels do not matter.
        size: side of the squares, in pixels.
        way: how they are decoded, where it is not the usual way.

    Returns:
        None where an image's bytes may change unnoticed, so that its square cannot be kept.
    """
    digest = hashlib.blake2b(f"{FORMAT} {size} {way} {PIL.__version__} {simplejpeg.__version__}".encode())
    containers: dict[Path, str] = {}
    for sample in samples:
        stamp = _stamp(sample.path, containers)
        if stamp is None:
            return None
        digest.update(f"{sample.path}\0{stamp}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _stamp(source: Source, containers: dict[Path, str]) -> str | None:
    match source:
        case Path():
            return file_stamp(source)
        case Member():
            if source.container not in containers:
                containers[source.container] = file_stamp(source.container)
            return f"{containers[source.container]} {source.offset} {source.size}"
        case Row():
            return source.column.stamp
        case _:
            return None


def file_stamp(file: Path) -> str:
    """Length and time of a file, which change with what it holds; a missing file has a stamp of its own."""
    try:
        status = os.stat(file)  # noqa: PTH116 - called for every image
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def read(folder: Path, name: str, count: int, shape: tuple[int, int, int]) -> tuple[Images, dict[int, str]] | None:
    """Kept squares, memory-mapped, and the reasons of the images that could not be read.

    Args:
        folder: where squares are kept.
        name: their key.
        count: of images, readable or not.
        shape: of a square, h w c.

    Returns:
        None where there are none, or the file is damaged.
    """
    file = folder / f"{name}.npy"
    try:
        with file.open("rb") as raw:
            end = raw.seek(-_END.size, os.SEEK_END)
            length, mark = _END.unpack(raw.read(_END.size))
            raw.seek(end - length)
            failed = {int(i): str(reason) for i, reason in json.loads(raw.read(length)).items()}
        images: Images = np.lib.format.open_memmap(file, mode="r")
        whole = images.offset + images.nbytes + length + _END.size  # type: ignore[attr-defined]
        expected = (count - len(failed), *shape)
        if mark != _MARK or images.shape != expected or images.dtype != np.uint8 or whole != file.stat().st_size:
            return None
    except (OSError, ValueError, TypeError, AttributeError, struct.error, EOFError):
        return None
    with contextlib.suppress(OSError):
        os.utime(file)  # the files used longest ago are removed first
    return images, failed


def write(folder: Path, name: str, images: Images, failed: Failed, limit: int) -> str | None:
    """Keep squares, and remove those used longest ago where all together are above the limit.

    Returns:
        Why they are not kept, where the disk is full or cannot be written to.
    """
    trailer = json.dumps(failed).encode()
    if images.nbytes + len(trailer) > limit or not len(images):
        return None
    try:
        _make_room(folder, limit - images.nbytes - len(trailer))
        with replacing(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(images))
            file.write(np.ascontiguousarray(images).data.cast("B"))
            file.write(trailer + _END.pack(len(trailer), _MARK))
    except OSError as error:
        return f"the decoded images are not kept in {folder}: {error.strerror or error}."
    return None


def _make_room(folder: Path, limit: int) -> None:
    found = []
    for file in folder.glob("*.npy"):
        with contextlib.suppress(OSError):  # another run removed it
            status = file.stat()
            found.append((status.st_mtime_ns, status.st_size, file))
    total = sum(size for _, size, _ in found)
    for _, size, file in sorted(found):
        if total <= limit:
            break
        with contextlib.suppress(OSError):  # Windows: another run reads it
            file.unlink()
            total -= size
