"""A network's table in its paper's words: input, operator, expansion, output, SE, NL, stride. A reader of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, assert_never

from mobilenets.costs.count import RowCost, cost
from mobilenets.table.nodes import Shape
from mobilenets.table.rows import (
    Act,
    AdaptivePool,
    Bottleneck,
    Conv,
    DepthwiseSeparable,
    Fire,
    Inception,
    Linear,
    MaxPool,
    Network,
    PlainConv,
    Pool,
    Row,
    SeparableConv,
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
    return _cells(entry.row, entry.input_shape)


def describe_row(row: Row) -> str:
    """A row in one line, without shapes: `bneck 5x5, exp 72, out 40, SE, RE, s 2`."""
    line = _cells(row, ())
    named = [f"{name} {cell}" for name, cell in (("exp", line.exp), ("out", line.out)) if cell != NONE]
    plain = ["SE"] * (line.se != NONE) + [line.nl] * (line.nl != NONE) + [f"s {line.s}"] * (line.s != NONE)
    return ", ".join([line.operator, *named, *plain])


def _cells(row: Row, shape: Shape) -> Cells:
    exp, se = NONE, NONE
    match row:
        case Bottleneck():
            out, nl, stride = row.out, row.act, row.stride
            exp, se = str(row.expand), "√" if row.se else NONE
        case Conv() | DepthwiseSeparable() | PlainConv():
            out, nl, stride = row.out, row.act, row.stride
        case Linear():
            out, nl, stride = row.out, row.act, 0
        case SeparableConv():
            out, nl, stride = row.out, Act.RELU, 1
        case XceptionBlock():
            out, nl, stride = row.widths[-1], Act.RELU, row.stride
        case Fire():
            out, nl, stride = row.expand1 + row.expand3, Act.RELU, 0
        case Inception():
            out, nl, stride = row.conv1 + row.conv3 + row.conv5 + row.proj, Act.RELU, 0
        case MaxPool():
            out, nl, stride = 0, Act.NONE, row.stride
        case Pool() | AdaptivePool():
            out, nl, stride = 0, Act.NONE, 0
        case _:
            assert_never(row)
    shown = str(out) if out else NONE, NONE, se, _NL[nl], str(stride) if stride else NONE
    return Cells(size(shape), operator(row, shape), NONE, exp, *shown)


def operator(row: Row, shape: Shape = ()) -> str:
    """The operator in the papers' words; `shape` is the row's input, which gives global pooling its size."""
    match row:
        case Conv(kernel=k, norm=norm):
            return f"conv2d {k}x{k}" + ("" if norm else ", NBN")
        case DepthwiseSeparable(kernel=k):
            return f"conv dw {k}x{k} + conv 1x1"
        case Bottleneck(kernel=k):
            return f"bneck {k}x{k}"
        case Pool():
            return f"pool {shape[1]}x{shape[2]}" if len(shape) == 3 else "pool"
        case Linear():
            return "fc"
        case PlainConv(kernel=k):
            return f"conv2d {k}x{k}, NBN"
        case MaxPool(kernel=k):
            return f"max pool {k}x{k}"
        case AdaptivePool():
            return f"avg pool to {row.size}x{row.size}"
        case Fire():
            return f"fire {row.squeeze}: {row.expand1} + {row.expand3}"
        case Inception():
            return f"inception {row.conv1} + {row.reduce3}-{row.conv3} + {row.reduce5}-{row.conv5} + {row.proj}"
        case XceptionBlock():
            return "sep conv 3x3: " + "-".join(map(str, row.widths))
        case SeparableConv(kernel=k):
            return f"sep conv {k}x{k}"
        case _:
            assert_never(row)


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
        if isinstance(entry.row, Bottleneck):
            new = new._replace(exp=NONE)
        if groups and _continues(groups[-1][0], new):
            first, members = groups[-1]
            groups[-1] = first._replace(n=str(len(members) + 1)), [*members, entry]
        else:
            groups.append((new, [entry]))
    return groups


def _ratio(entry: RowCost) -> str:
    return f"{entry.row.expand / entry.input_shape[0]:.3g}" if isinstance(entry.row, Bottleneck) else NONE


def _continues(first: Cells, new: Cells) -> bool:
    return new.s == "1" and first[1:5] == new[1:5] and first.se == new.se and first.nl == new.nl


def used_columns(rows: Sequence[Cells]) -> list[int]:
    """Indices of the columns that hold anything: V1's table has no `exp size` and no `SE`."""
    return [i for i in range(len(HEADINGS)) if any(row[i] != NONE for row in rows)]
