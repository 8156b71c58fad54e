"""What a cluster predicts, as blocks: each is done, written and, where a worker dies, done again as a whole."""

from __future__ import annotations

import glob
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mobilenets.data.columns import IMAGE, find
from mobilenets.data.files import find_images, natural, walk_images
from mobilenets.data.parquet import image_column
from mobilenets.data.remote import TABLE, find_remote, is_remote, open_file_system, remote_suffix
from mobilenets.errors import DataError, MisuseError
from mobilenets.prediction.batch_function import Cell
from mobilenets.prediction.inputs import listed_names

AT_ONCE = 64
"""Rows of a table, or names, that are read at once: a block of large photos need not fit in memory."""


@dataclass(frozen=True, slots=True)
class Block:
    """Inputs whose predictions become one file.

    Attributes:
        index: of the block, which names its file.
        rows: how many inputs it has.
        names: of the images, where they are files.
        table: the Parquet file, where they are its rows.
        group: the row group.
        first: number of the group's first row in the table.
    """

    index: int
    rows: int
    names: tuple[str, ...] = ()
    table: str = ""
    group: int = 0
    first: int = 0


class Input(NamedTuple):
    """An image of a block, and what its row says of where it came from.

    Attributes:
        cell: the image.
        path: its path or address; None of a table's row that does not name one.
        table: the Parquet file that it is a row of, or None.
        row: number of the row, counted from 0, or None.
    """

    cell: Cell
    path: str | None
    table: str | None
    row: int | None


def find_inputs(source: str | Path | Sequence[str | Path]) -> list[str]:
    """Names of images and Parquet files, in the order given, within a folder in natural order.

    Files, folders (searched through; their Parquet files where they have no images) and patterns, of this machine or,
    as addresses, of any file system that Arrow or fsspec knows; `@FILE` names a list, one name a line. A name given
    twice counts twice.

    Raises:
        MisuseError: there is no such file, or a folder has neither.
        DataError: a file system cannot be reached.
    """
    given = [source] if isinstance(source, str | Path) else source
    found: list[str] = []
    for name in map(str, given):
        found += listed_names(Path(name[1:])) if name.startswith("@") else _expanded(name)
    if not found:
        raise MisuseError("no inputs: name files, folders, patterns, addresses, or @FILE for a list of them.")
    return found


def _expanded(name: str) -> list[str]:
    if is_remote(name):
        return find_remote(name)
    path = Path(name).expanduser()
    if path.is_dir() and next(walk_images(path), None) is None:
        tables = [str(file) for file in path.rglob(f"*{TABLE}") if not file.name.startswith((".", "_"))]
    else:
        tables = glob.glob(str(path), recursive=True) if path.suffix == TABLE else []  # noqa: PTH207
    return sorted(tables, key=natural) or [str(image) for image in find_images([path])]


def blocks_of(names: Sequence[str], root: Path, images: int) -> list[Block]:
    """Blocks of so many images; of a table each row group is one.

    Args:
        names: of images and Parquet files.
        root: folder that relative paths begin at.
        images: in a block.

    Raises:
        DataError: a table cannot be read.
    """
    blocks: list[Block] = []
    for is_table, part in itertools.groupby(names, lambda name: remote_suffix(name) == TABLE):
        for each in _row_groups(part, root) if is_table else _parts(list(part), images):
            rows, files, table, group, first = each
            blocks.append(Block(len(blocks), rows, files, table, group, first))
    return blocks


_Piece = tuple[int, tuple[str, ...], str, int, int]


def _parts(names: Sequence[str], images: int) -> Iterator[_Piece]:
    for i in range(0, len(names), images):
        part = tuple(names[i : i + images])
        yield len(part), part, "", 0, 0


def _row_groups(tables: Iterable[str], root: Path) -> Iterator[_Piece]:
    for table in tables:
        metadata = _opened(table, root).metadata
        first = 0
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if rows:
                yield rows, (), table, group, first
            first += rows


def digest_of(blocks: Sequence[Block], root: Path) -> str:
    """Changes when the inputs or their order do; what files hold is not looked at."""
    told = hashlib.sha256()
    for block in blocks:
        places = [name if is_remote(name) else str(root / name) for name in (*block.names, block.table)]
        text = "\0".join([*places, str(block.group), str(block.rows)])
        told.update(f"{text}\n".encode(errors="surrogateescape"))
    return told.hexdigest()


def read_block(block: Block, root: Path, column: str | None = None) -> Iterator[list[Input]]:
    """The images of a block, some at a time.

    Args:
        block: what to read.
        root: folder that relative paths begin at.
        column: of a table's images; None finds it, see `data.parquet`.

    Raises:
        DataError: a table cannot be read, or has no images.
    """
    if block.table:
        yield from _table_rows(block, root, column)
        return
    for i in range(0, len(block.names), AT_ONCE):
        yield [Input(Cell(name, name, root), name, None, None) for name in block.names[i : i + AT_ONCE]]


def _opened(table: str, root: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if is_remote(table):
            system, path = open_file_system(table)
            return parquet.ParquetFile(system.open_input_file(path))
        return parquet.ParquetFile(root / table)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{table}: cannot be read as Parquet: {_line(error)}.") from error


def _table_rows(block: Block, root: Path, column: str | None) -> Iterator[list[Input]]:
    import pyarrow as pa

    opened = _opened(block.table, root)
    schema = opened.schema_arrow
    if column is not None and column not in schema.names:
        raise DataError(f"{block.table}: no column {column!r}: found {', '.join(schema.names)}.")
    images = column or image_column(block.table, schema, pa)
    text = [name for name in schema.names if pa.types.is_string(schema.field(name).type)]
    paths = find(text, IMAGE)
    row = block.first
    try:
        for batch in opened.iter_batches(AT_ONCE, row_groups=[block.group], columns=list({images, paths or images})):
            values = batch.column(images).to_pylist()
            named = batch.column(paths).to_pylist() if paths else [_path_in(value) for value in values]
            yield [_row(block.table, root, row + i, *both) for i, both in enumerate(zip(values, named, strict=True))]
            row += len(values)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{block.table}: row group {block.group} cannot be read: {_line(error)}.") from error


def _path_in(value: Any) -> str | None:
    return value.get("path") if isinstance(value, dict) else None


def _row(table: str, root: Path, row: int, value: Any, path: str | None) -> Input:
    """A row of a table; paths in it begin at the table's folder."""
    where = f"{table}/row {row}{f' {path}' if path else ''}"
    if is_remote(table) and isinstance(value, str) and not is_remote(value):
        value = f"{table.rpartition('/')[0]}/{value}"
    return Input(Cell(value, where, (root / table).parent), path, table, row)


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(". ")
