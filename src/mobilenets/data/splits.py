"""Splits: taking `val` from `train`, and keeping a split in a file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from mobilenets.data.annotations import Boxes, Mask
from mobilenets.data.sources import Source
from mobilenets.errors import DataError
from mobilenets.files import write_text

__all__ = ["Label", "Sample", "Splits", "classes_in", "labels_of", "listed", "read_split", "take_val", "write_split"]

FORMAT = "mobilenets-split/1"


Label = int | tuple[int, ...] | Boxes | Mask
"""Index of an image's class; in multi-label data the indices of its classes, ascending, perhaps none; its boxes; or its
mask."""


class Sample(NamedTuple):
    """An image and the index of its class, or the indices of its classes."""

    path: Source
    label: Label


Splits = dict[str, tuple[Sample, ...]]
"""Samples by the split's name."""


def take_val(root: Path, classes: Sequence[str], splits: Splits, fraction: float, seed: int) -> Splits:
    """Move part of `train` to `val`, the same part of each class.

    An image of several classes counts to the rarest of them; those without any are a class of their own here.

    Raises:
        DataError: a class has one image only; in multi-label data that image stays in `train`.
    """
    counts = Counter(label for sample in splits["train"] for label in labels_of(sample))
    by_class: dict[int, list[Sample]] = {}
    for sample in splits["train"]:
        rarest = min(labels_of(sample), key=counts.__getitem__, default=len(classes))
        by_class.setdefault(rarest, []).append(sample)
    for label, samples in sorted(by_class.items()):
        if len(samples) == 1 and isinstance(samples[0].label, int):
            raise DataError(
                f"{root}: class {classes[label]!r} has one image ({samples[0].path.name}), which cannot be both in "
                "train and in val; add images of this class, or remove it."
            )
    chosen = {sample for samples in by_class.values() for sample in _chosen(root, samples, fraction, seed)}
    return {
        "train": tuple(s for s in splits["train"] if s not in chosen),
        "val": tuple(s for s in splits["train"] if s in chosen),
        **{name: samples for name, samples in splits.items() if name != "train"},
    }


def labels_of(sample: Sample) -> tuple[int, ...]:
    """Indices of an image's classes, each once; one where it has one class."""
    return classes_in(sample.label)


def classes_in(label: Label) -> tuple[int, ...]:
    """Indices of the classes that a label names, each once."""
    match label:
        case int():
            return (label,)
        case tuple():
            return label
        case _:
            return tuple(sorted(set(label.labels)))


def _chosen(root: Path, samples: list[Sample], fraction: float, seed: int) -> list[Sample]:
    """The images of one class for `val`: those whose names hash lowest."""
    base = _base(root)

    def rank(sample: Sample) -> bytes:
        return hashlib.blake2b(f"{seed}/{_name(sample, base)}".encode(), digest_size=8).digest()

    count = min(max(1, round(len(samples) * fraction)), len(samples) - 1)
    return sorted(samples, key=rank)[:count]


def split_names(root: Path, splits: Splits) -> dict[str, list[str]]:
    """Names of the images of each split, the same wherever the data set lies."""
    base = _base(root)
    return {split: [_name(sample, base) for sample in samples] for split, samples in splits.items()}


def _name(sample: Sample, base: Path) -> str:
    """Names move with the data set: they are relative to its folder where the image lies in it."""
    path = PurePath(str(sample.path))
    return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()


def _base(root: Path) -> Path:
    return root.parent if root.is_file() else root


def write_split(file: Path, root: Path, classes: Sequence[str], splits: Splits) -> None:
    """Save a split as JSON; the file is complete or absent.

    Raises:
        DataError: the file cannot be written.
    """
    names = split_names(root, splits)
    text = json.dumps({"format": FORMAT, "classes": list(classes), "splits": names}, indent=1)
    try:
        write_text(file, text)
    except OSError as error:
        raise DataError(f"{file}: the split cannot be written: {error.strerror or error}.") from error


def read_split(file: Path, root: Path, classes: Sequence[str], present: Splits) -> Splits:
    """Samples that are present, in the splits of a file; files that it does not list stay out.

    Raises:
        DataError: the file is no split or one of other classes, or leaves a split without images.
    """
    saved = _parsed(file)
    if saved["classes"] != list(classes):
        old, new = set(saved["classes"]), set(classes)
        raise DataError(
            f"{file}: this split has other classes than {root}: {listed('-', sorted(old - new))} "
            f"{listed('+', sorted(new - old))} (- only in the file, + only in the folder). "
            "Delete the file to split anew."
        )
    base = _base(root)
    by_name = {_name(sample, base): sample for samples in present.values() for sample in samples}
    splits = {split: tuple(by_name[n] for n in names if n in by_name) for split, names in saved["splits"].items()}
    if lost := next((split for split in ("train", "val") if not splits.get(split)), None):
        count = len(saved["splits"].get(lost, ()))
        raise DataError(
            f"{file}: none of its {count} images for {lost} is in {root}. Bring them back, or delete the file to "
            "split anew."
        )
    return splits


def _parsed(file: Path) -> dict[str, Any]:
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: the split cannot be read: {error}. Delete the file to split anew.") from error
    match saved:
        case {"format": "mobilenets-split/1", "classes": [*_], "splits": {"train": [*_], "val": [*_]}}:
            return dict(saved)
        case _:
            raise DataError(f'{file}: not a split: expected `"format": "{FORMAT}"`. Delete the file to split anew.')


def listed(mark: str, names: Sequence[str], most: int = 10) -> str:
    """Names with a mark before each, at most `most` of them; an empty list is shown as the mark and "none"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return " ".join(f"{mark}{name}" for name in names[:most]) + more if names else f"{mark}(none)"
