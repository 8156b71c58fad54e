"""A model as a function of batches gives what `predict` gives, in whatever form the batch has."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilenets as mn
from making import pixels
from mobilenets.data import decode
from mobilenets.errors import MisuseError
from mobilenets.prediction import Prediction, batch_function, open_model, predict
from mobilenets.prediction.batch_function import BatchFunction, added_columns

arrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")


def files_of(photos: Path) -> list[Path]:
    return decode.find_images([photos])


def assert_as_predicted(batch: dict[str, Any], found: list[Prediction], task: Any) -> None:
    """Columns (lists) hold what predictions do: the same numbers, since the batches were the same."""
    for name, values in added_columns(found, task).items():
        told = [None if isinstance(value, float) and np.isnan(value) else value for value in batch[name]]
        if name == "error":
            assert [bool(value) for value in told] == [bool(value) for value in values]
        else:
            assert told == values, name


@pytest.mark.parametrize("kind", ["detector", "segmenter"])
def test_boxes_and_masks_are_those_of_predict(kind: str, photos: Path, request: pytest.FixtureRequest) -> None:
    made: Any = request.getfixturevalue(kind)
    score = 0.1 if kind == "detector" else None
    files = files_of(photos)
    found = predict(made.artifact, files, score=score, threads=1)
    label = batch_function(made.artifact, score=score)
    task = open_model(made.artifact, threads=1).task
    frame = label(pandas.DataFrame({"path": [str(file) for file in files], "n": range(4)}, index=list("wxyz")))
    assert list(frame.index) == list("wxyz")
    assert list(frame["n"]) == [0, 1, 2, 3]
    assert_as_predicted(frame, found, task)
    table = label(arrow.table({"bytes": [file.read_bytes() for file in files]}))
    assert_as_predicted(table.to_pydict(), found, task)
    column = "detections" if kind == "detector" else "regions"
    assert any(frame[column]), "else this says nothing"
    first = next(i for i, each in enumerate(frame[column]) if each)
    assert frame[column].iloc[first] == [
        asdict(one) | ({"box": list(one.box)} if kind == "detector" else {})
        for one in getattr(found[first], column)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def classifier(artifact_of: Any) -> Path:
    file: Path = artifact_of(".onnx")
    return file


def test_classes_are_those_of_predict_in_every_kind_of_batch(classifier: Path, photos: Path) -> None:
    files = files_of(photos)
    found = predict(classifier, files, top=2, threads=1)
    label = mn.predict.batch_function(classifier, top=2)
    names = [str(file) for file in files]
    data = [file.read_bytes() for file in files]
    structs = [{"bytes": None, "path": name} if i % 2 else {"bytes": data[i]} for i, name in enumerate(names)]
    dict_ = label({"path": np.array(names), "n": np.arange(4)})
    assert isinstance(dict_["label"], np.ndarray)
    assert dict_["score"].dtype == np.float64
    batches: list[Any] = [
        dict_,
        label({"image": np.array(structs)}),
        label(pandas.DataFrame({"path": names})),
        label(pandas.DataFrame({"bytes": data, "path": "not looked at"})),
        label(arrow.table({"path": names})).to_pydict(),
        label(arrow.record_batch({"path": names})).to_pydict(),
        label(arrow.table({"image": structs})).to_pydict(),
    ]
    for batch in batches:
        assert_as_predicted(batch, found, "classify")
    assert isinstance(label(arrow.record_batch({"path": names})), arrow.RecordBatch)


def test_pixels_are_taken_as_they_are(classifier: Path, photos: Path) -> None:
    readable = [file for file in files_of(photos) if file.name != "c.jpg"]
    images = [decode.decode(file) for file in readable]
    label = batch_function(classifier, column="photo")
    found = label({"photo": np.stack(images)})
    assert_as_predicted(found, predict(classifier, readable, threads=1), "classify")
    wrong = [images[0], images[0].astype(np.float32), images[0][..., 0]]
    errors = label(pandas.DataFrame({"photo": wrong}))["error"]
    assert errors[0] is None
    assert errors[1] == "row 1: pixels are float32 (100, 120, 3); expected uint8 (height, width, 3)."
    assert "row 2: pixels are uint8 (100, 120)" in errors[2]


def test_a_broken_image_is_a_row_with_its_error(classifier: Path, photos: Path) -> None:
    label = batch_function(classifier)
    good = (photos / "a.png").read_bytes()
    found = label(arrow.table({"bytes": [good, b"", b"no image", None, good[:50], good]})).to_pylist()
    assert [row["error"] is None for row in found] == [True, False, False, False, False, True]
    assert found[3]["error"] == "row 3: no image in this row."
    assert "row 1: empty file (0 bytes)" in found[1]["error"]
    assert found[0]["label"] == found[5]["label"]
    assert [found[2][name] for name in ("label", "score", "top")] == [None, None, []]
    paths = label({"path": ["/no/such.jpg", "nowhere://bucket/a.jpg", ""]})["error"]
    assert paths[0] == "/no/such.jpg: cannot be read: No such file or directory."
    assert "nowhere://bucket/a.jpg: cannot be read: nowhere://bucket: no file system for nowhere://" in paths[1]
    assert paths[2] == "row 2: no image in this row."


def test_batches_without_rows_or_results_have_the_same_types(classifier: Path, photos: Path) -> None:
    label = batch_function(classifier)
    full = label(arrow.table({"path": [str(photos / "a.png")]}))
    empty = label(arrow.table({"path": arrow.array([], arrow.string())}))
    broken = label(arrow.table({"path": ["/no/such.jpg"]}))
    assert full.schema == empty.schema == broken.schema
    assert len(label(pandas.DataFrame({"path": []}))) == 0


def test_it_can_be_pickled_and_the_other_process_opens_the_model(classifier: Path, photos: Path) -> None:
    label = batch_function(classifier, top=1)
    batch = {"path": np.array([str(photos / "a.png")])}
    code = (
        "import pickle, sys; label, batch = pickle.load(sys.stdin.buffer); found = label(batch)\n"
        "assert 'torch' not in sys.modules; sys.stdout.buffer.write(pickle.dumps(found['label'][0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((label, batch)), capture_output=True, check=True, timeout=60
    )
    assert pickle.loads(done.stdout) == label(batch)["label"][0]
    assert pickle.loads(pickle.dumps(label)) == label


def test_threads_share_it(classifier: Path, tmp_path: Path) -> None:
    from PIL import Image

    for i, image in enumerate(pixels(24, 40)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    files = files_of(tmp_path)
    label = batch_function(classifier)
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda file: label({"path": np.array([str(file)])})["label"][0], files))
    assert rows == [each.label for each in predict(classifier, files, threads=1)]


def test_a_file_that_changed_is_opened_anew(artifact_of: Any, detector: Any, photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(artifact_of(".onnx").read_bytes())
    label = batch_function(model)
    batch = {"path": np.array([str(photos / "a.png")])}
    assert "top" in label(batch)
    model.write_bytes(detector.artifact.read_bytes())
    assert "detections" in label(batch)


def test_what_cannot_be_done_is_told(classifier: Path, detector: Any, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"opens a model's file, got a MobileNet: save it first"):
        batch_function(detector.memory)  # type: ignore[arg-type]
    for wrong in ({"top": 0}, {"score": 1.5}, {"threads": 0}):
        with pytest.raises(MisuseError, match=f"`{next(iter(wrong))}`"):
            batch_function(classifier, **wrong)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match=r"no column of images: the batch has photo, n; expected bytes or path"):
        batch_function(classifier)({"photo": np.array([]), "n": np.array([])})
    with pytest.raises(MisuseError, match=r"the batch has a column 'label' already: rename or drop it first"):
        batch_function(classifier)({"path": np.array(["a"]), "label": np.array(["cat"])})
    with pytest.raises(MisuseError, match=r"a batch is a pandas DataFrame.*got a list"):
        batch_function(classifier)([1, 2])
    with pytest.raises(MisuseError, match="no such file"):
        batch_function(tmp_path / "absent.onnx")({"path": np.array(["a"])})


def test_it_is_found_beside_predict() -> None:
    assert mn.predict.batch_function is batch_function
    assert isinstance(mn.predict.batch_function("m.onnx"), BatchFunction)
    assert "What a model says of image files" in str(mn.predict.__doc__)
