"""A CSV or TSV file of image paths and labels."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from mobilenets.data.columns import IMAGE, Table, find, listing
from mobilenets.data.listing import Listing, refuse
from mobilenets.errors import DataError

__all__ = ["existing", "read_csv"]


def read_csv(file: Path) -> Listing:
    """Images and labels of a CSV file with a header line; paths are relative to the file's folder.

    Raises:
        DataError: the file cannot be read, has no rows or not the columns, or names images that are not there.
    """
    names, rows, lines = _read(file)
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    column = find(names, IMAGE)
    if column is None:
        raise DataError(
            f"{file}: no column of image paths: found {', '.join(names)}; expected a header line with one of "
            f"{', '.join(IMAGE)}."
        )
    paths = columns.pop(column)
    return listing(Table(file, existing(file, paths, lines), columns, lines))


def existing(file: Path, paths: Sequence[str], rows: Sequence[str]) -> list[Path]:
    """Images that a table names, relative to its folder.

    Raises:
        DataError: some of them are not there.
    """
    images = [file.parent / path.strip() for path in paths]
    missing = [
        f"{row} ({path})"
        for row, path, image in zip(rows, paths, images, strict=True)
        if not os.path.isfile(image)  # noqa: PTH113 - called for every image
    ]
    if missing:
        todo = f"Paths are relative to {file.parent}; correct or remove these rows."
        raise refuse(file, f"of {len(paths)} rows name images that are not there", missing, todo)
    return images


def _read(file: Path) -> tuple[list[str], list[list[str]], list[str]]:
    """Column names, rows, and the line of each row; empty lines are left out."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            header = text.readline()
            text.seek(0)
            reader = csv.reader(text, delimiter=max(",\t;", key=header.count), strict=True)
            numbered = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as CSV: {error}.") from error
    if not numbered:
        raise DataError(f"{file}: empty; expected a header line such as path,label and one line per image.")
    names = [name.strip() for name in numbered[0][1]]
    if uneven := [f"line {line} ({len(row)})" for line, row in numbered if len(row) != len(names)]:
        raise refuse(file, f"lines do not have {len(names)} columns as the first has", uneven, "Correct them.")
    return names, [row for _, row in numbered[1:]], [f"line {line}" for line, _ in numbered[1:]]
