"""MobileNetV3: found by hardware-aware search, tuned by NetAdapt; hard swish, squeeze-and-excite (arXiv 1905.02244)."""

from __future__ import annotations

from dataclasses import replace

from mobilenets.table.rows import Act, Bottleneck, Conv, Linear, Network, Pool
from mobilenets.table.transforms import minimalistic

RE, HS = Act.RELU, Act.HSWISH
SE, __ = True, False

LARGE = Network(
    "mobilenet_v3_large",
    paper="arXiv:1905.02244, Table 1",
    head="full when narrow",
    expansion_head=True,
    errata="Table 3 prints 219 M mult-adds, Table 9 217 M: the architecture has 216.6 M.",
    rows=(
        # k  exp  out  SE  NL  s
        Conv(3, 16, HS, 2),
        Bottleneck(3, 16, 16, __, RE, 1),
        Bottleneck(3, 64, 24, __, RE, 2),
        Bottleneck(3, 72, 24, __, RE, 1),
        Bottleneck(5, 72, 40, SE, RE, 2),
        Bottleneck(5, 120, 40, SE, RE, 1),
        Bottleneck(5, 120, 40, SE, RE, 1),
        Bottleneck(3, 240, 80, __, HS, 2),
        Bottleneck(3, 200, 80, __, HS, 1),
        Bottleneck(3, 184, 80, __, HS, 1),
        Bottleneck(3, 184, 80, __, HS, 1),
        Bottleneck(3, 480, 112, SE, HS, 1),
        Bottleneck(3, 672, 112, SE, HS, 1),
        Bottleneck(5, 672, 160, SE, HS, 2),
        Bottleneck(5, 960, 160, SE, HS, 1),
        Bottleneck(5, 960, 160, SE, HS, 1),
        Conv(1, 960, HS, 1),
        Pool(),
        Conv(1, 1280, HS, 1, norm=False),
        Linear(1000),
    ),
)

SMALL = Network(
    "mobilenet_v3_small",
    paper="arXiv:1905.02244, Table 2",
    head="full when narrow",
    expansion_head=True,
    errata=(
        "Table 2 ticks SE on the 1x1x576 convolution: no implementation has one there, and the printed 2.5 M "
        "parameters hold without it (2,542,856). A middle version of the text prints 1280 for the last convolution: "
        "1024 is built."
    ),
    rows=(
        # k  exp  out  SE  NL  s
        Conv(3, 16, HS, 2),
        Bottleneck(3, 16, 16, SE, RE, 2),
        Bottleneck(3, 72, 24, __, RE, 2),
        Bottleneck(3, 88, 24, __, RE, 1),
        Bottleneck(5, 96, 40, SE, HS, 2),
        Bottleneck(5, 240, 40, SE, HS, 1),
        Bottleneck(5, 240, 40, SE, HS, 1),
        Bottleneck(5, 120, 48, SE, HS, 1),
        Bottleneck(5, 144, 48, SE, HS, 1),
        Bottleneck(5, 288, 96, SE, HS, 2),
        Bottleneck(5, 576, 96, SE, HS, 1),
        Bottleneck(5, 576, 96, SE, HS, 1),
        Conv(1, 576, HS, 1),
        Pool(),
        Conv(1, 1024, HS, 1, norm=False),
        Linear(1000),
    ),
)

_MINIMALISTIC_PAPER = "TF-slim mobilenet_v3.py, minimalistic (no SE, ReLU, 3x3)"
LARGE_MINIMALISTIC = replace(minimalistic(LARGE), paper=_MINIMALISTIC_PAPER, errata="")
SMALL_MINIMALISTIC = replace(
    minimalistic(SMALL),
    paper=_MINIMALISTIC_PAPER,
    errata="TF-slim's table prints 65 M macs, which belong to an older last convolution: the released code has 52.3 M.",
)
