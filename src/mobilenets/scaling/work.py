"""What a worker does: opens the model that was sent to it, then predicts block by block."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilenets.metrics import Task
from mobilenets.prediction.batch_function import BatchFunction, Opened, added_columns, arrow_schema
from mobilenets.prediction.found import utf8
from mobilenets.scaling.inputs import Block, Input, read_block
from mobilenets.scaling.parts import Parts, part_name


@dataclass(frozen=True, slots=True)
class Done:
    """A block whose part is written.

    Attributes:
        index: of the block.
        rows: in the part.
        worker: host and process that did it.
    """

    index: int
    rows: int
    worker: str


@dataclass(frozen=True, slots=True)
class Work:
    """All that a worker needs besides the model's files and a block.

    Attributes:
        function: the model's settings; its path is the sender's.
        parts: where the predictions go.
        root: folder that relative paths begin at.
    """

    function: BatchFunction
    parts: Parts
    root: Path

    def open(self, files: Mapping[str, bytes]) -> Opened:
        """The model from the bytes of its files, which need not lie on this machine."""
        with tempfile.TemporaryDirectory(prefix="mobilenets-") as folder:
            for name, data in files.items():
                Path(folder, name).write_bytes(data)
            return replace(self.function, model=str(Path(folder, Path(self.function.model).name))).open()

    def do(self, opened: Opened, block: Block) -> Done:
        """Predict a block and write its part.

        Raises:
            DataError: a table cannot be read.
            OSError: the part cannot be written.
        """
        import pyarrow as pa
        from pyarrow import parquet

        rows, sink = 0, pa.BufferOutputStream()
        with parquet.ParquetWriter(sink, _schema(opened.task), compression="zstd") as writer:
            for inputs in read_block(block, self.root, self.function.column):
                writer.write_table(_predicted(opened, inputs))
                rows += len(inputs)
        self.parts.write(part_name(block.index), sink.getvalue().to_pybytes())
        return Done(block.index, rows, f"{platform.node()} {os.getpid()}")


def model_files(model: str | Path) -> dict[str, bytes]:
    """The bytes of a model's files by name: OpenVINO's `.xml` has a `.bin` beside it."""
    path = Path(model)
    files = [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]
    return {file.name: file.read_bytes() for file in files}


def _schema(task: Task) -> Any:
    import pyarrow as pa

    return pa.schema([("path", pa.string()), ("table", pa.string()), ("row", pa.int64()), *arrow_schema(task)])


def _predicted(opened: Opened, inputs: Sequence[Input]) -> Any:
    import pyarrow as pa

    columns = added_columns(opened.predict([each.cell for each in inputs]), opened.task)
    keys = {
        "path": [None if e.path is None else utf8(e.path) for e in inputs],
        "table": [None if e.table is None else utf8(e.table) for e in inputs],
        "row": [e.row for e in inputs],
    }
    return pa.table(keys | columns, schema=_schema(opened.task))
