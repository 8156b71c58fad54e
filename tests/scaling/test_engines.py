"""The documented examples for Spark and Dask run as printed, where those are installed."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilenets.prediction import batch_function, predict

pandas = pytest.importorskip("pandas", reason="pandas is not installed")
arrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "scale-out.md").read_text(encoding="utf-8")
SPARK, DASK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def names(model_file: Path, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of pictures, one of which cannot be read; `model.onnx` lies in the current folder."""
    shutil.copy(model_file, tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    return [str(file) for file in pictures[:12]]


def run(code: str, names: list[str]) -> Any:
    """What an example calls `labelled`."""
    scope: dict[str, Any] = {"names": names}
    exec(compile(code, "scale-out.md", "exec"), scope)
    return scope["labelled"]


def assert_labelled(rows: list[dict[str, Any]], names: list[str]) -> None:
    found = predict("model.onnx", names, top=3, threads=1)
    by_path = {row["path"]: row for row in rows}
    assert len(rows) == len(by_path) == len(names)
    for each in found:
        row = by_path[str(each.path)]
        assert (row["label"] or None, row["error"] or None) == (each.label, each.error)
        assert [one["label"] for one in row["top"]] == [label for label, _ in each.top]
    assert sum(bool(row["error"]) for row in rows) == 1


def test_spark(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYSPARK_DRIVER_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    builder = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = builder.getOrCreate()
    try:
        labelled = run(SPARK, names)
        assert_labelled([row.asDict(recursive=True) for row in labelled.collect()], names)
        label = batch_function("model.onnx", top=3)
        frame = spark.createDataFrame([(name,) for name in names], "path string")
        by_arrow = frame.mapInArrow(lambda batches: map(label, batches), labelled.schema)
        assert_labelled([row.asDict(recursive=True) for row in by_arrow.collect()], names)
    finally:
        spark.stop()


def test_what_spark_asks_of_a_function(names: list[str]) -> None:
    label = batch_function("model.onnx", top=3)

    def batches() -> Iterator[Any]:
        for i in range(0, 12, 5):
            yield pandas.DataFrame({"path": names[i : i + 5]})

    frames = list(map(label, batches()))
    assert_labelled([row for frame in frames for row in frame.to_dict("records")], names)
    tables = [label(arrow.RecordBatch.from_pandas(batch)) for batch in batches()]
    assert_labelled([row for table in tables for row in table.to_pylist()], names)


def test_dask(names: list[str]) -> None:
    pytest.importorskip("dask.dataframe", reason="dask is not installed")
    labelled = run(DASK, names)
    assert list(labelled.columns) == ["path", "label", "score", "top", "error"]
    assert_labelled(labelled.compute(scheduler="threads").to_dict("records"), names)
