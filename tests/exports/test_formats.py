"""Every format: what it holds, that it is proven in its own runtime, and that the proof can fail."""

from __future__ import annotations

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from making import stripes, tiny
from mobilenets.errors import CheckpointError, MissingExtraError, MisuseError, UnknownNameError, VerificationError
from mobilenets.exports import export, size_bytes, verify, write
from mobilenets.exports.c_ import symmetric
from mobilenets.exports.fresh import compiler
from mobilenets.model import MobileNet, arrays, build, with_info
from mobilenets.onnx.weights import chains_of, deployed_weight
from mobilenets.precision import Scheme
from mobilenets.runtime import litert, open_artifact
from mobilenets.table import json as table_json
from mobilenets.table import scale, with_classes
from mobilenets.table.nodes import Convolution
from mobilenets.zoo import INDEX

Made = Callable[..., Path]

FAST = [
    (".onnx", "fp32"),
    (".onnx", "fp16"),
    (".onnx", "int8"),
    (".xml", "fp32"),
    (".xml", "fp16"),
    (".xml", "int8"),
    (".c", "fp32"),
    (".c", "int8"),
    (".pt2", "fp32"),
    (".tflite", "fp32"),
    (".pte", "fp32"),
    (".mlpackage", "fp16"),
]
SLOW = [
    (".tflite", "fp16"),
    (".tflite", "int8"),
    (".pte", "int8"),
    (".mlpackage", "fp32"),
    (".mlpackage", "int8"),
]
MATRIX = [*FAST, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW)]
FIXED = {".tflite", ".pte", ".c", ".mlpackage"}
"""Formats that take one image at once."""


@pytest.mark.parametrize(("suffix", "precision"), MATRIX)
def test_every_format_is_proven(suffix: str, precision: str, artifact_of: Made, toy: MobileNet) -> None:
    images, labels = stripes(30, seed=9)
    path = artifact_of(suffix, precision)
    result = verify(toy, path, images, labels=labels if precision == "int8" else None)
    assert result.passed, str(result)
    assert result.precision == precision
    assert result.problems == ()
    assert result.batch == (1 if suffix in FIXED or (suffix, precision) == (".xml", "int8") else None)
    if result.rule == "specification":
        assert "not run here" in str(result)
        return
    assert result.images == 30
    assert result.top1_agreement > 0.9
    assert result.rule == ("metric" if precision == "int8" else "probabilities")
    assert result.max_difference < {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.3}[precision]
    assert (result.max_difference > 1e-6) == (precision != "fp32"), "fewer bits must show"


@pytest.mark.parametrize(("suffix", "precision"), MATRIX)
def test_converters_are_silent(suffix: str, precision: str, artifact_of: Made) -> None:
    path = artifact_of(suffix, precision)
    assert path.with_name(f"{path.name}.noise").read_text() == ""


@pytest.mark.parametrize(("suffix", "precision"), [pair for pair in FAST if pair[1] != "fp32"])
def test_fewer_bits_are_fewer_bytes(suffix: str, precision: str, toy: MobileNet, artifact_of: Made) -> None:
    """Of weights: a toy's other bytes would hide it, so a larger network is written."""
    if suffix == ".mlpackage":
        pytest.skip("a toy's package is all else than weights; the benchmark shows sizes of real networks")
    path = artifact_of(suffix, precision)
    folder = path.parent / "larger"
    model = build(with_classes(scale(INDEX["mobilenet_v1"], 0.5, 32), 10))
    images = stripes(4)[0]
    large, small = folder / f"large{suffix}", folder / f"small{suffix}"
    write(model, large)
    write(model, small, precision=precision, calibration=images)  # type: ignore[arg-type]
    ratio = size_bytes(small) / size_bytes(large)
    assert ratio < {"fp16": 0.55, "int8": 0.4}[precision]


def test_tflite_metadata_is_a_plain_zip(artifact_of: Made, toy: MobileNet) -> None:
    with zipfile.ZipFile(artifact_of(".tflite")) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(toy.info.classes)
        metadata = json.loads(archive.read("mobilenets.json"))
    assert table_json.from_dict(json.loads(metadata["table"])) == toy.network
    assert json.loads(metadata["preprocessing"]) == json.loads(json.dumps(toy.info.preprocessing.to_dict()))


def test_c_arrays_are_the_weights(artifact_of: Made, toy: MobileNet) -> None:
    """Read back from the text, not through the program that is compiled from it."""
    weights, after = arrays(toy), chains_of(toy.nodes)
    node = next(n for n in toy.nodes if isinstance(n, Convolution))
    expected, bias, _ = deployed_weight(node, after[node.name], weights)
    floats = artifact_of(".c").read_text()
    np.testing.assert_array_equal(array(floats, "weight_0").astype(np.float32), expected.ravel())
    np.testing.assert_array_equal(array(floats, "bias_0").astype(np.float32), bias)
    quantized = artifact_of(".c", "int8").read_text()
    values, steps = array(quantized, "weight_0"), array(quantized, "scale_0")
    assert np.abs(values).max() == 127
    back = values.reshape(expected.shape) * steps.reshape(-1, 1, 1, 1)
    assert np.abs(back - expected).max() <= steps.max() / 2 * 1.001
    np.testing.assert_array_equal(symmetric(expected)[0].ravel(), values)


def array(source: str, name: str) -> np.ndarray:
    found = re.search(rf"\b\w+_{name}\[\d+\] = \{{([^}}]*)\}}", source)
    assert found is not None
    return np.array([float(text.removesuffix("f")) for text in found[1].split(",")])


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("name", ["googlenet", "dense_mobilenet_32", "mobile_one_s0", "mobilenet_v4_conv_small"])
def test_c_walks_other_networks(name: str, tmp_path: Path) -> None:
    """Windowed pooling, concatenation, folded branches, a table's other activations."""
    model = tiny(name, ('"', "a\\b", "né ?? */"), size=64)
    result = export(model, tmp_path / "net.c", images=stripes(3, size=64)[0])
    assert result.max_difference < 1e-4
    assert result.batch == 1


def test_c_refuses_attention(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"row\d+\..*: C files have no .*another format"):
        write(build(scale(INDEX["mobilenet_v4_hybrid_medium"], 1.0, 64)), tmp_path / "net.c")
    assert not list(tmp_path.iterdir())


# The proof can fail: a file that was changed after writing does not pass, and says where.


def copied(path: Path, folder: Path) -> Path:
    """An artifact with all that belongs to it, to be damaged."""
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target)
        return target
    for suffix in (path.suffix, ".bin", ".h"):
        if (part := path.with_suffix(suffix)).exists():
            shutil.copy(part, target.with_suffix(suffix))
    return target


def strike(path: Path, kind: str = "<f4", count: int = 40) -> None:
    """Overwrite some weights in place: the first of the longest run of numbers that look like weights."""
    data, width = path.read_bytes(), np.dtype(kind).itemsize
    values = np.frombuffer(data[: len(data) // width * width], kind).copy()
    likely = np.isfinite(values) & (np.abs(values) > 1e-4) & (np.abs(values) < 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], likely.view(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    at = int(starts[(ends - starts).argmax()])
    values[at : at + count] = 3.0
    path.write_bytes(values.tobytes() + data[values.nbytes :])


def test_wrong_weights_in_openvino(artifact_of: Made, toy: MobileNet, tmp_path: Path) -> None:
    path = copied(artifact_of(".xml"), tmp_path)
    strike(path.with_suffix(".bin"))
    result = verify(toy, path, stripes(6)[0])
    assert not result.passed
    assert result.first_departure in {node.name for node in toy.nodes}
    assert f"the first node to depart is {result.first_departure}" in str(result)


def test_wrong_weights_in_litert(artifact_of: Made, toy: MobileNet, tmp_path: Path) -> None:
    path = copied(artifact_of(".tflite"), tmp_path)
    strike(path)
    result = verify(toy, path, stripes(6)[0])
    assert not result.passed
    assert result.first_departure in {node.name for node in toy.nodes}


def test_wrong_weights_in_executorch(artifact_of: Made, toy: MobileNet, tmp_path: Path) -> None:
    path = copied(artifact_of(".pte"), tmp_path)
    strike(path)
    result = verify(toy, path, stripes(6)[0])
    assert not result.passed
    assert ".pte files do not tell which node departs first; the same network written as ONNX agrees" in str(result)


def test_wrong_weights_in_an_archive(artifact_of: Made, toy: MobileNet, tmp_path: Path) -> None:
    good, path = artifact_of(".pt2"), tmp_path / "m.pt2"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("/weight_0"):
                data = np.full(len(data) // 4, 0.5, "<f4").tobytes()
            new.writestr(entry, data)
    result = verify(toy, path, stripes(6)[0])
    assert not result.passed
    assert result.first_departure == "row01.conv.conv"


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
def test_wrong_weights_in_c(artifact_of: Made, toy: MobileNet, tmp_path: Path) -> None:
    path = copied(artifact_of(".c"), tmp_path)
    path.write_text(re.sub(r"(_weight_0\[\d+\] = \{)[^,]*", r"\g<1>9.5f", path.read_text()))
    result = verify(toy, path, stripes(6)[0])
    assert not result.passed
    assert ".c files do not tell" in str(result)
    path.write_text(path.read_text().replace("static float activated", "static flaot activated"))
    with pytest.raises(CheckpointError, match=r"cannot compile it: .*flaot"):
        verify(toy, path, stripes(6)[0])


def test_wrong_weights_in_core_ml(artifact_of: Made, toy: MobileNet, tmp_path: Path) -> None:
    path = copied(artifact_of(".mlpackage", "fp16"), tmp_path)
    weights = next(path.rglob("weight.bin"))
    strike(weights, "<f2")
    result = verify(toy, path, stripes(6)[0])
    assert not result.passed
    assert re.search(r"its specification is wrong; the weights of row\d+\.[\w.]+ are not the model's", str(result))
    weights.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="coremltools cannot read it"):
        verify(toy, path, stripes(6)[0])


def test_wrong_metadata_fail(artifact_of: Made, toy: MobileNet, tmp_path: Path) -> None:
    path = copied(artifact_of(".tflite"), tmp_path)
    litert_metadata = litert.metadata_of(path) | {"classes": '["lying", "slanting", "standing"]'}
    from mobilenets.exports.litert_ import append_metadata

    with zipfile.ZipFile(path) as archive:
        end = archive.start_dir - sum(len(archive.read(i)) + len(i.FileHeader()) for i in archive.infolist())
    path.write_bytes(path.read_bytes()[:end])
    append_metadata(path, litert_metadata)
    result = verify(toy, path, stripes(6)[0])
    assert not result.passed
    assert result.problems == ("its classes are not the model's",)
    other = with_info(build(toy.network, toy.info.classes), preprocessing=replace(toy.info.preprocessing, crop=0.5))
    other.load_state_dict(toy.state_dict())
    for suffix in (".onnx", ".xml", ".c"):
        found = verify(other, artifact_of(suffix), stripes(2)[0])
        assert not found.passed
        assert "its preprocessing are not the model's" in str(found)


def test_int8_that_lost_its_accuracy_fails(toy: MobileNet, tmp_path: Path) -> None:
    """Ranges from one grey image are no ranges."""
    images, labels = stripes(30, seed=9)
    grey = np.full((1, 32, 32, 3), 128, np.uint8)
    with pytest.raises(
        VerificationError, match=r"top-1 .*% of the model's .*1\.0% less allowed; the first node"
    ) as caught:
        export(toy, tmp_path / "m.onnx", images=images, labels=labels, precision="int8", calibration=grey)
    assert caught.value.exit_code == 1
    with pytest.raises(VerificationError, match=r"names the model's class on .*at least 90% wanted"):
        export(toy, tmp_path / "m.onnx", images=images, precision="int8", calibration=grey)
    assert [p.name for p in tmp_path.iterdir()] == ["m.failed.onnx"]


def test_what_belongs_to_a_file_fails_with_it(toy: MobileNet, tmp_path: Path) -> None:
    images = stripes(4)[0]
    export(toy, tmp_path / "m.xml", images=images)
    good = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert sorted(good) == ["m.bin", "m.xml"]
    with pytest.raises(VerificationError):
        export(toy, tmp_path / "m.xml", images=images, precision="fp16", tolerance=1e-9)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.bin", "m.failed.bin", "m.failed.xml", "m.xml"]
    assert all((tmp_path / name).read_bytes() == data for name, data in good.items())
    assert open_artifact(tmp_path / "m.failed.xml").precision == "fp16"
    export(toy, tmp_path / "m.xml", images=images)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.bin", "m.xml"]


def test_a_file_that_does_not_load_is_kept(toy: MobileNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilenets.exports.onnx_.serialized", lambda *_: b"garbage")
    with pytest.raises(
        VerificationError, match=r"m\.onnx does not run after writing: ONNX Runtime cannot load it"
    ) as caught:
        export(toy, tmp_path / "m.onnx", images=stripes(2)[0])
    assert str(tmp_path / "m.failed.onnx") in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["m.failed.onnx"]


# Requests that cannot be fulfilled.


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".tflite", ".pte"])
def test_int8_wants_images(suffix: str, toy: MobileNet, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"int8 .* takes its ranges from images: give some hundred .*--data DATA"):
        write(toy, tmp_path / f"m{suffix}", precision="int8")
    with pytest.raises(MisuseError, match="ranges from images"):
        export(toy, tmp_path / f"m{suffix}", precision="int8", calibration=np.zeros((0, 32, 32, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_precisions_that_a_format_does_not_have(toy: MobileNet, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"C \(\.c\) has no fp16 here: fp32, int8\."):
        write(toy, tmp_path / "m.c", precision="fp16")
    with pytest.raises(UnknownNameError, match=r"unknown precision 'int4'.*fp32, fp16, int8"):
        write(toy, tmp_path / "m.onnx", precision="int4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "precision", "package", "extra"),
    [
        (".xml", "fp32", "openvino", "openvino"),
        (".tflite", "fp32", "litert_torch", "litert"),
        (".pte", "fp32", "executorch.exir", "executorch"),
        (".mlpackage", "fp32", "coremltools", "coreml"),
    ],
)
def test_a_missing_extra_answers_with_its_pip_line(
    suffix: str,
    precision: str,
    package: str,
    extra: str,
    toy: MobileNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'mobilenets\[{extra}\]'") as caught:
        write(toy, tmp_path / f"m{suffix}", precision=precision)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_writing_leaves_the_model_as_it_was(toy: MobileNet, tmp_path: Path) -> None:
    model = build(toy.network, toy.info.classes, preprocessing=toy.info.preprocessing)
    model.load_state_dict(toy.state_dict())
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for suffix in (".onnx", ".c", ".pt2"):
        write(model, tmp_path / f"m{suffix}")
    assert model.training
    assert model.get_submodule("row01.conv.bn").training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_several_labels_an_image(tmp_path: Path, toy: MobileNet) -> None:
    """Sigmoids, not a softmax, in every format."""
    model = build(toy.network, toy.info.classes, preprocessing=toy.info.preprocessing)
    model.load_state_dict(toy.state_dict())
    with_info(model, task="multi-label")
    images = stripes(6)[0]
    for suffix in (".onnx", ".xml", ".c", ".pt2"):
        assert export(model, tmp_path / f"m{suffix}", images=images).passed
    assert not np.allclose(open_artifact(tmp_path / "m.xml").run(images).sum(1), 1, atol=1e-3)


def test_grey_images(tmp_path: Path, toy: MobileNet) -> None:
    from mobilenets.preprocessing import Preprocessing

    model = build(replace(toy.network, in_channels=1), 3, preprocessing=Preprocessing.default(32, 1))
    images = stripes(4)[0][..., :1]
    for suffix in (".onnx", ".xml", ".c"):
        assert export(model, tmp_path / f"m{suffix}", images=images).passed


def test_float_islands_are_kept_where_the_scheme_says(toy: MobileNet, tmp_path: Path) -> None:
    from mobilenets.exports import census

    scheme = Scheme(keep_float=frozenset({"row04.depthwise.conv"}))
    calibration = stripes(12)[0]
    write(toy, tmp_path / "m.onnx", precision="int8", calibration=calibration, scheme=scheme)
    write(toy, tmp_path / "all.onnx", precision="int8", calibration=calibration)
    some, every = census(toy, tmp_path / "m.onnx"), census(toy, tmp_path / "all.onnx")
    assert some.quantized == every.quantized - 1
    assert any(name.startswith("row04.depthwise") for name in set(some.islands) - set(every.islands))
