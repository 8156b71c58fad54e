"""Tables of images and labels, whatever file they come from: which column is which, and what the labels are.

Labels are names or whole numbers. Several labels of an image are a list, or names with `|` or `;` between them, or one
column of 0 and 1 per class: then the data set is multi-label, and an image may have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenets.data.listing import SPLITS, Entry, Listing, refuse, without_repeats
from mobilenets.data.sources import Source
from mobilenets.errors import DataError

__all__ = ["ADDRESS", "IMAGE", "LABEL", "SPLIT", "Table", "find", "is_several", "label_names", "listing", "merged"]

IMAGE = ("path", "file", "filename", "image", "image_path", "file_name", "filepath", "file_path", "img")
ADDRESS = ("url", "image_url", "uri", "href", "link")
LABEL = ("label", "class", "category", "target", "labels", "classes", "categories", "tags")
SPLIT = ("split", "set", "subset")

_BETWEEN = re.compile(r"[|;]")
_MARKS = {0: False, 1: True, "0": False, "1": True, "0.0": False, "1.0": True}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a data set without the pixels.

    Attributes:
        file: where it was read from.
        sources: of the images, one a row.
        columns: the other columns by name; values of one row have the same index.
        rows: what each row is called in messages, such as "line 2".
        classes: names that whole-numbered labels stand for; empty where the file has none.
        split: of all rows, from the file's name; a column goes before it.
    """

    file: Path
    sources: Sequence[Source]
    columns: Mapping[str, Sequence[Any]]
    rows: Sequence[str]
    classes: tuple[str, ...] = ()
    split: str | None = None


def find(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The column with one of the usual names, the earliest of them; case and blanks around do not matter."""
    by_name = {name.strip().lower(): name for name in reversed(names)}
    return next((by_name[name] for name in usual if name in by_name), None)


def listing(table: Table) -> Listing:
    """The images of a table by split.

    Raises:
        DataError: no rows, no column of labels, rows without a label or with an unknown split, an image listed twice
            with different labels.
    """
    if not table.rows:
        raise DataError(f"{table.file}: no rows; expected one row per image.")
    labels, classes, multi_label = _labels(table)
    found: dict[str, list[Entry]] = {}
    empty = []
    for row, split, source, names in zip(table.rows, _splits(table), table.sources, labels, strict=True):
        if names or multi_label:
            found.setdefault(split, []).append(Entry(source, names))
        elif split != "test":  # the labels of competitions' test images are kept back
            empty.append(row)
    if empty:
        todo = "Label or remove them; only multi-label data may have images without any."
        raise refuse(table.file, "rows have no label", empty, todo)
    splits = {split: without_repeats(table.file, entries) for split, entries in found.items()}
    return Listing(table.file, splits, classes, "multi-label" if multi_label else "classify")


def merged(root: Path, parts: Sequence[Listing]) -> Listing:
    """The data set whose files these are.

    Raises:
        DataError: only some of the files belong to a split.
    """
    splits: dict[str, list[Entry]] = {}
    for part in parts:
        for split, entries in part.splits.items():
            splits.setdefault(split, []).extend(entries)
    if "all" in splits and len(splits) > 1:
        loose = [part.root.name for part in parts if "all" in part.splits]
        todo = "Name each file after its split, such as train-000 and val-000, or none."
        raise refuse(root, "files belong to no split, others do", loose, todo)
    classes = tuple(dict.fromkeys(name for part in parts for name in part.classes))
    several = any(part.multi_label for part in parts)
    return Listing(root, splits, classes, "multi-label" if several else "classify")


def _labels(table: Table) -> tuple[list[tuple[str, ...]], tuple[str, ...], bool]:
    """Class names of each row, all names where the table orders them, and whether it is multi-label."""
    column = find(list(table.columns), LABEL)
    if column is None:
        return _marked(table)
    values = table.columns[column]
    multi_label = any(is_several(value) for value in values)
    labels = [label_names(value, table.classes) for value in values]
    return labels, table.classes, multi_label


def is_several(value: object) -> bool:
    """Whether a value is written as several labels: such data is multi-label."""
    return isinstance(value, list | tuple) or (isinstance(value, str) and _BETWEEN.search(value) is not None)


def label_names(value: object, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """The class names in one value of a label column: text, a number, a list of these, or nothing."""
    match value:
        case None:
            return ()
        case str():
            return tuple(dict.fromkeys(name for part in _BETWEEN.split(value) if (name := part.strip())))
        case list() | tuple():
            return tuple(dict.fromkeys(name for item in value for name in label_names(item, classes)))
        case int() if classes:  # -1 says that the label is kept back
            return (classes[value],) if 0 <= value < len(classes) else ()
        case _:
            return (str(value),)


def _marked(table: Table) -> tuple[list[tuple[str, ...]], tuple[str, ...], bool]:
    """Labels from one column of 0 and 1 per class."""
    other = (find(list(table.columns), SPLIT), "", "__index_level_0__")  # the last two are how pandas numbers rows
    marks = {name: values for name, values in table.columns.items() if name not in other}
    if not marks or any(value not in _MARKS for values in marks.values() for value in values):
        raise DataError(
            f"{table.file}: no column of labels: found {', '.join(table.columns) or 'none'}; expected one of "
            f"{', '.join(LABEL)}, or one column of 0 and 1 per class."
        )
    names = tuple(name.strip() for name in marks)
    rows = zip(*marks.values(), strict=True)
    labels = [tuple(name for name, mark in zip(names, row, strict=True) if _MARKS[mark]) for row in rows]
    return labels, names, True


def _splits(table: Table) -> list[str]:
    column = find(list(table.columns), SPLIT)
    if column is None:
        return [table.split or "all"] * len(table.rows)
    values = [str(value).strip() for value in table.columns[column]]
    if unknown := [
        f"{row} ({value})" for row, value in zip(table.rows, values, strict=True) if value.lower() not in SPLITS
    ]:
        raise refuse(table.file, f"rows have an unknown {column}", unknown, "Write train, val or test.")
    return [SPLITS[value.lower()] for value in values]
