"""What a data set lists, whatever its format: images with the names of their classes, by split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from mobilenets.data.annotations import Boxes, Mask
from mobilenets.data.sources import Source
from mobilenets.errors import DataError
from mobilenets.metrics import Task

__all__ = ["SPLITS", "Entry", "Listing", "Oddity", "OddityKind", "refuse", "split_of_name", "without_repeats"]

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Split by the name of its folder, its file or its rows."""

_SHOWN = 5


class Entry(NamedTuple):
    """An image, the names of its classes, and its boxes or mask numbered as the listing's classes are.

    Names of classes that a mask holds are known where its format tells them without reading it.
    """

    source: Source
    labels: tuple[str, ...]
    truth: Boxes | Mask | None = None


OddityKind = Literal["malformed", "unknown class", "outside", "no area", "no image", "no annotation"]
"""An annotation that cannot be read, has a class that is not in the list, a box beyond its image, a box without area,
or no image; an image without annotation. The first two are refused by `open_folder`, the others mended or left out."""


class Oddity(NamedTuple):
    """What a reader of boxes or masks mended or left out.

    Attributes:
        kind: what it is.
        file: the annotation, or the image where that has none.
        detail: in words, such as the box in pixels.
        image: that it is about, where there is one.
    """

    kind: OddityKind
    file: Source
    detail: str
    image: Source | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A data set before its classes are numbered.

    Attributes:
        root: the folder or file it was read from.
        splits: entries by split; all are in one, `all`, where the data set has no splits.
        classes: names in the order the data set gives them; empty where it gives none. Those of boxes and masks are
            always given: labels are indices into them.
        task: what the images are labelled for.
        folders: whether classes are folders: then a `val` without one of them is a mistake, not chance.
        closed: whether the data set states its classes, so that one is a class even where no image has it.
        oddities: what was mended or left out.
    """

    root: Path
    splits: dict[str, list[Entry]]
    classes: tuple[str, ...] = ()
    task: Task = "classify"
    folders: bool = False
    closed: bool = False
    oddities: tuple[Oddity, ...] = ()

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several classes, or none."""
        return self.task == "multi-label"


def split_of_name(path: Path) -> str | None:
    """The split that a word of a file's name tells, `train` of `imagenet-train-0003.tar`, or else its folder's name."""
    words = [*re.split(r"[^a-z]+", path.stem.lower()), path.parent.name.lower()]
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def refuse(where: object, what: str, cases: Sequence[str], todo: str) -> DataError:
    """An error about some of many: how many and what they are, the first five, what to do."""
    more = f", and {len(cases) - _SHOWN} more" if len(cases) > _SHOWN else ""
    return DataError(f"{where}: {len(cases)} {what}: {', '.join(cases[:_SHOWN])}{more}. {todo}")


def without_repeats(where: object, entries: Iterable[Entry]) -> list[Entry]:
    """Each image once, in order.

    Raises:
        DataError: an image is listed twice with different labels.
    """
    labels: dict[Source, tuple[str, ...]] = {}
    clashing = [
        f"{source} ({'|'.join(before)} and {'|'.join(names)})"
        for source, names, _ in entries
        if (before := labels.setdefault(source, names)) != names
    ]
    if clashing:
        todo = "List each image once; several labels of one image go into one row, such as cat|dog."
        raise refuse(where, "images are listed twice with different labels", clashing, todo)
    return [Entry(source, names) for source, names in labels.items()]
