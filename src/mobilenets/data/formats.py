"""Which format a data set has, told from its path alone."""

from __future__ import annotations

from pathlib import Path

from mobilenets.data.csv_file import read_csv
from mobilenets.data.layout import checked_root, read_folders
from mobilenets.data.listing import Listing
from mobilenets.errors import MisuseError

__all__ = ["read_data"]


def read_data(path: str | Path, *, need_classes: int = 2) -> Listing:
    """List a data set.

    Args:
        path: a folder of class folders, or a CSV or TSV file.
        need_classes: fewest classes of a folder of class folders.

    Raises:
        MisuseError: nothing is there, or it has no format that is known.
        DataError: see the format's reader.
    """
    root = Path(path).expanduser()
    if root.suffix.lower() in (".csv", ".tsv") and not root.is_dir():
        if not root.exists():
            raise MisuseError(f"{root}: no such file.")
        return read_csv(root)
    return read_folders(checked_root(root), need_classes=need_classes)
