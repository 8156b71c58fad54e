"""The list of a data set's classes in a file of its own: one name a line."""

from __future__ import annotations

from pathlib import Path

from mobilenets.errors import DataError

__all__ = ["NAMES", "read_classes"]

NAMES = ("classes.txt", "labels.txt")
"""Files that list classes, in a data set's folder."""


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
    if twice := [name for i, name in enumerate(lines) if name in lines[:i]]:
        raise DataError(f"{file}: lists {twice[0]!r} twice; each class has one line.")
    return tuple(lines)
