"""Published detectors and segmenters against what TensorFlow Lite's interpreter answers for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mobilenets.errors import CheckpointError
from mobilenets.heads import Detections, anchors, detections, iou
from mobilenets.model import arrays, load, normalise, save
from mobilenets.onnx import to_onnx
from mobilenets.table import Network, scale
from mobilenets.weights import load_anchors, load_weights
from mobilenets.zoo import INDEX, network
from mobilenets.zoo.heads import raspp, ssd

SSD, DEEPLAB = "tf_ssd_mobilenet_v1_075_300_coco", "tf_deeplabv3_mobilenet_v2_513_voc"


@pytest.fixture
def weights(shared: Path) -> Path:
    folder = shared / "weights"
    for name in (SSD, DEEPLAB):
        if not (folder / f"{name}.safetensors").is_file() or not (folder / f"golden/{name}.npz").is_file():
            pytest.skip(f"{folder} has no {name}")
    return folder


def detector(classes: int = 90) -> Network:
    """TF's: prediction layers of 1x1."""
    return replace(scale(ssd(INDEX["mobilenet_v1"], classes, kernel=1), 0.75), resolution=300)


def found(golden: dict[str, np.ndarray], ours: list[Detections], least: float) -> list[bool]:
    """For each golden detection of a score above the least, whether one of ours has its class, box and score."""
    hits = []
    for image, mine in enumerate(ours):
        for box, label, score in zip(*(golden[key][image] for key in ("boxes", "classes", "scores")), strict=True):
            if score > least:
                overlap = iou(box[None, [1, 0, 3, 2]], np.asarray(mine.boxes))[0]
                near = np.abs(np.asarray(mine.scores) - score) <= 0.1
                hits.append(bool(((overlap > 0.85) & near & (np.asarray(mine.classes) == int(label))).any()))
    return hits


def test_ssd_finds_what_tensorflow_lite_finds(weights: Path, tmp_path: Path) -> None:
    import onnxruntime

    file = weights / f"{SSD}.safetensors"
    model = load_weights(detector(), file)
    assert (model.network.classes, model.network.padding) == (90, "same")
    assert model.info.preprocessing.mean == model.info.preprocessing.std == (0.5, 0.5, 0.5)
    assert model.info.task == "detect" and model.info.recipe["fresh"] == []
    golden = dict(np.load(weights / f"golden/{SSD}.npz"))
    with torch.inference_mode():
        out = model(normalise(torch.from_numpy(golden["images"]), model.info.preprocessing))
    rounded = load_anchors(file)
    # its anchors are rounded to 255 steps of the largest side; ours are exact
    assert np.abs(rounded - anchors(model.network)).max() <= rounded.max() / 255 / 2 * 1.01
    scores = model.probabilities(out.classes)
    for boxes, likely, places in (
        (out.boxes, scores, torch.from_numpy(rounded)),
        (out.boxes.numpy(), scores.numpy(), rounded),
    ):
        ours = detections(boxes, likely, places)
        hits = found(golden, ours, 0.5)
        assert len(hits) == 35
        assert np.mean(hits) >= 0.95
    assert len(found(golden, ours, 0.499)) == 39
    assert np.mean(found(golden, ours, 0.499)) >= 0.95

    again = load(save(model, tmp_path / "ssd.safetensors"))
    proto = to_onnx(again.network, arrays(again), again.info.preprocessing)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    boxes, probabilities = session.run(["boxes", "scores"], {"image": golden["images"]})
    assert np.mean(found(golden, detections(boxes, probabilities, rounded), 0.5)) >= 0.95


def test_deeplab_masks_are_tensorflow_lites(weights: Path) -> None:
    model = load_weights(replace(raspp(INDEX["mobilenet_v2"]), resolution=513), weights / f"{DEEPLAB}.safetensors")
    assert model.network.rows[-1].align  # type: ignore[union-attr]
    golden = dict(np.load(weights / f"golden/{DEEPLAB}.npz"))
    agreement = []
    with torch.inference_mode():
        for image, mask in zip(golden["images"], golden["masks"], strict=True):
            logits = model(normalise(torch.from_numpy(image[None]), model.info.preprocessing))
            agreement.append(float((logits[0].argmax(0).numpy() == mask).mean()))
    assert np.mean(agreement) >= 0.98


def test_other_classes_start_anew_and_the_rest_stays(weights: Path) -> None:
    model = load_weights(detector(), weights / f"{SSD}.safetensors", classes=["cat", "dog"])
    last = f"row{len(model.network.rows)}"
    assert model.network.classes == 2
    assert model.info.recipe["fresh"] == [f"{last}.classes{i}.conv" for i in range(1, 7)]
    full = load_weights(detector(), weights / f"{SSD}.safetensors")
    key = f"{last}.boxes1.conv.weight"
    assert torch.equal(model.state_dict()[key], full.state_dict()[key])
    masks = load_weights(network("raspp_mobilenet_v2"), weights / f"{DEEPLAB}.safetensors", classes=5)
    assert masks.network.classes == 5 and masks.info.recipe["fresh"] == ["row20.conv.conv"]


def test_a_detector_of_another_layout_is_refused_with_both_sides(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"(?s)of ssd_mobilenet_v1 0.75 @300.*~ row19.boxes1.conv.weight"):
        load_weights(scale(ssd(INDEX["mobilenet_v1"], 90), 0.75, 300), weights / f"{SSD}.safetensors")
    tensors = load_file(weights / f"{SSD}.safetensors")
    save_file({k: v for k, v in tensors.items() if "BoxPredictor_5" not in k}, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match="- BoxPredictor_5/BoxEncodingPredictor/weights"):
        load_weights(detector(), tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match="no `anchors`"):
        load_anchors(weights / f"{DEEPLAB}.safetensors")
