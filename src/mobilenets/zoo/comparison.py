"""The networks that the MobileNet papers compare with: AlexNet, VGG16, GoogLeNet, SqueezeNet, Xception."""

from __future__ import annotations

from mobilenets.table.rows import (
    Act,
    AdaptivePool,
    Conv,
    Fire,
    Inception,
    Linear,
    MaxPool,
    Network,
    PlainConv,
    Pool,
    SeparableConv,
    XceptionBlock,
)

RE = Act.RELU

ALEXNET = Network(
    "alexnet",
    paper="arXiv:1404.5997, section 2 (one column; arXiv:1704.04861, Table 9)",
    errata="MobileNetV1's Table 9 prints 720 M mult-adds and 60 M parameters: 714.2 M and 61.1 M are counted.",
    rows=(
        # k  out  s  pad
        PlainConv(11, 64, 4, 2),
        MaxPool(3, 2),
        PlainConv(5, 192, 1, 2),
        MaxPool(3, 2),
        PlainConv(3, 384, 1, 1),
        PlainConv(3, 256, 1, 1),
        PlainConv(3, 256, 1, 1),
        MaxPool(3, 2),
        AdaptivePool(6),
        Linear(4096, RE),
        Linear(4096, RE),
        Linear(1000),
    ),
)


def _vgg(*stages: tuple[int, int]) -> tuple[PlainConv | MaxPool, ...]:
    """Stages of (repeats, channels), each closed by a 2x2 max pooling."""
    rows: list[PlainConv | MaxPool] = []
    for repeats, out in stages:
        rows += [PlainConv(3, out, 1, 1)] * repeats
        rows.append(MaxPool(2, 2))
    return tuple(rows)


VGG16 = Network(
    "vgg16",
    paper="arXiv:1409.1556, Table 1, column D",
    errata="MobileNetV1's Table 8 prints 15300 M mult-adds: 15,470 M are counted.",
    rows=(
        *_vgg((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)),
        AdaptivePool(7),
        Linear(4096, RE),
        Linear(4096, RE),
        Linear(1000),
    ),
)

GOOGLENET = Network(
    "googlenet",
    paper="arXiv:1409.4842, Table 1",
    errata=(
        "With batch norm and 3x3 in place of 5x5 convolutions, as the published weights have it (6,624,904 params); "
        "the auxiliary classifiers are left out. MobileNetV1's Table 8 prints 1550 M mult-adds and 6.8 M parameters."
    ),
    rows=(
        Conv(7, 64, RE, 2),
        MaxPool(3, 2, ceil=True),
        Conv(1, 64, RE),
        Conv(3, 192, RE),
        MaxPool(3, 2, ceil=True),
        # 1x1  3x3r  3x3  5x5r  5x5  proj
        Inception(64, 96, 128, 16, 32, 32),
        Inception(128, 128, 192, 32, 96, 64),
        MaxPool(3, 2, ceil=True),
        Inception(192, 96, 208, 16, 48, 64),
        Inception(160, 112, 224, 24, 64, 64),
        Inception(128, 128, 256, 24, 64, 64),
        Inception(112, 144, 288, 32, 64, 64),
        Inception(256, 160, 320, 32, 128, 128),
        MaxPool(2, 2, ceil=True),
        Inception(256, 160, 320, 32, 128, 128),
        Inception(384, 192, 384, 48, 128, 128),
        Pool(),
        Linear(1000),
    ),
)

SQUEEZENET = Network(
    "squeezenet",
    paper="arXiv:1602.07360, Table 1",
    errata="MobileNetV1's Table 9 prints 1700 M mult-adds, about twice the 819 M macs that are counted.",
    rows=(
        PlainConv(7, 96, 2, 0),
        MaxPool(3, 2, ceil=True),
        # s1x1  e1x1  e3x3
        Fire(16, 64, 64),
        Fire(16, 64, 64),
        Fire(32, 128, 128),
        MaxPool(3, 2, ceil=True),
        Fire(32, 128, 128),
        Fire(48, 192, 192),
        Fire(48, 192, 192),
        Fire(64, 256, 256),
        MaxPool(3, 2, ceil=True),
        Fire(64, 256, 256),
        PlainConv(1, 1000, 1, 0),
        Pool(),
    ),
)

XCEPTION = Network(
    "xception",
    paper="arXiv:1610.02357, Figure 5",
    resolution=299,
    padding="valid",
    rows=(
        Conv(3, 32, RE, 2),
        Conv(3, 64, RE),
        XceptionBlock((128, 128), 2, first_act=False),
        XceptionBlock((256, 256), 2),
        XceptionBlock((728, 728), 2),
        *(XceptionBlock((728, 728, 728), 1),) * 8,
        XceptionBlock((728, 1024), 2),
        SeparableConv(3, 1536),
        SeparableConv(3, 2048),
        Pool(),
        Linear(1000),
    ),
)
