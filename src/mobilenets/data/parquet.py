"""Parquet files of labels with image paths, or with the images themselves."""

from __future__ import annotations

import bisect
import itertools
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from mobilenets.data.columns import ADDRESS, IMAGE, LABEL, Table, find, listing, merged
from mobilenets.data.csv_file import existing
from mobilenets.data.download import Address
from mobilenets.data.kept import file_stamp
from mobilenets.data.listing import Listing, split_of_name
from mobilenets.data.sources import Row, Source
from mobilenets.errors import DataError, MissingExtraError

__all__ = ["ParquetColumn", "image_column", "images_of", "read_parquet"]

_KEPT_BYTES = 512 << 20
_NAMES_AT_ONCE = 4096


def read_parquet(root: Path, files: Sequence[Path]) -> Listing:
    """Images and labels of Parquet files; a file's split is told by its name, its folder's, or a column.

    Images are a column of paths, relative to the file's folder, of encoded bytes, or of both (`bytes` and `path`, as
    Hugging Face data sets have them). The names that a Hugging Face schema gives to whole-numbered labels are used.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: a file cannot be read, or has not the columns; else see `columns.listing`.
    """
    return merged(root, [_read(file) for file in files])


def images_of(file: Path) -> Iterator[Source]:
    """Images of a Parquet file, whatever else is in it, as they are needed: bytes, or paths and web addresses.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: the file cannot be read, or has no column of images.
    """
    pyarrow, parquet = _pyarrow()
    try:
        opened = parquet.ParquetFile(file)
        schema = opened.schema_arrow
        column = image_column(file, schema, pyarrow, (*IMAGE, *ADDRESS))
        embedded = not _is_text(schema.field(column).type, pyarrow)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read as Parquet: {_line(error)}. Make or copy it anew.") from error
    return _embedded(file, opened, column) if embedded else _named(file, opened, column)


def _embedded(file: Path, opened: Any, column: str) -> Iterator[Source]:
    reader = _reader(file, opened, column)
    return (Row(str(file), i, "", reader) for i in range(opened.metadata.num_rows))


def _named(file: Path, opened: Any, column: str) -> Iterator[Source]:
    for batch in opened.iter_batches(_NAMES_AT_ONCE, columns=[column]):
        for name in batch.column(0).to_pylist():
            web = str(name).startswith(("http://", "https://"))
            yield Address(name) if web else file.parent / (name or "")


def _reader(file: Path, opened: Any, column: str) -> ParquetColumn:
    groups = (opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups))
    return ParquetColumn(file, column, tuple(itertools.accumulate(groups, initial=0)), file_stamp(file))


def _read(file: Path) -> Listing:
    pyarrow, parquet = _pyarrow()
    try:
        opened = parquet.ParquetFile(file)
        schema = opened.schema_arrow
        column = image_column(file, schema, pyarrow)
        embedded = not _is_text(schema.field(column).type, pyarrow)
        names = [name for name in schema.names if name != column and not _is_binary(schema.field(name).type, pyarrow)]
        columns = opened.read(columns=names).to_pydict()
        paths = _paths(opened, column, embedded)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read as Parquet: {_line(error)}. Make or copy it anew.") from error
    rows = [f"row {i}" for i in range(len(paths))]
    sources: Sequence[Source]
    if embedded:
        reader = _reader(file, opened, column)
        sources = [Row(str(file), i, path or "", reader) for i, path in enumerate(paths)]
    else:
        sources = existing(file, [path or "" for path in paths], rows)
    return listing(Table(file, sources, columns, rows, _class_names(schema, columns), split_of_name(file)))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", purpose="reading Parquet files") from error
    return pyarrow, pyarrow.parquet


def image_column(file: Path | str, schema: Any, pyarrow: Any, usual: Sequence[str] = IMAGE) -> str:
    """The column of images: bytes go before paths, usual names before others.

    Raises:
        DataError: there is none.
    """
    binary = [name for name in schema.names if _is_binary(schema.field(name).type, pyarrow)]
    text = [name for name in schema.names if _is_text(schema.field(name).type, pyarrow)]
    if (found := find(binary, usual) or (binary[0] if len(binary) == 1 else find(text, usual))) is None:
        raise DataError(
            f"{file}: no column of images: found {', '.join(schema.names)}; expected image bytes, or paths under one "
            f"of {', '.join(usual)}."
        )
    return found


def _is_text(kind: Any, pyarrow: Any) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _is_binary(kind: Any, pyarrow: Any) -> bool:
    """Bytes, or a struct that has them under `bytes`."""
    if pyarrow.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _paths(opened: Any, column: str, embedded: bool) -> list[str | None]:
    """The image's path in each row; None where the file does not say one. Bytes are not read."""
    leaf = f"{column}.path" if embedded else column
    if leaf not in (opened.schema.column(i).path for i in range(len(opened.schema))):
        return [None] * int(opened.metadata.num_rows)
    values = opened.read(columns=[leaf]).column(0).to_pylist()
    return [value["path"] if isinstance(value, dict) else value for value in values]


def _class_names(schema: Any, columns: dict[str, list[Any]]) -> tuple[str, ...]:
    """Names of a `ClassLabel` that a Hugging Face data set keeps in its schema."""
    column = find(list(columns), LABEL)
    try:
        feature = json.loads(schema.metadata[b"huggingface"])["info"]["features"][column]
        return tuple(map(str, (feature.get("feature") or feature)["names"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()


@dataclass(frozen=True, slots=True)
class ParquetColumn:
    """A column of encoded images. Row groups are what Parquet can read alone; those last read are kept.

    Attributes:
        file: the Parquet file.
        column: its name.
        starts: first row of each group, and the number of rows at the end.
        stamp: length and time of the file.
    """

    file: Path
    column: str
    starts: tuple[int, ...]
    stamp: str

    def read(self, index: int) -> bytes:
        """The image of a row.

        Raises:
            DataError: the file cannot be read any more, or the row has no image.
        """
        group = bisect.bisect_right(self.starts, index) - 1
        value = _GROUPS.get(self, group)[index - self.starts[group]].as_py()
        return bytes_of(value, self.file.parent, f"{self.file}: row {index}")


def bytes_of(value: bytes | dict[str, Any] | None, folder: Path, where: str) -> bytes:
    """The encoded image in a cell: bytes, or `bytes` and `path`, of which one may be missing.

    Raises:
        DataError: the cell is empty.
        OSError: the file that it names cannot be read.
    """
    match value:
        case bytes():
            return value
        case {"bytes": bytes(data)}:
            return data
        case {"path": str(path)}:
            return (folder / path).read_bytes()
        case _:
            raise DataError(f"{where}: no image in this row.")


class _Groups:
    """Row groups of image columns in memory, the last used of them, shared by threads."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.lock = limit_bytes, Lock()
        self.kept: OrderedDict[tuple[ParquetColumn, int], Any] = OrderedDict()

    def get(self, column: ParquetColumn, group: int) -> Any:
        with self.lock:
            if (key := (column, group)) not in self.kept:
                self.kept[key] = self._read(column, group)
                while len(self.kept) > 1 and sum(values.nbytes for values in self.kept.values()) > self.limit_bytes:
                    self.kept.popitem(last=False)
            self.kept.move_to_end(key)
            return self.kept[key]

    @staticmethod
    def _read(column: ParquetColumn, group: int) -> Any:
        pyarrow, parquet = _pyarrow()
        try:
            return parquet.ParquetFile(column.file).read_row_group(group, columns=[column.column]).column(0)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{column.file}: row group {group} cannot be read: {_line(error)}.") from error


_GROUPS = _Groups(_KEPT_BYTES)


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ")
