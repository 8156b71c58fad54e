"""The layouts of folders of class folders, read into images by split and class."""

from __future__ import annotations

from pathlib import Path

from mobilenets.data.files import archive_hint, contents, is_image, natural, walk_images
from mobilenets.data.listing import SPLITS, Entry, Listing
from mobilenets.errors import DataError, MisuseError

__all__ = ["EXPECTED", "checked_root", "read_folders"]

EXPECTED = "expected one folder per class, such as cat/1.jpg and dog/1.jpg, or these under train/ and val/"

ByClass = dict[str, list[Path]]


def checked_root(path: str | Path) -> Path:
    """The folder a path names.

    Raises:
        MisuseError: it does not exist or is a file; for an archive the message has the command that unpacks it.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise MisuseError(f"{root}: no such folder; {EXPECTED}.")
    if root.is_dir():
        return root
    if command := archive_hint(root):
        raise MisuseError(f"{root}: is an archive, not a folder; unpack it first: {command}")
    raise MisuseError(f"{root}: is a file, not a folder; {EXPECTED}.")


def read_folders(root: Path, *, need_classes: int = 2) -> Listing:
    """Images of class folders, by split.

    Raises:
        MisuseError: no layout that is known, or fewer classes than needed.
        DataError: a class without images.
    """
    folders = _split_folders(root)
    if not folders:
        return Listing(root, {"all": _entries(_by_class(root, need_classes))}, folders=True)
    # The labels of competitions' test images are kept back: nothing to learn or measure there.
    usable = {s: f for s, f in folders.items() if s != "test" or len(folders) == 1 or _subfolders(f)}
    found = {name: _by_class(folder, need_classes if name == "train" else 1) for name, folder in usable.items()}
    return Listing(root, {name: _entries(images) for name, images in found.items()}, folders=True)


def _entries(images: ByClass) -> list[Entry]:
    return [Entry(path, (name,)) for name, paths in images.items() for path in paths]


def _split_folders(root: Path) -> dict[str, Path]:
    """Folders of splits by name; empty where the root holds class folders."""
    named = [f for f in _subfolders(root) if f.name.lower() in SPLITS]
    others = [f for f in _subfolders(root) if f.name.lower() not in SPLITS and next(walk_images(f), None)]
    if others and any(_direct_images(f) or not _subfolders(f) for f in named):
        return {}  # a class may be called train (a railway's) or test
    if named and others:
        raise MisuseError(
            f"{root}: mixes splits ({', '.join(f.name for f in named)}) and other folders of images "
            f"({', '.join(f.name for f in others)}); move the others away, or give one of the splits."
        )
    splits = {SPLITS[f.name.lower()]: f for f in named}
    if len(splits) < len(named):
        raise MisuseError(f"{root}: two folders for one split ({', '.join(f.name for f in named)}); keep one.")
    return splits


def _subfolders(folder: Path) -> list[Path]:
    found = [f for f in folder.iterdir() if not f.name.startswith(".") and f.name != "__MACOSX" and f.is_dir()]
    return sorted(found, key=lambda f: natural(f.name))


def _direct_images(folder: Path) -> int:
    return sum(is_image(path) for path in folder.iterdir())


def _by_class(folder: Path, need_classes: int) -> ByClass:
    found = {f.name: list(walk_images(f)) for f in _subfolders(folder)}
    if not any(found.values()):
        if count := _direct_images(folder):
            raise MisuseError(f"{folder}: {count} images lie here without class folders; {EXPECTED}.")
        raise MisuseError(f"{folder}: no images: found {contents(folder)}; {EXPECTED}.")
    if empty := [name for name, images in found.items() if not images]:
        inside = contents(folder / empty[0])
        raise DataError(f"{folder / empty[0]}: no images in this class: found {inside}; add some or remove the folder.")
    if len(found) < need_classes:
        raise MisuseError(f"{folder}: one class only ({', '.join(found)}), a classifier needs two or more; {EXPECTED}.")
    return found
