"""The list of a data set's classes in a file of its own: one name a line, or a table with the colours of masks."""

from __future__ import annotations

import csv
from pathlib import Path

from mobilenets.errors import DataError

__all__ = ["COLOURS", "NAMES", "Colour", "read_classes", "read_colours"]

NAMES = ("classes.txt", "labels.txt")
"""Files that list classes, in a data set's folder."""

COLOURS = "class_dict.csv"
"""The file that lists classes with their colours: name, r, g, b."""

Colour = tuple[int, int, int]


def read_classes(root: Path) -> tuple[str, ...]:
    """Names in the order of the file; none where there is no such file.

    Raises:
        DataError: it cannot be read, lists nothing, or a name twice.
    """
    file = next((root / name for name in NAMES if (root / name).is_file()), None)
    if file is None:
        return ()
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: the list of classes cannot be read: {error}.") from error
    if "" in lines or not lines:
        raise DataError(f"{file}: line {lines.index('') + 1 if lines else 1} is empty; expected a class name a line.")
    _refuse_twice(file, lines)
    return tuple(lines)


def read_colours(root: Path) -> dict[str, Colour]:
    """Colours of classes in the order of the file; none where there is no such file.

    Raises:
        DataError: it cannot be read, lacks a column, or lists a name or a colour twice.
    """
    file = root / COLOURS
    if not file.is_file():
        return {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = [{(key or "").strip().lower(): value for key, value in row.items()} for row in csv.DictReader(text)]
        names = [row["name"].strip() for row in rows]
        colours = [(int(row["r"]), int(row["g"]), int(row["b"])) for row in rows]
    except (OSError, ValueError, KeyError, AttributeError, TypeError, csv.Error) as error:
        raise DataError(
            f"{file}: the colours of classes cannot be read: {error!r}; expected a header line name,r,g,b and "
            "lines such as road,128,64,128."
        ) from error
    if not rows or any(not 0 <= value <= 255 for colour in colours for value in colour):
        raise DataError(f"{file}: expected a class a line, with colours from 0 to 255.")
    _refuse_twice(file, names)
    _refuse_twice(file, [str(colour) for colour in colours])
    return dict(zip(names, colours, strict=True))


def _refuse_twice(file: Path, listed: list[str]) -> None:
    if twice := [name for i, name in enumerate(listed) if name in listed[:i]]:
        raise DataError(f"{file}: lists {twice[0]!r} twice; each class has one line.")
