"""Models and pictures that several rooms' tests need."""

from __future__ import annotations

import copy
import csv
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from mobilenets.data.folder import Sample
from mobilenets.model import MobileNet, build, normalise
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import Network, scale
from mobilenets.table.nodes import FullyConnected
from mobilenets.table.rows import Act, Bottleneck, Conv, Linear, Pool
from mobilenets.zoo import INDEX

HEAVY = ("alexnet", "vgg16")
"""Networks whose classifier holds tens of millions of parameters and fixes the resolution."""

SIZES = {"xception": 96}
"""Small resolutions that a network still runs at; 64 for all others."""


def small(name: str, width: float = 0.35) -> Network:
    """A network of the index, narrow and at a small resolution."""
    return scale(INDEX[name], width, SIZES.get(name, 64))


def lively(model: MobileNet, seed: int = 0) -> MobileNet:
    """The model as after training: norms that are not 1 and 0, statistics that are those of its activations."""
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
                module.weight.uniform_(0.8, 1.2, generator=generator)
                module.bias.uniform_(-0.2, 0.2, generator=generator)
            elif isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                module.bias.uniform_(-0.1, 0.1, generator=generator)
            if isinstance(module, nn.Linear):  # 0.01 leaves all probabilities alike
                module.weight.normal_(0.0, module.in_features**-0.5, generator=generator)
            if type(module).__name__ == "_Scale":  # 1e-5 would hide what it scales
                module.weight.uniform_(0.2, 1.0, generator=generator)
        before = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        size, channels = model.network.resolution, model.network.in_channels
        images = torch.from_numpy(pixels(16, size, channels=channels))
        model.train()(normalise(images, model.info.preprocessing))
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
            assert norm.running_var is not None
            norm.running_var.clamp_(min=0.1)  # dead channels would blow up what differs in the last bit
        logits = model.eval()(normalise(images, model.info.preprocessing))
        classifier = model.get_submodule(model.nodes[-1].name) if isinstance(model.nodes[-1], FullyConnected) else None
        if isinstance(classifier, nn.Linear):  # else all probabilities are alike
            classifier.weight.mul_(1 / logits.std().clamp(min=0.2))
    return model.eval()


def noise(model: MobileNet, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and how far float32 is from float64 on them: what no other way to compute them can be asked to beat."""
    with torch.inference_mode():
        logits = model(images)
        exact = copy.deepcopy(model).double()(images.double())
    return logits, (logits - exact).abs().amax(1, keepdim=True)


def tiny(
    name: str = "mobilenet_v3_small", classes: tuple[str, ...] = ("cat", "dog", "owl"), size: int = 64
) -> MobileNet:
    """A small model with class names and lively statistics, always the same one."""
    torch.manual_seed(0)
    network = scale(INDEX[name], 0.35, size)
    return lively(build(network, classes, preprocessing=Preprocessing(size)))


def pixels(n: int, size: int, seed: int = 0, channels: int = 3) -> NDArray[np.uint8]:
    """Random images that differ as photos do, in colour and in large shapes; uint8 (n, size, size, channels)."""
    generator = np.random.default_rng(seed)
    images = np.empty((n, size, size, channels), np.uint8)
    for image in images:
        low, high = sorted(generator.integers(0, 256, 2))
        coarse = generator.integers(low, high + 1, (*generator.integers(2, 9, 2), channels)).astype(np.uint8)
        for c in range(channels):
            resized = Image.fromarray(coarse[..., c]).resize((size, size), Image.Resampling.BICUBIC)
            image[..., c] = np.clip(np.asarray(resized) + generator.normal(0, 12, (size, size)), 0, 255)
    return images


def picture(path: Path, seed: int = 0) -> Path:
    """A smooth random picture in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((120, 100), Image.Resampling.BICUBIC).save(path)
    return path


def imagenet_sample(shared: Path, folder: Path) -> list[Sample]:
    """500 ImageNet photos with their class numbers, unpacked into a folder."""
    tar = shared / "data" / "imagenet_sample_500.tar"
    if not tar.is_file():
        pytest.skip(f"{tar} is not there")
    with tarfile.open(tar) as archive:
        archive.extractall(folder, filter="data")
    root = folder / "imagenet_sample_500"
    with (root / "labels.csv").open(encoding="utf-8", newline="") as file:
        return [Sample(root / row["filename"], int(row["class_index"])) for row in csv.DictReader(file)]


TOY = Network(
    "toy",
    paper="none",
    resolution=32,
    rows=(
        Conv(3, 8, Act.HSWISH, 2),
        Bottleneck(3, 16, 8, True, Act.RELU, 2),
        Bottleneck(3, 24, 8, False, Act.RELU6, 1),
        Bottleneck(5, 24, 16, True, Act.HSWISH, 2),
        Conv(1, 32, Act.HSWISH, 1),
        Pool(),
        Linear(3),
    ),
)
"""A network of a few rows that has what MobileNetV3 has: converters take seconds, not minutes."""


def stripes(n: int, seed: int = 0, size: int = 32) -> tuple[NDArray[np.uint8], list[int]]:
    """Noisy images of three classes (lying, standing and slanting stripes), and which class each is."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = [i % 3 for i in range(n)]
    images = np.empty((n, size, size, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        angle = (0.0, np.pi / 2, np.pi / 4)[label] + generator.normal(0, 0.06)
        wave = np.sin((x * np.sin(angle) + y * np.cos(angle)) * generator.uniform(0.7, 1.1) + generator.uniform(0, 6))
        colour = generator.uniform(40, 100, 3)
        noise = generator.normal(0, 10, (size, size, 3))
        image[:] = np.clip(128 + wave[..., None] * colour + noise, 0, 255).astype(np.uint8)
    return images, labels


def trained(network: Network = TOY, classes: tuple[str, ...] = ("lying", "standing", "slanting")) -> MobileNet:
    """A small model that has learned its three classes, so that rounding does not change what it says; about 2 s."""
    torch.manual_seed(0)
    model = build(network, classes, preprocessing=Preprocessing(network.resolution, crop=0.875))
    images, labels = stripes(240, seed=1, size=network.resolution)
    batch, truth = normalise(torch.from_numpy(images), model.info.preprocessing), torch.tensor(labels)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    model.train()
    for step in range(60):
        part = torch.arange(step * 48, step * 48 + 48) % len(batch)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch[part]), truth[part]).backward()
        optimizer.step()
    return model.eval()
