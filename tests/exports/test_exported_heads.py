"""Detectors and segmenters as files: raw and with post-processing inside, proven in their own runtimes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import onnx
from making import lively, pixels
from mobilenets.data.annotations import Boxes
from mobilenets.errors import MisuseError, VerificationError
from mobilenets.exports import FORMATS, Postprocess, export, verify, write
from mobilenets.exports.fresh import compiler
from mobilenets.exports.judging import judge
from mobilenets.exports.likeness import model_outputs
from mobilenets.heads import anchors, detections_in, masks_in
from mobilenets.latency import time_session
from mobilenets.model import MobileNet, build
from mobilenets.onnx.quantized import float_ends
from mobilenets.runtime import open_artifact
from mobilenets.table import scale
from mobilenets.zoo import network

RAW = Postprocess(inside=False)
FAST = [".onnx", ".xml", ".c"]
SLOW = [".pt2", ".tflite", ".pte", ".mlpackage"]
MATRIX = [*FAST, *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in SLOW)]


@pytest.fixture(scope="module", params=["ssdlite_mobilenet_v3_small", "lraspp_mobilenet_v3_small"])
def model(request: pytest.FixtureRequest) -> MobileNet:
    return made(request.param)


def made(name: str) -> MobileNet:
    torch.manual_seed(0)
    return lively(build(scale(network(name), 0.35, 96), ["cat", "dog", "owl"]))


@pytest.fixture(scope="module")
def detector() -> MobileNet:
    return made("ssdlite_mobilenet_v3_small")


@pytest.fixture(scope="module")
def segmenter() -> MobileNet:
    return made("lraspp_mobilenet_v3_small")


def skip_without_compiler(suffix: str) -> None:
    if suffix == ".c" and compiler() is None:
        pytest.skip("no C compiler")


@pytest.mark.parametrize("suffix", MATRIX)
def test_every_format_is_proven_raw(suffix: str, model: MobileNet, tmp_path: Path) -> None:
    skip_without_compiler(suffix)
    result = export(model, tmp_path / f"m{suffix}", images=pixels(3, 96), postprocess=RAW)
    assert result.passed and result.problems == ()
    if suffix == ".mlpackage":
        return
    assert result.rule == "probabilities"
    assert result.max_difference < 1e-4 and result.code_difference < 1e-3
    assert (", of box codes" in str(result)) == (model.info.task == "detect")
    if suffix == ".c":
        return
    session = open_artifact(tmp_path / f"m{suffix}")
    assert session.task == model.info.task
    assert session.metadata["postprocess"] == "outside"
    images = pixels(3, 96)
    found, expected = session.outputs(images), model_outputs(model, images)
    assert list(found) == list(expected) == json.loads(session.metadata["outputs"])
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-3)
    assert time_session(session, runs=3, limit_s=0.1).median_ms > 0


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_boxes_are_made_inside(suffix: str, precision: str, detector: MobileNet, tmp_path: Path) -> None:
    images = pixels(3, 96)
    chosen = Postprocess(score=0.4, overlap=0.5, most=20)
    path = tmp_path / f"m{suffix}"
    result = export(detector, path, images=images, precision=precision, postprocess=chosen)  # type: ignore[arg-type]
    assert result.rule == "agreement"
    assert f"{result.top1_agreement:.1%} of the boxes are the model's, on 3 images" in str(result)
    session = open_artifact(path)
    assert session.metadata["postprocess"] == "inside"
    assert json.loads(session.metadata["suppression"]) == {"score": 0.4, "overlap": 0.5, "most": 20}
    found = session.outputs(images)
    assert {name: value.shape for name, value in found.items()} == {
        "boxes": (3, 20, 4),
        "scores": (3, 20),
        "classes": (3, 20),
        "count": (3,),
    }
    one = session.outputs(images[1:2])
    np.testing.assert_allclose(one["scores"][0], found["scores"][1], atol=1e-5)
    if precision == "fp16":
        return
    places = anchors(detector.network)
    expected = detections_in(model_outputs(detector, images), places, **chosen.thresholds())
    for ours, theirs in zip(detections_in(found, places), expected, strict=True):
        assert len(ours.scores) == len(theirs.scores) > 3
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-4)
        np.testing.assert_array_equal(ours.classes, theirs.classes)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_where_nothing_is_found_nothing_counts(suffix: str, detector: MobileNet, tmp_path: Path) -> None:
    write(detector, tmp_path / f"m{suffix}", postprocess=Postprocess(score=0.9999999))
    found = open_artifact(tmp_path / f"m{suffix}").outputs(pixels(2, 96))
    assert found["count"].tolist() == [0, 0]
    assert not found["boxes"].any() and not found["scores"].any() and not found["classes"].any()


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_masks_are_made_inside(suffix: str, segmenter: MobileNet, tmp_path: Path) -> None:
    images = pixels(3, 96)
    result = export(segmenter, tmp_path / f"m{suffix}", images=images)
    assert "of the pixels have the model's class, on 3 images" in str(result)
    found = open_artifact(tmp_path / f"m{suffix}").outputs(images)
    assert found["mask"].shape == (3, 96, 96) and found["mask"].dtype == np.uint8
    expected = model_outputs(segmenter, images)["probabilities"].argmax(1)
    assert (found["mask"] == expected).mean() > 0.999
    assert len(np.unique(expected)) > 1


@pytest.mark.parametrize("inside", [True, False])
def test_int8_keeps_the_ends_in_float(inside: bool, model: MobileNet, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    images = pixels(8, 96)
    write(model, path, precision="int8", calibration=images, postprocess=Postprocess(inside=inside))
    graph = onnx.load(path).graph
    last, behind = float_ends(model.nodes)
    by_output = {name: node for node in graph.node for name in node.output}
    assert last and behind
    for address in last:  # its weights are int8, its values are not
        conv = by_output[address]
        assert by_output[conv.input[1]].op_type == by_output[conv.input[0]].op_type == "DequantizeLinear"
        assert all(node.op_type != "QuantizeLinear" for node in graph.node if address in node.input)
    rounded = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert not rounded & (behind | last)
    assert not any(name.startswith("postprocess") for name in rounded)
    assert len(rounded) > 20
    result = verify(model, path, images, floor=0.0)
    assert result.precision == "int8" and result.rule == "agreement" and result.passed


@pytest.mark.parametrize(
    "suffix", [".xml", ".c", *(pytest.param(s, marks=pytest.mark.slow) for s in (".tflite", ".pte"))]
)
def test_int8_of_other_formats_runs(suffix: str, model: MobileNet, tmp_path: Path) -> None:
    skip_without_compiler(suffix)
    path, images = tmp_path / f"m{suffix}", pixels(6, 96)
    write(model, path, precision="int8", calibration=images)
    result = verify(model, path, images, floor=0.5)
    assert result.passed, str(result)
    assert result.precision == "int8"


def test_formats_say_whether_it_is_inside(segmenter: MobileNet, tmp_path: Path) -> None:
    assert [name for name, format in FORMATS.items() if format.inside] == [".onnx", ".xml"]
    write(segmenter, tmp_path / "m.c")
    assert '"postprocess": "outside"' in (tmp_path / "m.h").read_text(encoding="utf-8")


def test_one_wrong_weight_is_found_and_named(detector: MobileNet, tmp_path: Path) -> None:
    write(detector, tmp_path / "m.onnx")
    other = made("ssdlite_mobilenet_v3_small")
    with torch.no_grad():
        other.get_submodule("row05.project.conv").weight.add_(1.0)
    result = verify(other, tmp_path / "m.onnx", pixels(2, 96))
    assert not result.passed
    assert "at least 99% wanted; the first node to depart is row05.project." in str(result)


def test_a_wrong_box_code_fails(detector: MobileNet, tmp_path: Path) -> None:
    write(detector, tmp_path / "m.onnx", postprocess=RAW)
    other = made("ssdlite_mobilenet_v3_small")
    last = f"row{len(other.network.rows)}"
    with torch.no_grad():
        other.get_submodule(f"{last}.boxes1.conv").bias.add_(0.01)
    result = verify(other, tmp_path / "m.onnx", pixels(2, 96))
    assert not result.passed and result.max_difference < 1e-4
    assert "of box codes 1.0e-02 on 2 images, allowed 1e-04 and 1e-03" in str(result)


def test_int8_is_judged_by_ap(detector: MobileNet, tmp_path: Path) -> None:
    """Where the truth is what the float model finds, float is right and ranges from a grey image are not."""
    pytest.importorskip("faster_coco_eval")
    images = pixels(4, 96)
    found = detections_in(model_outputs(detector, images), anchors(detector.network))
    labels = [
        Boxes(tuple(map(tuple, one.boxes * 96)), tuple(int(c) for c in one.classes), (), (96, 96)) for one in found
    ]
    scored = judge(detector.network, "detect", detector.info.classes)
    scored.add(model_outputs(detector, images), labels)
    assert scored.metric() > 0.95
    grey = np.full((1, 96, 96, 3), 128, np.uint8)
    with pytest.raises(VerificationError, match=r"AP .*% of the model's .*on 4 images, 2\.0% less allowed"):
        export(detector, tmp_path / "m.onnx", images=images, labels=labels, precision="int8", calibration=grey)
    with pytest.raises(MisuseError, match="a detector is scored by boxes, got labels such as 3"):
        scored.add(model_outputs(detector, images[:1]), [3])


def test_masks_are_scored_at_their_own_size(segmenter: MobileNet) -> None:
    images = pixels(2, 96)
    outputs = model_outputs(segmenter, images)
    sizes = [(40, 60), (96, 96)]
    found = masks_in(outputs, sizes)
    assert [mask.shape[::-1] for mask in found] == sizes  # width and height, as Pillow has them
    np.testing.assert_array_equal(found[1], outputs["probabilities"][1].argmax(0))
    nearest = masks_in({"mask": outputs["probabilities"].argmax(1).astype(np.uint8)}, sizes)
    assert (nearest[0] == found[0]).mean() > 0.8
    scored = judge(segmenter.network, "segment", segmenter.info.classes)
    with pytest.raises(MisuseError, match="a segmenter is scored by masks"):
        scored.add(outputs, [0, 1])


def test_run_is_for_probabilities(detector: MobileNet, tmp_path: Path) -> None:
    write(detector, tmp_path / "m.onnx")
    with pytest.raises(MisuseError, match="gives boxes, scores, classes, count, no class probabilities"):
        open_artifact(tmp_path / "m.onnx").run(pixels(1, 96))


@pytest.mark.parametrize("wrong", [{"score": 1.5}, {"overlap": -0.1}, {"most": 0}])
def test_thresholds_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(MisuseError, match="post-processing: `"):
        Postprocess(**wrong)  # type: ignore[arg-type]


def test_more_classes_than_a_mask_holds(tmp_path: Path) -> None:
    model = build(scale(network("lraspp_mobilenet_v3_small"), 0.35, 96), 300)
    with pytest.raises(MisuseError, match="a mask holds at most 256 classes, the network has 300: export it raw"):
        write(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    write(model, tmp_path / "m.onnx", postprocess=RAW)


def test_thresholds_do_not_change_the_network(detector: MobileNet, tmp_path: Path) -> None:
    """Few boxes asked of a network with few: as many as there are pairs of anchor and class."""
    small = build(replace(detector.network, resolution=32), ["one"])
    write(small, tmp_path / "m.onnx", postprocess=Postprocess(score=0.0, most=1000))
    found = open_artifact(tmp_path / "m.onnx").outputs(pixels(1, 32))
    assert found["scores"].shape == (1, len(anchors(small.network)))
