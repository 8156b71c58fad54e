"""Folders of class folders as labelled samples in splits.

Layouts: `root/CLASS/...`, and `root/{train,val,test}/CLASS/...` with `valid` or `validation` for `val`. What lies in
subfolders of a class belongs to that class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.files import natural
from mobilenets.data.layout import SPLITS, ByClass, checked_root, read_layout
from mobilenets.data.splits import Sample, Splits, listed, read_split, take_val, write_split
from mobilenets.errors import DataError, MisuseError

__all__ = ["Folder", "Sample", "labelled", "open_folder"]


@dataclass(frozen=True, slots=True)
class Folder:
    """A data set for classification.

    Attributes:
        root: the folder it was read from.
        classes: names in natural order; a label is an index into them.
        splits: samples by split: `train`, `val` and, where the folder has one with labels, `test`.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Splits


def open_folder(
    path: str | Path, *, val_fraction: float = 0.15, seed: int = 0, split_file: Path | None = None
) -> Folder:
    """Read a data set; where it has no `val`, take one from the training images, the same part of each class.

    Which images are taken follows from the seed and each file's name alone, so that images that are added later move
    few of the others. A test folder without class folders has no labels and is left out.

    Args:
        path: folder in one of the layouts.
        val_fraction: part of each class for `val`, above 0 and below 1; at least one image of each class.
        seed: of the split.
        split_file: JSON the split is written to. Where it exists it is read instead, so that a run that is resumed has
            the same split: files that are gone are dropped from it, files that are new stay out.

    Raises:
        MisuseError: the path is not a folder in one of the layouts, or has fewer than two classes.
        DataError: a class has no images or only one, splits have different classes, or `split_file` does not fit.
    """
    if not 0.0 < val_fraction < 1.0:
        raise MisuseError(f"val_fraction is {val_fraction}; it must be above 0 and below 1, such as 0.15.")
    root = checked_root(path)
    found = read_layout(root)
    if "all" in found:
        found = {"train": found["all"]}
    if "train" not in found:
        raise MisuseError(f"{root}: has {', '.join(found)}/ but no train/; rename or add the training images.")
    classes = _train_classes(root, found)
    splits = {name: _samples(images, classes) for name, images in found.items()}
    if split_file is not None and split_file.exists():
        return Folder(root, classes, read_split(split_file, root, classes, splits))
    if "val" not in splits:
        splits = take_val(root, classes, splits, val_fraction, seed)
    if split_file is not None:
        write_split(split_file, root, classes, splits)
    return Folder(root, classes, splits)


def labelled(path: str | Path, classes: Sequence[str], *, split: str | None = None) -> tuple[Sample, ...]:
    """Samples with the labels of a model's classes, whatever order the folders have.

    Args:
        path: folder in one of the layouts; it need not have all classes.
        classes: the model's, in its order.
        split: `train`, `val` or `test`; None takes `test`, else `val`, else everything.

    Raises:
        MisuseError: the path is not a folder in one of the layouts, or has no such split.
        DataError: a folder's name is not one of the classes.
    """
    root = checked_root(path)
    found = read_layout(root, need_classes=1)
    name = _which(root, tuple(found), split)
    unknown = sorted(set(found[name]) - set(classes), key=natural)
    if unknown:
        absent = sorted(set(classes) - set(found[name]), key=natural)
        raise DataError(
            f"{root}: {len(unknown)} folders are no class of the model: {listed('+', unknown)} {listed('-', absent)} "
            "(+ folders without a class, - classes without a folder). Rename the folders to the model's classes."
        )
    return _samples(found[name], tuple(classes))


def _which(root: Path, found: Sequence[str], split: str | None) -> str:
    if split is None:
        return next(name for name in ("test", "val", "train", "all") if name in found)
    name = SPLITS.get(split, split)
    if name not in found:
        has = "class folders without splits" if "all" in found else ", ".join(found)
        raise MisuseError(f"{root}: no split {split!r}: found {has}. Name a split that is there, or none.")
    return name


def _train_classes(root: Path, found: dict[str, ByClass]) -> tuple[str, ...]:
    """The training classes in natural order, after a check that the other splits have the same."""
    train = set(found["train"])
    for name in sorted(set(found) - {"train"}):
        more = sorted(set(found[name]) - train, key=natural)
        fewer = sorted(train - set(found[name]), key=natural)
        if more or (fewer and name == "val"):  # a small test set may lack classes
            raise DataError(
                f"{root}: {name} has other classes than train: {listed('-', fewer)} {listed('+', more)} "
                f"(- only in train, + only in {name}). Give both the same class folders."
            )
    return tuple(sorted(train, key=natural))


def _samples(images: ByClass, classes: tuple[str, ...]) -> tuple[Sample, ...]:
    return tuple(Sample(path, label) for label, name in enumerate(classes) for path in images.get(name, ()))
