"""MobileNetV2: inverted residuals and linear bottlenecks (arXiv 1801.04381)."""

from __future__ import annotations

from mobilenets.table.rows import Act, Bottleneck, Conv, Linear, Network, Pool, Row

R6 = Act.RELU6


def _stages(channels: int, *stages: tuple[int, int, int, int]) -> tuple[Row, ...]:
    """Table 2's columns t, c, n, s as rows; `channels` enter the first stage. The stride is the first repeat's."""
    rows: list[Row] = []
    for factor, out, repeats, stride in stages:
        for i in range(repeats):
            rows.append(Bottleneck(3, channels * factor, out, False, R6, stride if i == 0 else 1))
            channels = out
    return tuple(rows)


V2 = Network(
    "mobilenet_v2",
    paper="arXiv:1801.04381, Table 2",
    head="full when narrow",
    errata=(
        "The text counts 19 bottlenecks, Table 2 lists 17, which are built. Table 4 prints 6.9 M parameters for width "
        "1.4: the architecture has 6.11 M."
    ),
    rows=(
        Conv(3, 32, R6, 2),
        *_stages(
            32,
            # t  c  n  s
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ),
        Conv(1, 1280, R6),
        Pool(),
        Linear(1000),
    ),
)
