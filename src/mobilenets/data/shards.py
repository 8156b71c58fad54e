"""WebDataset shards: tar files in which members with one key are one sample, read in place.

`KEY.jpg` (or any image's extension) is the image. Its label is in `KEY.cls` (a number or a name), `KEY.json` (its
`label`, `cls`, `class` or `labels`) or `KEY.txt` (a name). A key ends at the first dot of the member's file name.
"""

from __future__ import annotations

import functools
import glob
import itertools
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mobilenets.data.columns import is_several, label_names, merged
from mobilenets.data.download import downloaded
from mobilenets.data.files import archive_hint, is_image, natural
from mobilenets.data.listing import Entry, Listing, refuse, split_of_name
from mobilenets.data.sources import Member
from mobilenets.errors import DataError, MisuseError
from mobilenets.metrics import Task

__all__ = ["expand_braces", "members", "read_pattern", "read_shards", "read_urls"]

_JSON_KEYS = ("label", "cls", "class", "labels", "classes")
_BLOCK = tarfile.BLOCKSIZE

Index = Mapping[str, Member]


def read_urls(pattern: str) -> Listing:
    """The shards of an http(s) address, in which braces stand for several; each is downloaded once.

    Raises:
        MisuseError: the address is no tar file's, or has a `*`.
        DataError: a shard cannot be downloaded; else see `read_shards`.
    """
    urls = expand_braces(pattern)
    for url in urls:
        if not url.split("?")[0].endswith(".tar"):
            raise MisuseError(f"{url}: expected the address of a .tar file of a WebDataset.")
        if "*" in url:
            raise MisuseError(f"{url}: addresses cannot be searched with *; name the shards, such as {{000..009}}.tar.")
    files = [downloaded(url) for url in urls]
    return read_shards(_root(files), files)


def read_pattern(pattern: str) -> Listing:
    """The shards that braces and wildcards stand for.

    Raises:
        MisuseError: no file matches.
        DataError: see `read_shards`.
    """
    files = [Path(name) for part in expand_braces(pattern) for name in sorted(glob.glob(part), key=natural) or [part]]  # noqa: PTH207
    absent = [str(file) for file in files if not file.is_file()]
    if absent:
        raise MisuseError(f"{pattern}: no such file: {', '.join(absent[:3])}.")
    return read_shards(_root(files), files)


def _root(files: Sequence[Path]) -> Path:
    return files[0] if len(files) == 1 else Path(os.path.commonpath([file.parent for file in files]))


def expand_braces(pattern: str) -> list[str]:
    """All names that a pattern stands for: `{000..009}` counts, `{train,val}` lists, as in a shell."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices = [_choices(part) if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(inside: str) -> list[str]:
    if counted := re.fullmatch(r"(\d+)\.\.(\d+)", inside):
        first, last = counted.groups()
        return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    return inside.split(",")


def read_shards(root: Path, files: Iterable[Path]) -> Listing:
    """Images and labels of tar files; a file's split is told by its name or its folder's.

    Raises:
        DataError: a shard is truncated, not a tar file, or has images without a label or labels without an image.
    """
    return merged(root, [_read_shard(file) for file in files])


def _read_shard(file: Path) -> Listing:
    status = file.stat()
    return _indexed(file, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)  # a run asks for its data set several times
def _indexed(file: Path, size: int, _changed_ns: int) -> Listing:
    images: dict[str, Member] = {}
    sidecars: dict[str, dict[str, Member]] = {}
    for member in members(file, size):
        key, suffix = _key(member.name)
        if is_image(member.name):
            if key in images:
                raise DataError(
                    f"{file}: two images have the key {key}: {images[key].name} and {member.name}. "
                    "A key ends at the first dot; rename one of them."
                )
            images[key] = member
        elif suffix in (".cls", ".json", ".txt"):
            sidecars.setdefault(key, {})[suffix] = member
    values = {key: _label(found) for key, found in sidecars.items()}
    _check_pairs(file, images, values)
    entries = [Entry(image, label_names(values[key])) for key, image in images.items()]
    multi_label = any(is_several(value) for value in values.values())
    task: Task = "multi-label" if multi_label else "classify"
    return Listing(file, {split_of_name(file) or "all": entries}, task=task)


def _key(name: str) -> tuple[str, str]:
    """The key of a member, with its folders, and its last extension."""
    path = PurePosixPath(name)
    return str(path.parent / path.name.split(".", 1)[0]), path.suffix.lower()


def members(file: Path, size: int) -> Iterator[Member]:
    """Where each file in a tar file lies.

    Raises:
        DataError: it is no tar file, is cut off or damaged.
    """
    end = 0
    try:
        with tarfile.open(file, "r:") as tar:
            for info in tar:
                end = tar.offset
                if info.isreg() and not info.issparse():
                    yield Member(file, info.name, info.offset_data, info.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(
            f"{file}: cannot be read as a tar file ({size:,} bytes): {error}. Make or copy it anew."
        ) from error
    # tarfile takes a cut between two members, or a damaged header, for the end.
    with file.open("rb") as raw:
        raw.seek(end)
        if raw.read(_BLOCK) != bytes(_BLOCK):
            raise DataError(
                f"{file}: truncated or damaged: {size:,} bytes, and no end mark after the last member that can be "
                f"read, at byte {end:,}. Make or copy it anew."
            )


def _label(sidecars: Mapping[str, Member]) -> object:
    """The label in the files beside an image: text, a number or a list; None where there is none."""
    if ".cls" in sidecars:
        return _text(sidecars[".cls"]) or None
    if ".json" in sidecars:
        try:
            found = json.loads(_text(sidecars[".json"]))
        except ValueError as error:
            raise DataError(f"{sidecars['.json']}: not JSON: {error}.") from error
        if isinstance(found, dict):
            for key in _JSON_KEYS:
                if found.get(key) is not None:
                    return found[key]
    return (_text(sidecars[".txt"]) or None) if ".txt" in sidecars else None


def _text(member: Member) -> str:
    return member.read_bytes().decode("utf-8", errors="replace").strip()


def _check_pairs(file: Path, images: Index, values: Mapping[str, object]) -> None:
    if not images:
        raise DataError(f"{file}: no images; expected members such as 000.jpg and 000.cls.")
    bare = [image.name for key, image in images.items() if values.get(key) is None]
    if len(bare) == len(images):
        raise DataError(
            f"{file}: none of its {len(images)} images has a label; expected members such as 000.jpg and 000.cls. "
            f"If it holds class folders, unpack it first: {archive_hint(file)}"
        )
    if bare:
        raise refuse(file, "images have no label", bare, "Give each KEY.jpg a KEY.cls, KEY.json or KEY.txt.")
    if alone := [key for key in values if key not in images]:
        raise refuse(file, "keys have a label and no image", alone, "Give each KEY.cls a KEY.jpg.")
