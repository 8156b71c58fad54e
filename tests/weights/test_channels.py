"""Weights of RGB images for grey images and for more channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from making import pixels, tiny
from mobilenets.errors import MisuseError
from mobilenets.model import MobileNet, arrays, normalise, with_info
from mobilenets.onnx import random_weights
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import lower, scale
from mobilenets.table.nodes import BatchNorm, Convolution, FullyConnected
from mobilenets.weights import ORIGINS, load_weights, with_channels
from mobilenets.zoo import INDEX

HALF = Preprocessing(64, mean=(0.5,) * 3, std=(0.5,) * 3)


def stem(model: MobileNet, images: torch.Tensor) -> torch.Tensor:
    first = model.nodes[0].name
    with torch.inference_mode():
        return model.taps(normalise(images, model.info.preprocessing), [first])[first]


def test_a_grey_image_gives_what_it_gave_as_rgb() -> None:
    model = with_info(tiny(), preprocessing=HALF)
    grey = with_channels(model, 1)
    assert (grey.network.in_channels, grey.info.preprocessing.mean, grey.info.classes) == (
        1,
        (0.5,),
        model.info.classes,
    )
    images = torch.from_numpy(pixels(2, 64, channels=1))
    assert torch.allclose(stem(grey, images), stem(model, images.expand(-1, -1, -1, 3)), atol=1e-5)


def test_further_channels_begin_as_the_mean() -> None:
    model = with_info(tiny(), preprocessing=Preprocessing(64, mean=(0.2, 0.3, 0.7), std=(0.1, 0.2, 0.6)))
    five = with_channels(model, 5)
    assert five.info.preprocessing.mean == pytest.approx((0.2, 0.3, 0.7, 0.4, 0.4))
    assert five.info.preprocessing.std == pytest.approx((0.1, 0.2, 0.6, 0.3, 0.3))
    old, new = (arrays(m)[f"{m.nodes[0].name}.weight"] for m in (model, five))
    assert (new[:, :3] == old).all()
    assert new[:, 3:] == pytest.approx(old.mean(1, keepdims=True).repeat(2, 1), abs=1e-6)
    others = [key for key in model.state_dict() if not key.startswith(model.nodes[0].name)]
    assert all(torch.equal(model.state_dict()[key], five.state_dict()[key]) for key in others)


def test_weights_of_a_file_for_grey_images(tmp_path: Path) -> None:
    network = scale(INDEX["mobilenet_v2"], 0.35, 64)
    names, ours = ORIGINS["timm"].names(network), random_weights(network)
    theirs = {}
    for node in lower(network):
        if isinstance(node, Convolution | FullyConnected | BatchNorm):
            keys = [key for key in ours if key.rpartition(".")[0] == node.name]
            theirs |= {names[node.name] + "." + key.rpartition(".")[2]: torch.from_numpy(ours[key]) for key in keys}
    save_file(theirs, tmp_path / "a.safetensors")
    grey = load_weights(replace(network, in_channels=1), tmp_path / "a.safetensors")
    assert grey.network.in_channels == 1
    assert grey.info.preprocessing.mean == pytest.approx((sum((0.485, 0.456, 0.406)) / 3,))
    stem_weight = grey.state_dict()["row01.conv.conv.weight"]
    assert torch.allclose(stem_weight, theirs["conv_stem.weight"].sum(1, keepdim=True))


def test_what_cannot_be_served_is_refused() -> None:
    model = tiny()
    assert with_channels(model, 3) is model
    with pytest.raises(MisuseError, match="3 input channels cannot start a network of 2"):
        with_channels(model, 2)
    with pytest.raises(MisuseError, match="1 input channels cannot start a network of 3"):
        with_channels(with_channels(model, 1), 3)
