"""Published weights: names of four projects, golden answers of a reference interpreter, batch norm given back."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from making import imagenet_sample, picture
from mobilenets.errors import CheckpointError, MisuseError, UnknownNameError
from mobilenets.model import normalise
from mobilenets.onnx import random_weights
from mobilenets.prediction.evaluate import evaluate_samples
from mobilenets.prediction.predictor import open_model
from mobilenets.table import lower, scale
from mobilenets.table.nodes import BatchNorm, Convolution, FullyConnected
from mobilenets.weights import ORIGINS, Conventions, convert, load_weights, restore_norm
from mobilenets.zoo import INDEX

PAIRS = [(origin, name) for origin in ORIGINS.values() for name in origin.networks]


def golden(shared: Path, name: str) -> tuple[Path, dict[str, Any]]:
    path = shared / "weights" / f"{name}.safetensors"
    answers = shared / "weights" / "golden" / f"{name}.npz"
    if not path.is_file() or not answers.is_file():
        pytest.skip(f"{path} or {answers} is not there")
    return path, dict(np.load(answers))


def probabilities(model: Any, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        batch = normalise(torch.from_numpy(images), model.info.preprocessing)
        result: np.ndarray = model(batch).softmax(1).numpy()
    return result


def test_v1_answers_as_the_interpreter(shared: Path) -> None:
    path, answers = golden(shared, "tf_mobilenet_v1_025_224_imagenet")
    model = load_weights(scale(INDEX["mobilenet_v1"], 0.25), path)
    assert (model.network.padding, model.network.bn_eps, model.network.classes) == ("same", 1e-3, 1000)
    assert model.info.preprocessing.mean == (0.5, 0.5, 0.5)
    assert model.info.recipe["origin"] == "tensorflow" and model.info.recipe["folded"]
    # the interpreter's softmax has the background too: what is left of its row is renormalised on both sides
    found = probabilities(model, answers["images"])
    expected = answers["probabilities"] / answers["probabilities"].sum(1, keepdims=True)
    assert np.abs(found - expected).max() < 1e-4


def test_v2_agrees_with_the_int8_interpreter(shared: Path) -> None:
    path, answers = golden(shared, "timm_mobilenetv2_100_224_imagenet")
    model = load_weights("mobilenet_v2", path)
    assert model.network.padding == "same", "the file's metadata says so"
    found, expected = probabilities(model, answers["images"]), answers["probabilities"]
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("name", "network", "head"), [
    ("tf_ssd_mobilenet_v1_075_300_coco", scale(INDEX["mobilenet_v1"], 0.75, 300), "row16"),
    ("tf_deeplabv3_mobilenet_v2_513_voc", scale(INDEX["mobilenet_v2"], 1.0, 513), "row19"),
])  # fmt: skip
def test_backbones_of_detectors_and_segmenters(shared: Path, name: str, network: Any, head: str) -> None:
    path, _ = golden(shared, name)
    model = load_weights(network, path)
    assert model.info.recipe["fresh"] and all(fresh >= head for fresh in model.info.recipe["fresh"])


@pytest.mark.parametrize(("origin", "name"), PAIRS, ids=[f"{o.name} {n}" for o, n in PAIRS])
def test_there_and_back_under_every_name(origin: Any, name: str) -> None:
    """Our arrays written under an origin's names and layouts come back, every one of them."""
    network = replace(scale(INDEX[name], 0.5, 64), bn_eps=origin.usual.bn_eps)
    ours = random_weights(network)
    names = origin.names(network)
    theirs: dict[str, np.ndarray] = {}
    for node in lower(network):
        if not isinstance(node, Convolution | FullyConnected | BatchNorm):
            continue
        prefix, words = names[node.name], origin.words
        if isinstance(node, BatchNorm):
            for key, word in zip(("weight", "bias", "running_mean", "running_var"), words.norm, strict=True):
                theirs[prefix + word] = ours[f"{node.name}.{key}"]
            continue
        weight = ours[f"{node.name}.weight"]
        depthwise = isinstance(node, Convolution) and node.depthwise
        if origin.name == "tensorflow":
            weight = weight[:, :, None, None] if weight.ndim == 2 else weight
            weight = weight.transpose(2, 3, 0, 1) if depthwise else weight.transpose(2, 3, 1, 0)
        theirs[prefix + (words.depthwise if depthwise else words.weight)] = weight
        if f"{node.name}.bias" in ours:
            theirs[prefix + words.bias] = ours[f"{node.name}.bias"]
    assert len(theirs) == len(ours)
    back = convert(network, theirs, where="made")
    assert back.origin.words == origin.words and not back.folded and back.classes == 1000
    assert back.arrays.keys() == ours.keys()
    assert all(np.array_equal(back.arrays[key], value) for key, value in ours.items())


def test_conventions_travel(shared: Path, tmp_path: Path) -> None:
    """What the file's metadata names, then what is asked for, then the origin's usual ones."""
    path, _ = golden(shared, "timm_mobilenetv2_100_224_imagenet")
    usual = load_weights("mobilenet_v2", path).info.preprocessing
    assert (usual.interpolation, usual.crop, usual.short_side) == ("bicubic", 0.875, 256)
    with safe_open(path, "np") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    told = {"interpolation": "bilinear", "crop": "0.9", "mean": "0.1,0.2,0.3", "std": "1,1"}
    named = save(tmp_path / "named.safetensors", arrays, told)
    asked = Conventions("same", 1e-4, (0.0,) * 3, (0.5, 0.6, 0.7), 1.0, "bicubic")
    model = load_weights("mobilenet_v2", named, conventions=asked)
    found = model.info.preprocessing
    assert (found.interpolation, found.crop, found.mean) == ("bilinear", 0.9, (0.1, 0.2, 0.3))
    assert found.std == (0.5, 0.6, 0.7), "two numbers are no three"
    assert (model.network.padding, model.network.bn_eps) == ("same", 1e-4)


def test_every_origin_has_its_conventions() -> None:
    found = {name: (o.usual.interpolation, o.usual.crop) for name, o in ORIGINS.items()}
    assert found == {
        "timm": ("bicubic", 0.875),
        "torchvision": ("bilinear", 0.875),
        "tensorflow": ("bicubic", 0.875),
        "huggingface": ("bilinear", 0.875),
    }
    torchvision = ORIGINS["torchvision"]
    assert torchvision.conventions(INDEX["mobilenet_v2"]).bn_eps == 1e-5
    assert torchvision.conventions(INDEX["mobilenet_v3_small"]).bn_eps == 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "network", "expected", "margin"), [
    ("timm_mobilenetv2_100_224_imagenet", INDEX["mobilenet_v2"], 0.848, 0.005),
    # where the crop falls between pixels moves it: 55.2 % cut exactly, 55.6 to 56.2 % cut at whole pixels
    ("tf_mobilenet_v1_025_224_imagenet", scale(INDEX["mobilenet_v1"], 0.25), 0.562, 0.0101),
])  # fmt: skip
def test_top1_on_photos(shared: Path, tmp_path: Path, name: str, network: Any, expected: float, margin: float) -> None:
    """500 photos the whole way from file to label: decoding, resizing, cropping, scaling, the network."""
    path, _ = golden(shared, name)
    predictor = open_model(load_weights(network, path))
    assert evaluate_samples(predictor, imagenet_sample(shared, tmp_path)).top1 == pytest.approx(expected, abs=margin)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "network", "expected"), [
    ("timm_mobilenetv2_100_224_imagenet", INDEX["mobilenet_v2"], 0.848),
    ("tf_mobilenet_v1_025_224_imagenet", scale(INDEX["mobilenet_v1"], 0.25), 0.562),
])  # fmt: skip
def test_top1_with_the_preprocessing_it_is_stated_for(
    shared: Path, tmp_path: Path, name: str, network: Any, expected: float
) -> None:
    """Pillow's bicubic to a short side of 256, then the centre 224 at whole pixels."""
    path, _ = golden(shared, name)
    model = load_weights(network, path)
    right = 0
    for sample in imagenet_sample(shared, tmp_path):
        image = Image.open(sample.path).convert("RGB")
        factor = 256 / min(image.size)
        image = image.resize([round(side * factor) for side in image.size], Image.Resampling.BICUBIC)
        left, top = ((side - 224) // 2 for side in image.size)
        pixels = np.array(image.crop((left, top, left + 224, top + 224)))[None]
        right += int(probabilities(model, pixels).argmax() == sample.label)
    assert right / 500 == pytest.approx(expected, abs=0.005)


def test_other_classes_begin_anew(shared: Path) -> None:
    path, _ = golden(shared, "timm_mobilenetv2_100_224_imagenet")
    model = load_weights("mobilenet_v2", path, classes=["cat", "dog"])
    assert model.info.classes == ("cat", "dog")
    assert model.info.recipe["fresh"] == ["row21.linear"]


def test_a_misfit_shows_both_sides(shared: Path, tmp_path: Path) -> None:
    path, _ = golden(shared, "timm_mobilenetv2_100_224_imagenet")
    with pytest.raises(CheckpointError, match=r"~ row01.conv.conv.weight: expected 16x3x3x3, found 32x3x3x3"):
        load_weights(scale(INDEX["mobilenet_v2"], 0.35), path)
    with pytest.raises(CheckpointError, match="no array in it has a name of mobilenet_v1"):
        load_weights("mobilenet_v1", save(tmp_path / "a.safetensors", {"nothing": np.zeros(3, np.float32)}))
    with pytest.raises(UnknownNameError, match="origin of weights"):
        load_weights("mobilenet_v2", path, origin="keras")
    with pytest.raises(CheckpointError, match="has no published alexnet"):
        load_weights("alexnet", path)


def test_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="a pickle can run code"):
        load_weights("mobilenet_v2", tmp_path / "a.pth")
    with pytest.raises(MisuseError, match="no such checkpoint"):
        load_weights("mobilenet_v2", tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"not one")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_weights("mobilenet_v2", tmp_path / "b.safetensors")


def save(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> Path:
    save_file(arrays, path, metadata)
    return path


def test_batch_norm_is_given_back(shared: Path) -> None:
    """Evaluation stays; training mode then sees what evaluation sees. Naively loaded it does not."""
    path, answers = golden(shared, "tf_mobilenet_v1_025_224_imagenet")
    naive = load_weights(scale(INDEX["mobilenet_v1"], 0.25), path)
    images = normalise(torch.from_numpy(answers["images"]), naive.info.preprocessing)
    restored = restore_norm(copy.deepcopy(naive), [images[:8], images[8:]])
    with torch.no_grad():
        before, after = naive(images), restored(images)
        assert (before - after).abs().max() < 1e-4 * before.abs().max()
        trained, wrecked = copy.deepcopy(restored).train()(images), copy.deepcopy(naive).train()(images)
    assert (trained.argmax(1) == before.argmax(1)).float().mean() > 0.9
    assert (wrecked.argmax(1) == before.argmax(1)).float().mean() < 0.5
    with pytest.raises(MisuseError, match="without images"):
        restore_norm(naive, [])


def test_a_real_photo_goes_the_origins_way(shared: Path, tmp_path: Path) -> None:
    import mobilenets as mn

    path, _ = golden(shared, "timm_mobilenetv2_100_224_imagenet")
    model = load_weights("mobilenet_v2", path)
    mn.save(model, tmp_path / "v2.safetensors")
    again = mn.load(tmp_path / "v2.safetensors")
    assert again.network == model.network and again.info.preprocessing == model.info.preprocessing
    proof = mn.export(again, tmp_path / "v2.onnx", images=[picture(tmp_path / "a.png")])
    assert proof.passed
