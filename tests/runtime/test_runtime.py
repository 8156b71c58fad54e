"""Opening exported files: the right runtime, and one clear line where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnx
from making import pixels, small
from mobilenets.errors import CheckpointError, MisuseError, MobileNetsError, UnknownNameError
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime import SUFFIXES, describe, open_artifact
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession
from mobilenets.table import with_classes
from onnx import TensorProto, helper


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = with_classes(small("mobilenet_v3_small", 0.25), 3)
    path = tmp_path_factory.mktemp("runtime") / "model.onnx"
    proto = to_onnx(network, random_weights(network), Preprocessing(64, crop=0.9), ("a", "b", "c"))
    path.write_bytes(proto.SerializeToString())
    return path


def foreign(path: Path, kind: int, metadata: dict[str, str] | None = None) -> Path:
    """An ONNX file of another program: one Identity, or a Cast from `kind`."""
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    x = helper.make_tensor_value_info("x", kind, ["n", 3, 224, 224])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 224, 224])
    model = helper.make_model(
        helper.make_graph([node], "other", [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


def refused(path: Path, kind: type[MobileNetsError]) -> str:
    with pytest.raises(kind) as caught:
        open_artifact(path)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_opened_it_knows_what_it_is(artifact: Path) -> None:
    session = open_artifact(artifact, threads=1)
    assert session.classes == ("a", "b", "c")
    assert session.preprocessing == Preprocessing(64, crop=0.9)
    assert describe(session) == {"runtime": f"onnxruntime {session.version}", "threads": 1, "precision": "fp32"}
    result = session.run(pixels(2, 64))
    assert result.shape == (2, 3)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.sum(1), 1, atol=1e-5)


def test_bytes_and_files_are_the_same(artifact: Path) -> None:
    images = pixels(2, 64)
    from_bytes = OnnxRuntimeSession.open(artifact.read_bytes()).run(images)
    np.testing.assert_array_equal(from_bytes, open_artifact(artifact).run(images))


def test_suffixes_in_capitals_are_known(artifact: Path, tmp_path: Path) -> None:
    path = tmp_path / "MODEL.ONNX"
    path.write_bytes(artifact.read_bytes())
    assert open_artifact(path).classes == ("a", "b", "c")


@pytest.mark.parametrize("name", ["model.h5", "model", "model.onnx.zip"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    message = refused(tmp_path / name, UnknownNameError)
    assert all(suffix in message for suffix in SUFFIXES)


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.onnx", MisuseError)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x09" * 500, b"PK\x03\x04"])
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    refused(path, CheckpointError)


def test_a_truncated_artifact(artifact: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(artifact.read_bytes()[:-5000])
    refused(path, CheckpointError)


def test_a_foreign_file_with_float_input(tmp_path: Path) -> None:
    message = refused(foreign(tmp_path / "other.onnx", TensorProto.FLOAT), CheckpointError)
    assert "uint8" in message
    assert "tensor(float)" in message
    assert "mobilenets export" in message


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"classes": "[]"},
        {"classes": "[", "preprocessing": "{}"},
        {"classes": "[]", "preprocessing": '{"size": 3}'},
        {"classes": "[]", "preprocessing": "3"},
    ],
)
def test_a_foreign_file_with_byte_input(tmp_path: Path, metadata: dict[str, str]) -> None:
    message = refused(foreign(tmp_path / "other.onnx", TensorProto.UINT8, metadata), CheckpointError)
    assert "metadata" in message
