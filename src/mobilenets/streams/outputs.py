"""What predictions are written to: CSV and JSON Lines as they come, JSON (COCO's, too) and Parquet at the end.

The latter are kept as lines of JSON until then, so that every kind goes on in the same way after a run was killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mobilenets.errors import MissingExtraError, MisuseError
from mobilenets.files import replacing
from mobilenets.metrics import Task
from mobilenets.prediction import Prediction
from mobilenets.prediction.coco import annotations_of, image_entry
from mobilenets.prediction.found import utf8
from mobilenets.prediction.pipeline import chunks
from mobilenets.streams.records import from_record, to_record
from mobilenets.streams.rows import csv_header, csv_rows, json_line

SUFFIXES = (".csv", ".jsonl", ".json", ".parquet")
"""Kinds of files that predictions are written to."""

ROWS_AT_ONCE = 4096
"""Rows of a row group."""


@dataclass(frozen=True, slots=True)
class Output:
    """A file of predictions, and how they become lines of it.

    Attributes:
        path: the file.
        task: what the model gives.
        features: whether there are features.

    Raises:
        MisuseError: the name ends in something else than `SUFFIXES`.
        MissingExtraError: a Parquet file without pyarrow.
    """

    path: Path
    task: Task
    features: bool = False

    def __post_init__(self) -> None:
        check_suffix(self.path)

    @property
    def direct(self) -> bool:
        """Whether lines are written as they stay."""
        return self.path.suffix in (".csv", ".jsonl")

    def header(self) -> str:
        """What comes before the first row."""
        return csv_header(self.task, features=self.features) if self.path.suffix == ".csv" else ""

    def lines(self, found: Prediction) -> str:
        """The lines of a prediction."""
        match self.path.suffix:
            case ".csv":
                return csv_rows(found, features=self.features)
            case ".jsonl":
                return json_line(found.to_dict())
            case _:
                return json_line(to_record(found))

    def finish(self, lines: Path) -> None:
        """Make the file of all its lines, whole or not at all; the lines are removed."""
        if self.direct:
            lines.replace(self.path)
            return
        with replacing(self.path) as temporary:
            if self.path.suffix == ".parquet":
                _write_parquet(lines, temporary)
            else:
                with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
                    write_json(lines, self.task, file)
        lines.unlink()


def check_suffix(path: Path) -> None:
    """Refuse a file that predictions cannot be written to.

    Raises:
        MisuseError: its name ends in something else than `SUFFIXES`.
        MissingExtraError: a Parquet file without pyarrow.
    """
    if path.suffix not in SUFFIXES:
        raise MisuseError(f"--out must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, got {path}.")
    if path.suffix == ".parquet":
        _pyarrow()


def read_lines(lines: Path) -> Iterator[Prediction]:
    """Predictions from lines of records."""
    with lines.open(encoding="utf-8") as file:
        for line in file:
            yield from_record(json.loads(line))


def write_json(lines: Path, task: Task, file: TextIO, more: Mapping[str, Any] | None = None) -> None:
    """One JSON object of all predictions: `predictions`, or COCO's form where there are boxes or masks; then `more`."""
    with _object(file, more or {}):
        _write_all(lines, task, file)


def _write_all(lines: Path, task: Task, file: TextIO) -> None:
    if task in ("classify", "multi-label"):
        _array(file, "predictions", (each.to_dict() for each in read_lines(lines)))
        return
    names: dict[int, str] = {}

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for i, each in enumerate(read_lines(lines), 1):
            for part in annotations_of(each):
                number += 1
                names[part["category_id"]] = part["category_name"]
                yield {"id": number, "image_id": i, "file_name": each.name} | part

    _array(file, "images", (image_entry(i, each) for i, each in enumerate(read_lines(lines), 1)))
    file.write(",\n")
    _array(file, "annotations", annotations())
    file.write(",\n")
    _array(file, "categories", ({"id": number, "name": names[number]} for number in sorted(names)))


@contextmanager
def _object(file: TextIO, more: Mapping[str, Any]) -> Iterator[None]:
    file.write("{\n")
    yield
    for name, value in more.items():
        file.write(f',\n "{name}": {json.dumps(value, ensure_ascii=False)}')
    file.write("\n}\n")


def _array(file: TextIO, name: str, values: Iterator[dict[str, Any]]) -> None:
    file.write(f' "{name}": [')
    for i, value in enumerate(values):
        file.write((",\n  " if i else "\n  ") + json.dumps(value, ensure_ascii=False))
    file.write("\n ]")


def _write_parquet(lines: Path, path: Path) -> None:
    pyarrow, parquet = _pyarrow()
    schema = _schema(pyarrow)
    with parquet.ParquetWriter(path, schema) as writer:
        for part in chunks(read_lines(lines), ROWS_AT_ONCE):
            writer.write_table(pyarrow.Table.from_pylist([_parquet_row(each) for each in part], schema))


def _parquet_row(found: Prediction) -> dict[str, Any]:
    row = to_record(found) | {"path": utf8(found.name), "error": None if found.error is None else utf8(found.error)}
    row["top"] = [{"label": label, "score": score} for label, score in found.top]
    row["width"], row["height"] = row.pop("size") or (None, None)
    return row


def _schema(pyarrow: Any) -> Any:
    text, whole, real = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    scored = [("label", text), ("score", real)]
    box = [("label", text), ("number", whole), ("score", real), ("box", pyarrow.list_(real))]
    region = [("label", text), ("number", whole), ("pixels", whole), ("part", real), ("counts", text)]
    lists = {name: pyarrow.list_(pyarrow.struct(fields)) for name, fields in (("t", scored), ("b", box), ("r", region))}
    return pyarrow.schema(
        [
            ("path", text), ("label", text), ("score", real), ("top", lists["t"]), ("width", whole), ("height", whole),
            ("detections", lists["b"]), ("regions", lists["r"]), ("features", pyarrow.list_(pyarrow.float32())),
            ("error", text),
        ]
    )  # fmt: skip


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", purpose="writing Parquet files") from error
    return pyarrow, pyarrow.parquet
