"""Files of predictions: every kind says the same, whole or not at all."""

from __future__ import annotations

import csv
import functools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from making import picture, pixels, tiny
from mobilenets import prediction
from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.exports import export
from mobilenets.model import save
from mobilenets.prediction import Prediction, predict_stream
from mobilenets.streams import from_record, predict_to, to_record

to = functools.partial(predict_to, threads=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save(tiny(), folder / "m.safetensors")
    export(folder / "m.safetensors", folder / "m.onnx", images=pixels(2, 64))
    return folder / "m.onnx"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i in range(11):
        picture(folder / f"{i:02d}.png", seed=i)
    (folder / "05.png").write_bytes(b"no picture")
    return folder


def plain(model: Path, images: Path) -> list[Prediction]:
    return prediction.predict(model, images, threads=1)


def test_csv_and_json_lines(model: Path, images: Path, tmp_path: Path) -> None:
    expected = plain(model, images)
    assert to(tmp_path / "a.csv", model, images).errors == 1
    with (tmp_path / "a.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [(r["path"], r["label"]) for r in rows] == [(str(p.path), p.label or "") for p in expected]
    assert "05.png" in rows[5]["error"]
    to(tmp_path / "a.jsonl", model, images)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(json.dumps(p.to_dict())) for p in expected]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.jsonl"], "nothing else is left"


def test_json_and_parquet(model: Path, images: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    expected = plain(model, images)
    to(tmp_path / "a.json", model, images)
    assert json.loads((tmp_path / "a.json").read_text())["predictions"] == [
        json.loads(json.dumps(p.to_dict())) for p in expected
    ]
    to(tmp_path / "a.parquet", model, images)
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [(r["path"], r["label"], r["score"], r["error"]) for r in rows] == [
        (str(p.path), p.label, p.score, p.error) for p in expected
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.parquet"]


@pytest.mark.parametrize("kind", ["detector", "segmenter"])
def test_boxes_and_masks_in_cocos_form_and_as_records(
    kind: str, request: pytest.FixtureRequest, images: Path, tmp_path: Path
) -> None:
    made: Any = request.getfixturevalue(kind)
    expected = plain(made.artifact, images)
    to(tmp_path / "a.json", made.artifact, images)
    told = json.loads((tmp_path / "a.json").read_text())
    assert {name: told[name] for name in ("images", "annotations", "categories")} == json.loads(
        json.dumps(prediction.to_coco(expected))
    )
    assert [from_record(json.loads(json.dumps(to_record(p)))) for p in expected] == expected


def test_features_are_the_nodes_values(model: Path, images: Path, tmp_path: Path) -> None:
    by_file = list(predict_stream(model, images, features="row15.conv", threads=1))
    by_checkpoint = list(
        predict_stream(model.with_suffix(".safetensors"), images, features="row15.conv.act", threads=1)
    )
    for one, other in zip(by_file, by_checkpoint, strict=True):
        assert (one.features is None) == (other.features is None) == (one.error is not None)
        if one.features is not None and other.features is not None:
            np.testing.assert_allclose(one.features, other.features, atol=1e-4)
    assert [p.label for p in by_file] == [p.label for p in plain(model, images)]
    to(tmp_path / "a.csv", model, images, features="row15.conv")
    with (tmp_path / "a.csv").open(newline="") as text:
        first = next(csv.DictReader(text))
    assert json.loads(first["features"]) == list(by_file[0].features or ())


def test_features_that_are_not_there(model: Path, images: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown node 'row99'.*mobilenets show"):
        predict_stream(model, images, features="row99")


def test_what_is_refused(model: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"\.csv, \.jsonl, \.json or \.parquet, got .*a\.txt"):
        to(tmp_path / "a.txt", model, images)
    with pytest.raises(MisuseError, match="exclude each other"):
        to(tmp_path / "a.csv", model, images, resume=True, overwrite=True)
    to(tmp_path / "a.csv", model, images)
    with pytest.raises(MisuseError, match="exists"):
        to(tmp_path / "a.csv", model, images)
    with pytest.raises(MisuseError, match="no such"):
        to(tmp_path / "b.csv", model, tmp_path / "none")
    told: list[str] = []
    to(tmp_path / "a.csv", model, images, resume=True, on_note=told.append)
    (said,) = told
    assert said.startswith(f"{tmp_path / 'a.csv'} is there and no interrupted run beside it: nothing to resume.")


def test_without_torch(model: Path, images: Path, tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; from mobilenets.streams import predict_to; "
        "predict_to(sys.argv[1], sys.argv[2], sys.argv[3], threads=1); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.csv"), str(model), str(images)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["False"]
