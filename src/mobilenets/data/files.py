"""Finding image files: walking folders, expanding what a user gives on the command line."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mobilenets.errors import MisuseError

__all__ = [
    "EXTENSIONS",
    "archive_hint",
    "by_stem",
    "contents",
    "each_image",
    "find_images",
    "is_image",
    "natural",
    "walk_images",
]

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
)
"""Names that end so are taken for images when a folder is searched; case does not matter."""

_ARCHIVE = re.compile(r"\.(zip|7z|rar|tgz|tbz2?|txz|tar(\.(gz|bz2|xz|zst))?)$", re.IGNORECASE)


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """Image files named by files, folders (searched recursively) and glob patterns (`**` too), without repeats.

    Order: as given; within a folder or a pattern, sorted. Hidden files and folders are left out. A file that is named
    itself is taken whatever its extension.

    Raises:
        MisuseError: a path does not exist, or a folder or pattern has no images.
    """
    return list(dict.fromkeys(found for path in paths for found in each_image(path)))


def each_image(path: str | Path) -> Iterator[Path]:
    """Image files of one argument of `find_images`; a folder is read as it is needed, and checked at once."""
    path = Path(path).expanduser()
    if path.is_dir():
        images = walk_images(path)
        if (first := next(images, None)) is not None:
            return itertools.chain((first,), images)
        raise MisuseError(f"{path}: no images in this folder: found {contents(path)}; expected {_expected()}.")
    if path.exists():
        return iter((path,))
    if glob.has_magic(str(path)):
        return iter(_matches(path))
    raise MisuseError(f"{path}: no such file or folder{_nearest(path)}.")


def _matches(pattern: Path) -> list[Path]:
    found = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True), key=natural)]  # noqa: PTH207
    images = [
        image for path in found for image in (walk_images(path) if path.is_dir() else [path] if is_image(path) else [])
    ]
    if not images:
        raise MisuseError(f"{pattern}: no images match: found {len(found)} other paths; expected {_expected()}.")
    return images


def walk_images(folder: Path) -> Iterator[Path]:
    """Images below a folder, in natural order, files before subfolders; hidden names are left out, links followed."""
    yield from _walk(folder, frozenset())


def by_stem(folder: Path, suffixes: Collection[str] = EXTENSIONS) -> dict[str, Path]:
    """Visible files of a folder by their names without extension, in natural order; none where it is no folder.

    Args:
        folder: its subfolders are not searched.
        suffixes: what the names end in, in small letters; images' when not given.
    """
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for name in sorted(os.listdir(folder), key=natural):  # noqa: PTH208 - names are enough, and quicker
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - likewise
        if suffix.lower() in suffixes and not _hidden(name):
            found[stem] = folder / name
    return found


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that holds it
        return
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not _hidden(e.name)), key=lambda e: natural(e.name))
    yield from (folder / e.name for e in visible if is_image(e.name) and e.is_file())
    for entry in visible:
        if entry.is_dir():
            yield from _walk(folder / entry.name, above | {real})


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def is_image(path: str | Path) -> bool:
    """Whether a name has an image's extension and is not hidden."""
    name = os.path.basename(path)  # noqa: PTH119 - called for every file of a data set
    return not _hidden(name) and os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts `img2` before `img10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def contents(folder: Path) -> str:
    """What a folder holds besides images, in a few words: "3 .txt, 1 folder"; searched recursively."""
    counts = Counter(path.suffix.lower() or "without extension" for path in folder.rglob("*") if path.is_file())
    folders = sum(path.is_dir() for path in folder.iterdir())
    parts = [f"{n} {suffix}" for suffix, n in counts.most_common(4)]
    return ", ".join([*parts, *([f"{folders} folder{'s' * (folders > 1)}"] if folders else [])]) or "nothing"


def archive_hint(path: Path) -> str | None:
    """The command that unpacks an archive, None for other names."""
    if not (found := _ARCHIVE.search(path.name)):
        return None
    target = path.with_name(path.name[: found.start()])
    match found[1].lower():
        case "zip":
            return f"unzip {path} -d {target}"
        case "7z":
            return f"7z x {path} -o{target}"
        case "rar":
            return f"unrar x {path} {target}/"
        case _:
            return f"mkdir -p {target} && tar -xf {path} -C {target}"


def _expected() -> str:
    return "files that end in " + ", ".join(sorted(EXTENSIONS))


def _nearest(path: Path) -> str:
    """Which part of a path is the missing one: helps with a misspelt parent."""
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    return "" if existing == path.absolute().parent else f" ({existing} exists, the rest does not)"
