"""Splits: taking `val` from `train`, and keeping a split in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mobilenets.errors import DataError
from mobilenets.files import write_text

__all__ = ["Sample", "Splits", "listed", "read_split", "take_val", "write_split"]

FORMAT = "mobilenets-split/1"


class Sample(NamedTuple):
    """An image file and the index of its class."""

    path: Path
    label: int


Splits = dict[str, tuple[Sample, ...]]
"""Samples by the split's name."""


def take_val(root: Path, classes: Sequence[str], splits: Splits, fraction: float, seed: int) -> Splits:
    """Move part of `train` to `val`, the same part of each class.

    Raises:
        DataError: a class has one image only.
    """
    by_class: list[list[Sample]] = [[] for _ in classes]
    for sample in splits["train"]:
        by_class[sample.label].append(sample)
    if single := next((samples[0] for samples in by_class if len(samples) == 1), None):
        raise DataError(
            f"{root}: class {classes[single.label]!r} has one image ({single.path.name}), which cannot be both in "
            "train and in val; add images of this class, or remove its folder."
        )
    chosen = {sample for samples in by_class for sample in _chosen(root, samples, fraction, seed)}
    return {
        "train": tuple(s for s in splits["train"] if s not in chosen),
        "val": tuple(s for s in splits["train"] if s in chosen),
        **{name: samples for name, samples in splits.items() if name != "train"},
    }


def _chosen(root: Path, samples: list[Sample], fraction: float, seed: int) -> list[Sample]:
    """The images of one class for `val`: those whose names hash lowest."""

    def rank(sample: Sample) -> bytes:
        return hashlib.blake2b(f"{seed}/{_name(sample, root)}".encode(), digest_size=8).digest()

    count = min(max(1, round(len(samples) * fraction)), len(samples) - 1)
    return sorted(samples, key=rank)[:count]


def _name(sample: Sample, root: Path) -> str:
    return sample.path.relative_to(root).as_posix()


def write_split(file: Path, root: Path, classes: Sequence[str], splits: Splits) -> None:
    """Save a split as JSON; the file is complete or absent.

    Raises:
        DataError: the file cannot be written.
    """
    names = {split: [_name(sample, root) for sample in samples] for split, samples in splits.items()}
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
    by_name = {_name(sample, root): sample for samples in present.values() for sample in samples}
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
