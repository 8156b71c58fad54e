"""MobileNetEdgeTPU: MobileNetV3's relatives for an accelerator that likes full convolutions (TensorFlow model garden).

Fused bottlenecks early, no squeeze-and-excite, no hard swish. The second version splits some fused ones into groups.
"""

from __future__ import annotations

from mobilenets.table.rows import Act, Bottleneck, Conv, FusedBottleneck, Linear, Network, Pool, Row

RE = Act.RELU
__ = False

_PAPER = "TensorFlow model garden, projects/edgetpu/vision"

V1 = Network(
    "mobilenet_edgetpu_v1",
    paper=f"{_PAPER}, MobileNetEdgeTPU",
    rows=(
        # k  exp  out  NL  s
        Conv(3, 32, RE, 2),
        Conv(1, 16, RE),
        FusedBottleneck(3, 128, 32, RE, 2),
        *(FusedBottleneck(3, 128, 32, RE),) * 3,
        FusedBottleneck(3, 256, 48, RE, 2),
        *(FusedBottleneck(3, 192, 48, RE),) * 3,
        # k  exp  out  SE  NL  s
        Bottleneck(3, 384, 96, __, RE, 2),
        *(Bottleneck(3, 384, 96, __, RE),) * 3,
        Bottleneck(3, 768, 96, __, RE, skip=False),
        *(Bottleneck(3, 384, 96, __, RE),) * 3,
        Bottleneck(5, 768, 160, __, RE, 2),
        *(Bottleneck(5, 640, 160, __, RE),) * 3,
        Bottleneck(3, 1280, 192, __, RE),
        Conv(1, 1280, RE),
        Pool(),
        Linear(1000),
    ),
)


def _v2(size: str, stem: tuple[int, int], group: int, channels: tuple[int, ...], head: int) -> Network:
    """The second version: `stem` is kernel and channels, `group` the channels of one group of a split expansion."""
    c0, c1, c2, c3, c4, c5, c6 = channels

    def split(out: int) -> FusedBottleneck:
        return FusedBottleneck(3, 4 * out, out, RE, groups=4 * out // group)

    def stage(channels: int, out: int, stride: int) -> tuple[Row, ...]:
        first = Bottleneck(3, 8 * channels, out, __, RE, stride)
        return first, *(Bottleneck(3, 4 * out, out, __, RE),) * 3

    return Network(
        f"mobilenet_edgetpu_v2_{size}",
        paper=f"{_PAPER}, MobileNetEdgeTPUV2-{size.upper()}",
        rows=(
            Conv(stem[0], stem[1], RE, 2),
            Conv(1, c0, RE),
            FusedBottleneck(3, 8 * c0, c1, RE, 2),
            split(c1),
            FusedBottleneck(3, 8 * c1, c2, RE, 2),
            split(c2),
            FusedBottleneck(3, 4 * c2, c2, RE),
            split(c2),
            FusedBottleneck(3, 8 * c2, c3, RE, 2),
            *(Bottleneck(3, 4 * c3, c3, __, RE),) * 3,
            *stage(c3, c4, 1),
            *stage(c4, c5, 2),
            Bottleneck(3, 8 * c5, c6, __, RE),
            Conv(1, head, RE),
            Pool(),
            Linear(1000),
        ),
    )


V2_XS = _v2("xs", (3, 32), 64, (16, 32, 48, 96, 144, 160, 192), 1280)
V2_S = _v2("s", (5, 64), 64, (24, 48, 64, 128, 160, 192, 256), 1280)
V2_M = _v2("m", (5, 64), 64, (32, 64, 80, 160, 192, 240, 320), 1344)
V2_L = _v2("l", (7, 64), 128, (32, 64, 96, 192, 240, 256, 384), 1408)
