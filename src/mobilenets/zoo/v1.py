"""MobileNetV1: depthwise separable convolutions (arXiv 1704.04861)."""

from __future__ import annotations

from dataclasses import replace

from mobilenets.table.rows import Act, Conv, DepthwiseSeparable, Linear, Network, Pool, Row

R6 = Act.RELU6

V1 = Network(
    "mobilenet_v1",
    paper="arXiv:1704.04861, Table 1",
    divisor=1,
    errata=(
        "Table 1 prints stride 2 for the last depthwise convolution, whose input and output are both 7x7: stride 1 is "
        "built (568,740,352 macs). Table 2 prints 1.19 % of the mult-adds for the 3x3 convolution: it is 1.91 %. "
        "The text says ReLU; the authors' code and weights use ReLU6, which is built."
    ),
    rows=(
        # k  out  NL  s
        Conv(3, 32, R6, 2),
        DepthwiseSeparable(3, 64, R6, 1),
        DepthwiseSeparable(3, 128, R6, 2),
        DepthwiseSeparable(3, 128, R6, 1),
        DepthwiseSeparable(3, 256, R6, 2),
        DepthwiseSeparable(3, 256, R6, 1),
        DepthwiseSeparable(3, 512, R6, 2),
        DepthwiseSeparable(3, 512, R6, 1),
        DepthwiseSeparable(3, 512, R6, 1),
        DepthwiseSeparable(3, 512, R6, 1),
        DepthwiseSeparable(3, 512, R6, 1),
        DepthwiseSeparable(3, 512, R6, 1),
        DepthwiseSeparable(3, 1024, R6, 2),
        DepthwiseSeparable(3, 1024, R6, 1),
        Pool(),
        Linear(1000),
    ),
)


def _full(row: Row) -> Row:
    if isinstance(row, DepthwiseSeparable):
        return Conv(row.kernel, row.out, row.act, row.stride)
    return row


FULL = replace(
    V1,
    name="mobilenet_v1_full",
    paper="arXiv:1704.04861, Table 4 (Conv MobileNet)",
    errata="The printed 4866 M mult-adds leave the classifier's 1.024 M out.",
    rows=tuple(_full(row) for row in V1.rows),
)
"""Every depthwise separable convolution replaced by a standard one of the same kernel, output and stride."""

SHALLOW = replace(
    V1,
    name="mobilenet_v1_shallow",
    paper="arXiv:1704.04861, Table 5 (Shallow MobileNet)",
    errata="",
    rows=V1.rows[:7] + V1.rows[12:],
)
"""Without the five 14x14x512 separable blocks."""
