"""Where an image's bytes lie: in a file of its own, in a part of a larger file, in a row of a table.

A `pathlib.Path` is a source too. All are hashable, can be pickled and are read by several threads at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

__all__ = ["Column", "Member", "Row", "Source"]


class Source(Protocol):
    """What has a name and bytes; `str` tells it from all others of its data set."""

    @property
    def name(self) -> str:
        """Name of the file, member or row."""

    @property
    def suffix(self) -> str:
        """Extension with its dot; empty where there is none."""

    def read_bytes(self) -> bytes:
        """The encoded image."""


@dataclass(frozen=True, slots=True)
class Member:
    """An image inside a tar file, which is read in place.

    Attributes:
        container: the tar file.
        name: of the member, with its folders.
        offset: of the image in the container, in bytes.
        size: of the image, in bytes.
    """

    container: Path
    name: str
    offset: int
    size: int

    @property
    def suffix(self) -> str:
        """Extension with its dot."""
        return PurePosixPath(self.name).suffix

    def read_bytes(self) -> bytes:
        """The encoded image; less than `size` where the container was cut since it was indexed."""
        with self.container.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def __str__(self) -> str:
        return f"{self.container}/{self.name}"


class Column(Protocol):
    """A column of encoded images, read row by row."""

    @property
    def stamp(self) -> str | None:
        """Changes when the images do; None where that cannot be told."""

    def read(self, index: int) -> bytes:
        """The image of a row, counted from 0."""


@dataclass(frozen=True, slots=True)
class Row:
    """An image in a row of a table.

    Attributes:
        table: what the table is called, such as its file.
        index: of the row, counted from 0.
        file: what the table calls the image; may be empty.
        column: where it is read from.
    """

    table: str
    index: int
    file: str
    column: Column = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """Number of the row and, where it is known, the image's file name."""
        return f"row {self.index} {self.file}".rstrip()

    @property
    def suffix(self) -> str:
        """Extension with its dot; empty where the table does not name files."""
        return PurePosixPath(self.file).suffix

    def read_bytes(self) -> bytes:
        """The encoded image."""
        return self.column.read(self.index)

    def __str__(self) -> str:
        return f"{self.table}/{self.name}"
