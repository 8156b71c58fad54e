"""MnasNet: found by platform-aware search, the seed of MobileNetV3's (arXiv 1807.11626; the authors' code)."""

from __future__ import annotations

from mobilenets.table.rows import Act, Bottleneck, Conv, Linear, Network, Pool, Row

RE, NO = Act.RELU, Act.NONE
SE, __ = True, False


def _stage(repeat: int, kernel: int, ratio: int, channels: int, out: int, se: bool, stride: int) -> tuple[Row, ...]:
    """MBConv blocks that repeat: only the first strides and sees the old channels."""
    first = Bottleneck(kernel, ratio * channels, out, se, RE, stride)
    return first, *(Bottleneck(kernel, ratio * out, out, se, RE),) * (repeat - 1)


A1 = Network(
    "mnasnet_a1",
    paper="arXiv:1807.11626, Figure 7(a)",
    head="full",
    gate=Act.SIGMOID,
    squeeze="input",
    rows=(
        Conv(3, 32, RE, 2),
        Bottleneck(3, 32, 16, __, RE),
        #     n  k  t  in  out  SE  s
        *_stage(2, 3, 6, 16, 24, __, 2),
        *_stage(3, 5, 3, 24, 40, SE, 2),
        *_stage(4, 3, 6, 40, 80, __, 2),
        *_stage(2, 3, 6, 80, 112, SE, 1),
        *_stage(3, 5, 6, 112, 160, SE, 2),
        *_stage(1, 3, 6, 160, 320, __, 1),
        Conv(1, 1280, RE),
        Pool(),
        Linear(1000),
    ),
)

B1 = Network(
    "mnasnet_b1",
    paper="arXiv:1807.11626, MnasNet-B1 (the authors' code)",
    head="full",
    rows=(
        Conv(3, 32, RE, 2),
        Bottleneck(3, 32, 16, __, RE),
        #     n  k  t  in  out  SE  s
        *_stage(3, 3, 3, 16, 24, __, 2),
        *_stage(3, 5, 3, 24, 40, __, 2),
        *_stage(3, 5, 6, 40, 80, __, 2),
        *_stage(2, 3, 6, 80, 96, __, 1),
        *_stage(4, 5, 6, 96, 192, __, 2),
        *_stage(1, 3, 6, 192, 320, __, 1),
        Conv(1, 1280, RE),
        Pool(),
        Linear(1000),
    ),
)

SMALL = Network(
    "mnasnet_small",
    paper="arXiv:1807.11626, MnasNet-small (the authors' code)",
    head="full",
    gate=Act.SIGMOID,
    squeeze="input",
    errata=(
        "The code names 16 input channels for the first block while the stem has 8: 8 are built, without the residual "
        "that the code's rule (16 is not 8) does not make. timm's network of this name has one there."
    ),
    rows=(
        Conv(3, 8, RE, 2),
        Bottleneck(3, 8, 8, __, RE, skip=False),
        #     n  k  t  in  out  SE  s
        *_stage(1, 3, 3, 8, 16, __, 2),
        *_stage(2, 3, 6, 16, 16, __, 2),
        *_stage(4, 5, 6, 16, 32, SE, 2),
        *_stage(3, 3, 6, 32, 32, SE, 1),
        *_stage(3, 5, 6, 32, 88, SE, 2),
        *_stage(1, 3, 6, 88, 144, __, 1),
        Conv(1, 1280, RE),
        Pool(),
        Linear(1000),
    ),
)
