"""The layout of a data set, read as far as it can be read: what stops `open_folder` becomes a finding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mobilenets.data.files import is_image, natural, walk_images
from mobilenets.data.folder import Folder, Sample, open_folder
from mobilenets.data.formats import read_annotated
from mobilenets.data.listing import SPLITS, Listing
from mobilenets.data.sources import Source
from mobilenets.data.splits import labels_of
from mobilenets.doctor.findings import Finding
from mobilenets.errors import MisuseError, MobileNetsError
from mobilenets.metrics import Task

ALL = "all"
"""Split of a data set without splits."""


class Item(NamedTuple):
    """An image file, its split and its class; images with boxes or masks have an empty one."""

    path: Source
    split: str
    label: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies where.

    Attributes:
        root: the data set.
        items: images in class folders.
        classes: class folders by split, the empty ones too.
        others: visible files in class folders whose names are no image's.
        stray: images beside class folders instead of in one.
        refused: what `open_folder` says where it refuses the data set.
        task: what the images are labelled for.
        listing: of boxes or masks, in the order of the items; None for other data sets.
    """

    root: Path
    items: tuple[Item, ...]
    classes: dict[str, tuple[str, ...]]
    others: tuple[Path, ...] = ()
    stray: tuple[Path, ...] = ()
    refused: str | None = None
    task: Task = "classify"
    listing: Listing | None = None


def survey(path: str | Path, task: Task | None = None) -> Survey:
    """Read class folders, boxes and masks tolerantly; any other kind of data set as `open_folder` reads it.

    Args:
        path: the data set.
        task: what is checked where there are both boxes and masks (boxes when None).

    Raises:
        MisuseError: there is nothing to check: no such folder, or no labelled image in it; or it is not labelled for
            `task`.
        DataError: see `open_folder`.
    """
    if (listing := read_annotated(path, task)) is not None:
        return _of_listing(listing)
    if task in ("detect", "segment"):
        raise MisuseError(f"{path}: has neither boxes nor masks that are known, so there is nothing to {task}.")
    root = Path(path).expanduser()
    walked = _walked(root) if root.is_dir() else None
    try:
        opened = open_folder(path)
    except (MobileNetsError, OSError) as error:
        if walked is None or not walked.items:
            raise
        return Survey(root, walked.items, walked.classes, walked.others, walked.stray, str(error))
    if walked is not None and {item.path for item in walked.items}.issuperset(_paths(opened)):
        return walked
    return _of_folder(opened)


def _paths(folder: Folder) -> Iterator[Source]:
    return (sample.path for samples in folder.splits.values() for sample in samples)


def _of_folder(folder: Folder) -> Survey:
    items = tuple(
        Item(sample.path, split, _names(folder, sample))
        for split, samples in folder.splits.items()
        for sample in samples
    )
    return Survey(folder.root, items, dict.fromkeys(folder.splits, folder.classes), task=folder.task)


def _of_listing(listing: Listing) -> Survey:
    items = tuple(Item(entry.source, split, "") for split, entries in listing.splits.items() for entry in entries)
    return Survey(
        listing.root, items, dict.fromkeys(listing.splits, listing.classes), task=listing.task, listing=listing
    )


def _names(folder: Folder, sample: Sample) -> str:
    return "|".join(folder.classes[label] for label in labels_of(sample))


def _walked(root: Path) -> Survey:
    items: list[Item] = []
    classes: dict[str, tuple[str, ...]] = {}
    others: list[Path] = []
    stray = [path for path in _files(root) if is_image(path)]
    for folder, split in _split_folders(root):
        inside = _subfolders(folder)
        if split == "test" and not inside:  # the labels of a competition's test images are kept back
            continue
        classes[split] = (*classes.get(split, ()), *(f.name for f in inside))
        for class_folder in inside:
            items += (Item(image, split, class_folder.name) for image in walk_images(class_folder))
            others += _others(class_folder)
        if folder != root:
            stray += [path for path in _files(folder) if is_image(path)]
    return Survey(root, tuple(items), classes, tuple(others), tuple(stray))


def _split_folders(root: Path) -> list[tuple[Path, str]]:
    """Folders of class folders with the split of each; as `read_layout`, but it never refuses."""
    folders = _subfolders(root)
    named = [f for f in folders if f.name.lower() in SPLITS]
    others = [f for f in folders if f not in named and next(walk_images(f), None)]
    if not named or (others and any(map(_is_class, named))):  # a class may be called train (a railway's) or test
        return [(root, ALL)]
    splits = [(folder, SPLITS[folder.name.lower()]) for folder in named]
    return sorted(splits, key=lambda found: list(SPLITS.values()).index(found[1]))  # train first


def _is_class(folder: Path) -> bool:
    return not _subfolders(folder) or any(is_image(path) for path in _files(folder))


def _subfolders(folder: Path) -> list[Path]:
    return sorted((f for f in folder.iterdir() if _visible(f.name) and f.is_dir()), key=lambda f: natural(f.name))


def _files(folder: Path) -> list[Path]:
    return sorted((f for f in folder.iterdir() if _visible(f.name) and f.is_file()), key=lambda f: natural(f.name))


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _others(folder: Path) -> Iterator[Path]:
    """Files below a class folder that `walk_images` passes by."""
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(filter(_visible, folders), key=natural)
        visible = sorted(filter(_visible, names), key=natural)
        yield from (Path(above, name) for name in visible if not is_image(name))


def layout_findings(found: Survey) -> list[Finding]:
    """What is wrong with the folders themselves."""
    if found.listing is not None:
        return []
    findings = [*_empty_classes(found), *_unlike_train(found)]
    if found.refused is not None and not findings:
        findings.append(Finding("layout", "fault", (found.root,), found.refused))
    if found.stray:
        message = "images beside the class folders are not read: move them into their class."
        findings.append(Finding("outside classes", "warning", found.stray, message))
    return findings


def _empty_classes(found: Survey) -> Iterator[Finding]:
    used = {(item.split, item.label) for item in found.items}
    for split, names in found.classes.items():
        for name in names:
            if (split, name) not in used:
                where = found.root / name if split == ALL else _folder_of(found.root, split) / name
                yield Finding("classes", "fault", (where,), f"class {name!r} has no images: add some or remove it.")


def _unlike_train(found: Survey) -> Iterator[Finding]:
    if "train" not in found.classes:
        return
    train, used = set(found.classes["train"]), {(item.split, item.label) for item in found.items}
    for split in found.classes.keys() - {"train"}:
        folder = _folder_of(found.root, split)
        for name in sorted(set(found.classes[split]) - train, key=natural):
            if (split, name) not in used:
                continue  # told of already
            message = f"class {name!r} is in {split} and not in train: the network cannot learn it."
            yield Finding("classes", "fault", (folder / name,), f"{message} Give both the same class folders.")
        for name in sorted(train - set(found.classes[split]), key=natural):
            message = f"class {name!r} is in train and not in {split}: {split} does not measure it."
            where = _folder_of(found.root, "train") / name
            yield Finding("classes", "fault" if split == "val" else "note", (where,), message)


def _folder_of(root: Path, split: str) -> Path:
    """The folder of a split under whichever of its names."""
    named = (f for f in _subfolders(root) if SPLITS.get(f.name.lower()) == split) if root.is_dir() else iter(())
    return next(named, root / split)
