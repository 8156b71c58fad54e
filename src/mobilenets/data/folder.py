"""Data sets as labelled samples in splits: class folders, tables, shards, boxes, masks.

Layouts of folders: `root/CLASS/...`, and `root/{train,val,test}/CLASS/...` with `valid` or `validation` for `val`. What
lies in subfolders of a class belongs to that class. The other formats: see `formats`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.annotations import IGNORED, renumbered
from mobilenets.data.files import natural
from mobilenets.data.formats import read_data
from mobilenets.data.listing import SPLITS, Entry, Listing, Oddity, refuse
from mobilenets.data.splits import (
    Label,
    Sample,
    Splits,
    labels_of,
    listed,
    read_split,
    take_val,
    write_split,
)
from mobilenets.errors import DataError, MisuseError
from mobilenets.metrics import Task

__all__ = ["Folder", "Sample", "labelled", "open_folder", "relabelled"]


@dataclass(frozen=True, slots=True)
class Folder:
    """A data set.

    Attributes:
        root: the folder or file it was read from.
        classes: names, in the order the data set gives them, else in natural order; a label is an index into them.
            Those of objects are without a background, those of masks without the ignored ones.
        splits: samples by split: `train`, `val` and, where the data set has one with labels, `test`.
        task: what the images are labelled for: labels are indices, tuples of indices, boxes or masks.
        oddities: what the reader of boxes or masks mended or left out.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Splits
    task: Task = "classify"
    oddities: tuple[Oddity, ...] = ()

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several classes, or none: labels are then tuples of indices."""
        return self.task == "multi-label"


def open_folder(
    path: str | Path,
    *,
    val_fraction: float = 0.15,
    seed: int = 0,
    split_file: Path | None = None,
    task: Task | None = None,
) -> Folder:
    """Read a data set; where it has no `val`, take one from the training images, the same part of each class.

    Which images are taken follows from the seed and each file's name alone, so that images that are added later move
    few of the others. A test folder without class folders has no labels and is left out, and so are rows of `test`
    without a label. Boxes are clipped to their images, those without area left out: `oddities` tells of them.

    Args:
        path: a data set in one of the formats: see `formats.read_data`.
        val_fraction: part of each class for `val`, above 0 and below 1; at least one image of each class.
        seed: of the split.
        split_file: JSON the split is written to. Where it exists it is read instead, so that a run that is resumed has
            the same split: files that are gone are dropped from it, files that are new stay out.
        task: what the data are for, where they have both boxes and masks (boxes when None); else it is found.

    Raises:
        MisuseError: the path is no data set of a known format, is not labelled for `task`, or has fewer than two
            classes (one, for boxes).
        DataError: a class has no images or only one, splits have different classes, boxes are of unknown classes,
            `split_file` does not fit, or the format's reader refuses what it finds.
    """
    if not 0.0 < val_fraction < 1.0:
        raise MisuseError(f"val_fraction is {val_fraction}; it must be above 0 and below 1, such as 0.15.")
    listing = read_data(path, task=task)
    _refuse_unknown(listing)
    root, found = listing.root, listing.splits
    if "all" in found:
        found = {"train": found["all"]}
    if "train" not in found:
        raise MisuseError(f"{root}: has {', '.join(found)} but no train; rename or add the training images.")
    classes = _train_classes(listing, found)
    splits = {name: _samples(listing, entries, classes) for name, entries in found.items()}
    if split_file is not None and split_file.exists():
        return Folder(root, classes, read_split(split_file, root, classes, splits), listing.task, listing.oddities)
    if "val" not in splits:
        splits = take_val(root, classes, splits, val_fraction, seed)
    if split_file is not None:
        write_split(split_file, root, classes, splits)
    return Folder(root, classes, splits, listing.task, listing.oddities)


def labelled(
    path: str | Path, classes: Sequence[str], *, split: str | None = None, task: Task | None = None
) -> tuple[Sample, ...]:
    """Samples with the labels of a model's classes, whatever order the data set has.

    Args:
        path: a data set in one of the formats; it need not have all classes.
        classes: the model's, in its order.
        split: `train`, `val` or `test`; None takes `test`, else `val`, else everything.
        task: the model's, where the data may have both boxes and masks.

    Raises:
        MisuseError: the path is no data set of a known format, is not labelled for `task`, or has no such split.
        DataError: a label is not one of the classes.
    """
    listing = read_data(path, need_classes=1, task=task)
    _refuse_unknown(listing)
    name = _which(listing, split)
    held = set(listing.classes) if listing.task == "segment" else _names(listing.splits[name])
    _check_known(listing.root, held, classes)
    return _samples(listing, listing.splits[name], tuple(classes))


def relabelled(folder: Folder, classes: Sequence[str]) -> Folder:
    """The same images with the labels of a model's classes, whatever order the data set has.

    Args:
        folder: it need not have all classes.
        classes: the model's, in its order.

    Raises:
        DataError: a label is not one of the classes.
    """
    _check_known(folder.root, set(folder.classes), classes)
    where = [list(classes).index(name) for name in folder.classes]

    def told(label: Label) -> Label:
        match label:
            case int():
                return where[label]
            case tuple():
                return tuple(sorted(where[i] for i in label))
            case _:
                return renumbered(label, where)

    splits = {
        name: tuple(Sample(path, told(label)) for path, label in samples) for name, samples in folder.splits.items()
    }
    return Folder(folder.root, tuple(classes), splits, folder.task, folder.oddities)


def _refuse_unknown(listing: Listing) -> None:
    if malformed := [f"{odd.file} ({odd.detail})" for odd in listing.oddities if odd.kind == "malformed"]:
        raise refuse(listing.root, "annotations cannot be read", malformed, "Correct or remove them.")
    unknown = [odd for odd in listing.oddities if odd.kind == "unknown class"]
    if unknown:
        cases = [f"{odd.file} ({odd.detail})" for odd in unknown]
        todo = f"The classes are {', '.join(listing.classes)}. Correct these files, or list the class."
        raise refuse(listing.root, "objects are of no class that is listed", cases, todo)


def _check_known(root: Path, names: set[str], classes: Sequence[str]) -> None:
    unknown = sorted(names - set(classes), key=natural)
    if unknown:
        absent = sorted(set(classes) - names, key=natural)
        raise DataError(
            f"{root}: {len(unknown)} labels are no class of the model: "
            f"{listed('+', unknown)} {listed('-', absent)} (+ only in the data, - only in the model). "
            "Rename the labels to the model's classes."
        )


def _which(listing: Listing, split: str | None) -> str:
    found = listing.splits
    if split is None:
        return next(name for name in ("test", "val", "train", "all") if name in found)
    name = SPLITS.get(split, split)
    if name not in found:
        has = "images without splits" if "all" in found else ", ".join(found)
        raise MisuseError(f"{listing.root}: no split {split!r}: found {has}. Name a split that is there, or none.")
    return name


def _train_classes(listing: Listing, found: dict[str, list[Entry]]) -> tuple[str, ...]:
    """The training classes in order, after a check that the other splits have the same."""
    if listing.closed:
        return listing.classes
    train = _names(found["train"])
    for name in sorted(set(found) - {"train"}):
        there = _names(found[name])
        more, fewer = sorted(there - train, key=natural), sorted(train - there, key=natural)
        # A small test set may lack classes, and so may a val that was drawn from a table's rows.
        if more or (fewer and name == "val" and listing.folders):
            raise DataError(
                f"{listing.root}: {name} has other classes than train: {listed('-', fewer)} {listed('+', more)} "
                f"(- only in train, + only in {name}). Give both the same classes."
            )
    classes = tuple(name for name in listing.classes if name in train) or tuple(sorted(train, key=natural))
    if len(classes) < 2 and listing.task == "classify":
        raise MisuseError(f"{listing.root}: one class only ({', '.join(classes)}), a classifier needs two or more.")
    if not classes:
        raise DataError(f"{listing.root}: none of the training images has a label.")
    return classes


def _names(entries: Iterable[Entry]) -> set[str]:
    return {name for entry in entries for name in entry.labels}


def _samples(listing: Listing, entries: Iterable[Entry], classes: tuple[str, ...]) -> tuple[Sample, ...]:
    """Samples in the order of their classes; those that may have several as they are listed."""
    index = {name: i for i, name in enumerate(classes)}
    match listing.task:
        case "classify":
            return tuple(sorted((Sample(e.source, index[e.labels[0]]) for e in entries), key=labels_of))
        case "multi-label":
            return tuple(Sample(e.source, tuple(sorted(index[name] for name in e.labels))) for e in entries)
        case "detect" | "segment":
            where = [index.get(name, IGNORED) for name in listing.classes]  # what is not there is in no box
            return tuple(Sample(e.source, renumbered(e.truth, where)) for e in entries if e.truth is not None)
