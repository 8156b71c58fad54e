"""Mobile-Former: a MobileNet, a few tokens, a bridge both ways (arXiv 2108.05895; the authors' code)."""

from __future__ import annotations

from dataclasses import replace

from mobilenets.table.rows import (
    Act,
    Conv,
    JoinToken,
    Linear,
    LiteBottleneck,
    MobileFormer,
    MobileToFormer,
    Network,
    Pool,
    Row,
    Tokens,
)

R6, HS = Act.RELU6, Act.HSWISH


def _network(size: str, rows: tuple[Row, ...]) -> Network:
    return Network(
        f"mobile_former_{size}",
        paper=f"arXiv:2108.05895, Mobile-Former-{size.upper()} (the authors' code)",
        divisor=4,
        expansion_head=True,
        bn_eps=1e-5,
        bn_momentum=0.1,
        rows=rows,
    )


def _grouped(row: Row, groups: int) -> Row:
    """The same row with its pointwise convolutions in groups."""
    if isinstance(row, LiteBottleneck | MobileFormer) or (isinstance(row, Conv) and row.kernel == 1):
        return replace(row, groups=groups)
    return row


M52 = _network(
    "52m",
    (
        # k  exp  out  s  exp2
        Tokens(3, 128),
        Conv(3, 8, R6, 2),
        LiteBottleneck(3, 24, 12, R6, 2),
        MobileFormer(3, 36, 12),
        MobileFormer(3, 72, 24, 2, 96),
        MobileFormer(3, 72, 24),
        MobileFormer(3, 144, 48, 2, 192),
        MobileFormer(3, 192, 48),
        MobileFormer(3, 288, 64),
        MobileFormer(3, 384, 96, 2, 384),
        MobileFormer(3, 576, 96),
        MobileToFormer(),
        Conv(1, 576, R6),
        Pool(HS),
        JoinToken(),
        Linear(1024, HS, norm=True),
        Linear(1000),
    ),
)

M96 = _network(
    "96m",
    (
        # k  exp  out  s  exp2
        Tokens(4, 128),
        Conv(3, 12, R6, 2),
        LiteBottleneck(3, 24, 12, R6, 1),
        MobileFormer(3, 72, 16, 2, 64),
        MobileFormer(3, 96, 32, 2, 128),
        MobileFormer(3, 96, 32),
        MobileFormer(3, 192, 64, 2, 256),
        MobileFormer(3, 256, 64),
        MobileFormer(3, 384, 88),
        MobileFormer(3, 528, 128, 2, 512),
        MobileFormer(3, 768, 128),
        MobileToFormer(),
        Conv(1, 768, R6),
        Pool(HS),
        JoinToken(),
        Linear(1280, HS, norm=True),
        Linear(1000),
    ),
)

M151 = _network(
    "151m",
    (
        # k  exp  out  s  exp2
        Tokens(6, 192),
        Conv(3, 12, R6, 2),
        LiteBottleneck(3, 24, 12, R6, 1),
        MobileFormer(3, 72, 16, 2, 64),
        MobileFormer(3, 48, 16),
        MobileFormer(3, 96, 32, 2, 128),
        MobileFormer(3, 96, 32),
        MobileFormer(3, 192, 64, 2, 256),
        MobileFormer(3, 256, 64),
        MobileFormer(3, 384, 88),
        MobileFormer(3, 528, 88),
        MobileFormer(3, 528, 128, 2, 512),
        MobileFormer(3, 768, 128),
        MobileFormer(3, 768, 128),
        MobileToFormer(),
        Conv(1, 768, R6),
        Pool(HS),
        JoinToken(),
        Linear(1280, HS, norm=True),
        Linear(1000),
    ),
)

M214 = _network(
    "214m",
    (
        # k  exp  out  s  exp2
        Tokens(6, 192),
        Conv(3, 12, R6, 2),
        LiteBottleneck(3, 24, 12, R6, 1),
        MobileFormer(3, 72, 20, 2, 80),
        MobileFormer(3, 60, 20),
        MobileFormer(3, 120, 40, 2, 160),
        MobileFormer(3, 160, 40),
        MobileFormer(3, 240, 80, 2, 320),
        MobileFormer(3, 320, 80),
        MobileFormer(3, 480, 112),
        MobileFormer(3, 672, 112),
        MobileFormer(3, 672, 160, 2, 640),
        MobileFormer(3, 960, 160),
        MobileFormer(3, 960, 160),
        MobileToFormer(),
        Conv(1, 960, R6),
        Pool(HS),
        JoinToken(),
        Linear(1600, HS, norm=True),
        Linear(1000),
    ),
)

M294 = _network(
    "294m",
    (
        # k  exp  out  s  exp2
        Tokens(6, 192),
        Conv(3, 16, R6, 2),
        LiteBottleneck(3, 32, 16, R6, 1),
        MobileFormer(3, 96, 24, 2, 96),
        MobileFormer(3, 96, 24),
        MobileFormer(3, 144, 48, 2, 192),
        MobileFormer(3, 192, 48),
        MobileFormer(3, 288, 96, 2, 384),
        MobileFormer(3, 384, 96),
        MobileFormer(3, 576, 128),
        MobileFormer(3, 768, 128),
        MobileFormer(3, 768, 192, 2, 768),
        MobileFormer(3, 1152, 192),
        MobileFormer(3, 1152, 192),
        MobileToFormer(),
        Conv(1, 1152, R6),
        Pool(HS),
        JoinToken(),
        Linear(1920, HS, norm=True),
        Linear(1000),
    ),
)

M508 = _network(
    "508m",
    (
        # k  exp  out  s  exp2
        Tokens(6, 192),
        Conv(3, 24, R6, 2),
        LiteBottleneck(3, 48, 24, R6, 1),
        MobileFormer(3, 144, 40, 2, 160),
        MobileFormer(3, 120, 40),
        MobileFormer(3, 240, 72, 2, 288),
        MobileFormer(3, 216, 72),
        MobileFormer(3, 432, 128, 2, 512),
        MobileFormer(3, 512, 128),
        MobileFormer(3, 768, 176),
        MobileFormer(3, 1056, 176),
        MobileFormer(3, 1056, 240, 2, 960),
        MobileFormer(3, 1440, 240),
        MobileFormer(3, 1440, 240),
        MobileToFormer(),
        Conv(1, 1440, R6),
        Pool(HS),
        JoinToken(),
        Linear(1920, HS, norm=True),
        Linear(1000),
    ),
)

M26 = _network("26m", tuple(_grouped(row, 4) for row in M52.rows))
