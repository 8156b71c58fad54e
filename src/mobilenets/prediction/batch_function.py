"""A model as a function of batches, for engines that have the rows: Spark, Dask, pandas, Arrow.

label = mn.predict.batch_function("model.onnx")
frame = label(pandas.DataFrame({"path": ["cat.jpg", "dog.jpg"]}))  # with the columns label, score, top, error
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import numpy as np

from mobilenets.data.kept import file_stamp
from mobilenets.data.remote import is_remote, read_remote
from mobilenets.errors import DataError, MissingExtraError, MisuseError
from mobilenets.metrics import Task
from mobilenets.prediction.asking import Ask, asking, unreadable
from mobilenets.prediction.found import Detection, Prediction, utf8
from mobilenets.prediction.loading import Seen, batch_of, batches, load_seen, seen
from mobilenets.prediction.predictor import Predictor, open_model

__all__ = [
    "COLUMNS",
    "BatchFunction",
    "Cell",
    "Opened",
    "added_columns",
    "arrow_schema",
    "batch_function",
    "with_batches",
]

COLUMNS = ("bytes", "path", "image")
"""Names of a batch's column of images, the first that is there is taken."""

B = TypeVar("B")
P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


def batch_function(
    model: str | Path,
    *,
    top: int | None = None,
    score: float | None = None,
    threads: int = 1,
    runtime: str | None = None,
    precision: str | None = None,
    column: str | None = None,
) -> BatchFunction:
    """A model's file as a function that adds columns to a batch of images.

    The function takes a pandas DataFrame, an Arrow table or record batch, or a dict of NumPy columns, and gives the
    same kind back with all of its rows, in order. It can be pickled: the model's path travels, and each process opens
    the file when it gets its first batch. Threads may share it.

    Args:
        model: a checkpoint or an exported file, at the same path wherever the function runs.
        top: classes listed for each image, 5 unless given; of a detector the boxes, 100 unless given.
        score: least score of a box that is listed, 0.5 unless given.
        threads: processors to use; one, since engines run a task for each processor.
        runtime: of an exported file; None takes the format's own.
        precision: of float arithmetic in an exported file; None is fp32.
        column: of the images; None takes the first of `bytes`, `path` and `image`. Its values tell what they are:
            encoded images, paths or addresses (`s3://...`), uint8 pixels (h, w, c), or a dict of `bytes` and `path`.

    Raises:
        MisuseError: the model is no file's name, or a number is out of range.
    """
    if not isinstance(model, str | Path):
        raise MisuseError(f"a function of batches opens a model's file, got a {type(model).__name__}: save it first.")
    if threads < 1:
        raise MisuseError(f"`threads` (={threads}) must be at least 1.")
    if top is not None and top < 1:
        raise MisuseError(f"`top` (={top}) must be at least 1.")
    if score is not None and not 0.0 <= score <= 1.0:
        raise MisuseError(f"`score` (={score}) is a probability: it must be between 0 and 1.")
    return BatchFunction(os.path.abspath(model), top, score, threads, runtime, precision, column)  # noqa: PTH100


@dataclass(frozen=True, slots=True)
class BatchFunction:
    """See `batch_function`.

    Added columns: `label`, `score` and `top` of a classifier; `label`, `score`, `size` and `detections` of a detector;
    `size` and `regions` of a segmenter; and `error`, which says why an image cannot be read and is null elsewhere.
    `top`, `detections` and `regions` are lists of structs.
    """

    model: str
    top: int | None = None
    score: float | None = None
    threads: int = 1
    runtime: str | None = None
    precision: str | None = None
    column: str | None = None

    def __call__(self, batch: B) -> B:
        """A batch with what the model says of each row.

        Raises:
            MisuseError: the batch has no column of images, or one of the added columns already.
        """
        opened = _MODELS.get(self)
        names = list(batch) if isinstance(batch, Mapping) else _names(batch)
        column = _image_column(names, self.column)
        if taken := [name for name in added_columns([], opened.task) if name in names]:
            raise MisuseError(f"the batch has a column {taken[0]!r} already: rename or drop it first.")
        cells = [Cell(value, _where(value, i)) for i, value in enumerate(_values(batch, column))]
        return cast(B, _added(batch, added_columns(opened.predict(cells), opened.task), opened.task))

    def open(self) -> Opened:
        """The model, opened anew.

        Raises:
            MisuseError: see `open_model` and `asking`.
        """
        predictor = open_model(self.model, threads=self.threads, runtime=self.runtime, precision=self.precision)
        return Opened(predictor, asking(predictor, self.top, self.score))


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """The image in a row of a batch, as a `Source`.

    Attributes:
        value: the encoded image, its path or address, its pixels, or a dict of `bytes` and `path`.
        where: what messages call it.
        folder: that relative paths begin at.
    """

    value: Any
    where: str
    folder: Path = Path()

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.where

    @property
    def suffix(self) -> str:
        """Extension of the path, where it is one."""
        return PurePosixPath(self.value).suffix if isinstance(self.value, str) else ""

    def read_bytes(self) -> bytes:
        """The encoded image.

        Raises:
            DataError: there is none in the row.
        """
        match self.value:
            case bytes() | bytearray() | memoryview():
                return bytes(self.value)
            case {"bytes": bytes(data)}:
                return data
            case str(path) | {"path": str(path)} if path:
                return self._remote(path) if is_remote(path) else (self.folder / path).read_bytes()
            case Path() as path:
                return (self.folder / path).read_bytes()
            case _:
                raise DataError(f"{self.where}: no image in this row.")

    def _remote(self, address: str) -> bytes:
        try:
            return read_remote(address)
        except MissingExtraError:
            raise
        except MisuseError as error:  # of one row among many
            raise DataError(f"{self.where}: cannot be read: {error}") from error

    def __str__(self) -> str:
        return self.where


class Opened:
    """An opened model that threads may share: images are decoded side by side, the network runs for one of them.

    Not all runtimes' sessions may run twice at once.
    """

    def __init__(self, predictor: Predictor, ask: Ask) -> None:
        self.predictor, self.ask, self.lock = predictor, ask, Lock()

    @property
    def task(self) -> Task:
        """What the model finds."""
        return self.predictor.task

    def predict(self, cells: Sequence[Cell]) -> list[Prediction]:
        """What the model says of each image; one that cannot be read has its error."""
        found: list[Prediction] = []
        for part, images, errors in batches(cells, self._load, batch_of(self.task)):
            readable = [Path(cell.where) for cell in part if cell not in errors]
            with self.lock:
                told = iter(self.ask(readable, images) if images else [])
            found += [
                unreadable(Path(cell.where), errors[cell], self.task) if cell in errors else next(told)
                for cell in part
            ]  # fmt: skip
        return found

    def _load(self, cell: Cell) -> Seen:
        contract = self.predictor.preprocessing
        if not isinstance(cell.value, np.ndarray):
            return load_seen(cell, contract, task=self.task)
        expected = (cell.value.ndim, cell.value.dtype, cell.value.shape[-1:]) == (3, np.uint8, (contract.channels,))
        if not expected or not cell.value.size:
            raise DataError(
                f"{cell.where}: pixels are {cell.value.dtype} {cell.value.shape}; expected uint8 "
                f"(height, width, {contract.channels})."
            )
        return seen(cell.value, contract)


class _Models:
    """Models that this process has opened, by the function that asked and the state of its file."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.kept: dict[BatchFunction, tuple[str, Opened]] = {}

    def get(self, function: BatchFunction) -> Opened:
        stamp = file_stamp(Path(function.model))
        with self.lock:
            before = self.kept.get(function)
            if before is None or before[0] != stamp:
                self.kept[function] = before = stamp, function.open()
            return before[1]


_MODELS = _Models()


def added_columns(found: Sequence[Prediction], task: Task) -> dict[str, list[Any]]:
    """The columns of some predictions, one value a row, in the order of `arrow_schema`."""
    size: list[Any] = [None if each.size is None else list(each.size) for each in found]
    likely: dict[str, list[Any]] = {"label": [each.label for each in found], "score": [each.score for each in found]}
    error: dict[str, list[Any]] = {"error": [None if each.error is None else utf8(each.error) for each in found]}
    match task:
        case "classify" | "multi-label":
            top = [[{"label": label, "score": score} for label, score in each.top] for each in found]
            return likely | {"top": top} | error
        case "detect":
            boxes: list[Any] = [[_detection(one) for one in each.detections or ()] for each in found]
            return likely | {"size": size, "detections": boxes} | error
        case "segment":
            regions: list[Any] = [[asdict(one) for one in each.regions or ()] for each in found]
            return {"size": size, "regions": regions} | error


def _detection(one: Detection) -> dict[str, Any]:
    return asdict(one) | {"box": list(one.box)}


def arrow_schema(task: Task) -> Any:
    """Arrow's types of the added columns, so that batches without a result have the same as others."""
    import pyarrow as pa

    text, real, whole = pa.string(), pa.float64(), pa.int64()
    likely = [("label", text), ("score", real)]
    match task:
        case "classify" | "multi-label":
            return pa.schema([*likely, ("top", pa.list_(pa.struct(likely))), ("error", text)])
        case "detect":
            one = pa.struct([("label", text), ("number", whole), ("score", real), ("box", pa.list_(real))])
            return pa.schema([*likely, ("size", pa.list_(whole)), ("detections", pa.list_(one)), ("error", text)])
        case "segment":
            one = pa.struct(
                [("label", text), ("number", whole), ("pixels", whole), ("part", real), ("counts", text)]
            )  # fmt: skip
            return pa.schema([("size", pa.list_(whole)), ("regions", pa.list_(one)), ("error", text)])


def _image_column(names: Sequence[str], chosen: str | None) -> str:
    wanted = COLUMNS if chosen is None else (chosen,)
    if (found := next((name for name in wanted if name in names), None)) is None:
        raise MisuseError(
            f"no column of images: the batch has {', '.join(map(str, names)) or 'no columns'}; expected "
            f"{' or '.join(wanted)}. `column` names another."
        )
    return found


def _where(value: Any, row: int) -> str:
    path = value.get("path") if isinstance(value, dict) else value
    return str(path) if isinstance(path, str | Path) and str(path) else f"row {row}"


# pandas and pyarrow are not imported for these: whoever has such a batch has loaded its library
def _is(batch: object, library: str, *kinds: str) -> bool:
    module = sys.modules.get(library)
    return module is not None and isinstance(batch, tuple(getattr(module, kind) for kind in kinds))


def _names(batch: Any) -> list[str]:
    if _is(batch, "pandas", "DataFrame"):
        return list(batch.columns)
    if _is(batch, "pyarrow", "Table", "RecordBatch"):
        return list(batch.schema.names)
    raise MisuseError(
        f"a batch is a pandas DataFrame, an Arrow table or record batch, or a dict of columns, got a "
        f"{type(batch).__name__}."
    )


def _values(batch: Any, column: str) -> list[Any]:
    if _is(batch, "pyarrow", "Table", "RecordBatch"):
        values: list[Any] = batch.column(column).to_pylist()
        return values
    return list(batch[column])


def _added(batch: Any, columns: Mapping[str, list[Any]], task: Task) -> Any:
    if _is(batch, "pyarrow", "Table", "RecordBatch"):
        import pyarrow as pa

        for field in arrow_schema(task):
            batch = batch.append_column(field, pa.array(columns[field.name], field.type))
        return batch
    arrays = {name: _array(values, float if name == "score" else object) for name, values in columns.items()}
    if isinstance(batch, Mapping):
        return {**batch, **arrays}
    series = sys.modules["pandas"].Series
    return batch.assign(**{name: series(array, index=batch.index, dtype=array.dtype) for name, array in arrays.items()})


def _array(values: Sequence[Any], kind: type) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.empty(len(values), kind)  # of objects, so that lists stay lists
    for i, value in enumerate(values):
        array[i] = np.nan if kind is float and value is None else value
    return array


class WithBatches(Protocol[P, R_co]):
    """A function that has `batch_function` beside it, as `predict` has."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself."""
        ...

    @property
    def batch_function(self) -> Callable[..., BatchFunction]:
        """See `batch_function`."""
        ...


def with_batches(function: Callable[P, R_co]) -> WithBatches[P, R_co]:
    """A function with `batch_function` as an attribute: the same function, so its help and signature stay."""
    attributed: Any = function
    attributed.batch_function = batch_function
    return cast("WithBatches[P, R_co]", attributed)
