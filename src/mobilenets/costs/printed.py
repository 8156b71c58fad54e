"""A network's table in its paper's words: input, operator, expansion, output, SE, NL, stride. A reader of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, assert_never

from mobilenets.costs.count import RowCost, cost
from mobilenets.table.nodes import Shape
from mobilenets.table.rows import (
    Act,
    AdaptivePool,
    Aspp,
    Bottleneck,
    BoxPredictor,
    BranchedConv,
    Conv,
    DenseBlock,
    DepthwiseSeparable,
    ExtraFeatures,
    Fire,
    FusedBottleneck,
    Inception,
    JoinToken,
    Linear,
    LiteAspp,
    LiteBottleneck,
    MaxPool,
    MobileFormer,
    MobileOneBlock,
    MobileToFormer,
    MultiQueryAttention,
    Network,
    PlainConv,
    Pool,
    Row,
    SeparableConv,
    Tokens,
    UniversalBottleneck,
    Upsample,
    XceptionBlock,
)

CONVENTIONS = (
    "macs: one multiply and one add of convolutions and matrix products, batch norm folded; params: weights, biases "
    "and 2 values per batch-norm channel; activations: what convolutions and matrix products write, fp32."
)
"""What the counts mean, in one line under every table of them."""

NONE = "-"
"""An empty cell, as V3's tables print it."""

_NL = {
    Act.NONE: NONE,
    Act.RELU: "RE",
    Act.RELU6: "R6",
    Act.HSWISH: "HS",
    Act.HSIGMOID: "hard sigmoid",
    Act.SIGMOID: "sigmoid",
    Act.GELU: "GELU",
}


class Cells(NamedTuple):
    """One printed row. `t` is the expansion over the input's channels, `n` how often the row repeats (V2, Table 2)."""

    input: str
    operator: str
    t: str
    exp: str
    out: str
    n: str
    se: str
    nl: str
    s: str


HEADINGS = Cells("input", "operator", "t", "exp size", "out", "n", "SE", "NL", "s")
"""The columns' names in the print."""


def printed(network: Network) -> list[Cells]:
    """The table of a network, one entry a row, as V3's Tables 1 and 2 are printed.

    Raises:
        MisuseError: the resolution is too small for a row.
    """
    return [cells(entry) for entry in cost(network).rows]


def cells(entry: RowCost) -> Cells:
    """One row's cells; columns that its paper's table lacks are `-`."""
    return _cells(entry.row, entry.input_shape)._replace(input=size(entry.input_shape))


def describe_row(row: Row) -> str:
    """A row in one line, without shapes: `bneck 5x5, exp 72, out 40, SE, RE, s 2`."""
    line = _cells(row, ())
    named = [f"{name} {cell}" for name, cell in (("exp", line.exp), ("out", line.out)) if cell != NONE]
    plain = ["SE"] * (line.se != NONE) + [line.nl] * (line.nl != NONE) + [f"s {line.s}"] * (line.s != NONE)
    return ", ".join([line.operator, *named, *plain])


def operator(row: Row, shape: Shape = ()) -> str:
    """The operator in the papers' words; `shape` is the row's input, which gives global pooling its size."""
    return _cells(row, shape).operator


def _cells(row: Row, shape: Shape) -> Cells:
    """The one place that knows how a row is printed; the input stays empty."""
    match row:
        case Conv(kernel=k):
            grouped = f", {row.groups} groups" if row.groups > 1 else ""
            nbn = "" if row.norm else ", NBN"
            return _line(f"conv2d {k}x{k}{nbn}{grouped}", out=row.out, nl=row.act, s=row.stride)
        case DepthwiseSeparable(kernel=k):
            return _line(f"conv dw {k}x{k} + conv 1x1", out=row.out, nl=row.act, s=row.stride)
        case Bottleneck(kernel=k):
            return _line(f"bneck {k}x{k}", row.expand, row.out, se=row.se, nl=row.act, s=row.stride)
        case UniversalBottleneck():
            return _line(_universal(row), row.expand, row.out, nl=row.act, s=row.stride)
        case FusedBottleneck(kernel=k):
            grouped = f", {row.groups} groups" if row.groups > 1 else ""
            return _line(f"fused ib {k}x{k}{grouped}", row.expand, row.out, nl=row.act, s=row.stride)
        case MultiQueryAttention():
            shrunk = f", k v / {row.kv_stride}" if row.kv_stride > 1 else ""
            return _line(f"mqa {row.heads} x {row.key}{shrunk}", row.heads * row.key, row.out, s=1)
        case BranchedConv(kernel=k):
            return _line(f"one conv {k}x{k}, k {row.branches}", out=row.out, nl=row.act, s=row.stride)
        case MobileOneBlock(kernel=k):
            return _line(
                f"one dw {k}x{k} + one 1x1, k {row.branches}", out=row.out, se=row.se, nl=row.act, s=row.stride
            )
        case DenseBlock(kernel=k):
            return _line(f"dense {row.layers} x (dw {k}x{k} + 1x1), growth {row.growth}", nl=row.act)
        case Tokens():
            return _line(f"tokens {row.count}x{row.dim}")
        case LiteBottleneck(kernel=k):
            return _line(f"bneck-lite {k}x{k}", row.expand, row.out, nl=row.act, s=row.stride)
        case MobileFormer():
            grouped = f", {row.groups} groups" if row.groups > 1 else ""
            down = "" if row.expand2 is None else f" down, exp2 {row.expand2}"
            return _line(f"mobile-former{down}{grouped}", row.expand, row.out, s=row.stride)
        case MobileToFormer():
            return _line("mobile -> former")
        case JoinToken():
            return _line("concat first token")
        case Pool():
            return _line(f"pool {shape[1]}x{shape[2]}" if len(shape) == 3 else "pool", nl=row.act)
        case Linear():
            return _line("fc, BN" if row.norm else "fc", out=row.out, nl=row.act)
        case PlainConv(kernel=k):
            return _line(f"conv2d {k}x{k}, NBN", out=row.out, nl=row.act, s=row.stride)
        case MaxPool(kernel=k):
            return _line(f"max pool {k}x{k}", s=row.stride)
        case AdaptivePool():
            return _line(f"avg pool to {row.size}x{row.size}")
        case Fire():
            branches = f"fire {row.squeeze}: {row.expand1} + {row.expand3}"
            return _line(branches, out=row.expand1 + row.expand3, nl=Act.RELU)
        case Inception():
            branches = f"{row.conv1} + {row.reduce3}-{row.conv3} + {row.reduce5}-{row.conv5} + {row.proj}"
            return _line(f"inception {branches}", out=row.conv1 + row.conv3 + row.conv5 + row.proj, nl=Act.RELU)
        case XceptionBlock(widths=widths):
            chain = "-".join(map(str, widths))
            return _line(f"sep conv 3x3: {chain}", out=widths[-1], nl=Act.RELU, s=row.stride)
        case SeparableConv(kernel=k):
            return _line(f"sep conv {k}x{k}", out=row.out, nl=Act.RELU, s=1)
        case ExtraFeatures():
            second = "dw 3x3 + 1x1" if row.lite else "3x3"
            return _line(f"extra 1x1 + {second}", out=row.out, nl=row.act, s=row.stride)
        case BoxPredictor(kernel=k):
            layer = f"dw {k}x{k} + 1x1" if row.lite else f"{k}x{k}"
            anchors = "+".join(map(str, row.anchors))
            return _line(f"boxes {layer}, {anchors} anchors", out=row.out, nl=row.act if row.lite else Act.NONE)
        case Aspp():
            rates = f" + 3x3 rates {' '.join(map(str, row.rates))}" if row.rates else ""
            return _line(f"aspp 1x1{rates}{' + pool' if row.pooling else ''}", out=row.out, nl=row.act)
        case LiteAspp():
            return _line(f"lr-aspp {row.filters}", out=row.out)
        case Upsample():
            return _line("upsample to the image")
        case _:
            assert_never(row)


def _line(operator: str, exp: int = 0, out: int = 0, *, se: bool = False, nl: Act = Act.NONE, s: int = 0) -> Cells:
    """Cells from a row's columns; what is left out is empty."""
    shown = [str(value) if value else NONE for value in (exp, out, s)]
    return Cells(NONE, operator, NONE, shown[0], shown[1], NONE, "√" if se else NONE, _NL[nl], shown[2])


def _universal(row: UniversalBottleneck) -> str:
    """V4's four instances by name (Figure 4), with the kernels that they have."""
    match row.start, row.middle:
        case None, None:
            return "uib FFN"
        case None, middle:
            return f"uib IB {middle}x{middle}"
        case start, None:
            return f"uib ConvNext {start}x{start}"
        case start, middle:
            return f"uib ExtraDW {start}x{start} {middle}x{middle}"


def size(shape: Shape) -> str:
    """A shape as the papers print it, height first: `112x112x16`; `1x1x1280` for a flat one."""
    if not shape:
        return NONE
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return f"{height}x{width}x{channels}"


def grouped(entries: Iterable[RowCost]) -> list[tuple[Cells, list[RowCost]]]:
    """Rows that repeat become one with its `n`, as in V2's Table 2 and V1's `5x`; the rows of each come with it.

    Bottlenecks of one stage differ in `exp`, not in its ratio `t` to their input, and only the first has the stride.
    """
    groups: list[tuple[Cells, list[RowCost]]] = []
    for entry in entries:
        new = cells(entry)._replace(t=_ratio(entry), n="1")
        if isinstance(entry.row, _EXPANDING):
            new = new._replace(exp=NONE)
        if groups and _continues(groups[-1][0], new):
            first, members = groups[-1]
            groups[-1] = first._replace(n=str(len(members) + 1)), [*members, entry]
        else:
            groups.append((new, [entry]))
    return groups


_EXPANDING = (Bottleneck, UniversalBottleneck, FusedBottleneck, LiteBottleneck, MobileFormer)


def _ratio(entry: RowCost) -> str:
    return f"{entry.row.expand / entry.input_shape[0]:.3g}" if isinstance(entry.row, _EXPANDING) else NONE


def _continues(first: Cells, new: Cells) -> bool:
    return new.s == "1" and first[1:5] == new[1:5] and first.se == new.se and first.nl == new.nl


def used_columns(rows: Sequence[Cells]) -> list[int]:
    """Indices of the columns that hold anything: V1's table has no `exp size` and no `SE`."""
    return [i for i in range(len(HEADINGS)) if any(row[i] != NONE for row in rows)]
