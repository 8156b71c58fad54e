"""`mobilenets show NETWORK`: the paper's table back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mobilenets.cli.networks import resolve
from mobilenets.cli.output import print_json, stdout
from mobilenets.costs import Cost, RowCost, cost
from mobilenets.costs.printed import CONVENTIONS, HEADINGS, Cells, cells, grouped, used_columns
from mobilenets.table import Network, dilate, row_of
from mobilenets.table import minimalistic as make_minimalistic
from mobilenets.table.nodes import Convolution

if TYPE_CHECKING:
    from rich.table import Table


def run(
    network: str,
    /,
    *,
    width: float = 1.0,
    resolution: int | None = None,
    classes: int | None = None,
    reduced_tail: bool = False,
    minimalistic: bool = False,
    output_stride: int | None = None,
    group: bool = False,
    json: bool = False,
) -> None:
    """Show a network's table as its paper prints it, with what each row costs.

    Args:
        network: name in the index, or a table file (.json); `ssdlite_mobilenet_v2` is one with a head.
        width: width multiplier.
        resolution: height and width of the input, in pixels.
        classes: outputs of the classifier.
        reduced_tail: half the channels between C4 and C5, as MobileNetV3's detectors and segmenters have it.
        minimalistic: without squeeze-and-excite, hard swish and 5x5 kernels.
        output_stride: largest total stride; later strides become dilation.
        group: one line for rows that repeat, with columns t and n as in MobileNetV2's Table 2.
        json: one JSON object on stdout.
    """
    net = resolve(network, width, resolution, classes, reduced=reduced_tail)
    net = make_minimalistic(net) if minimalistic else net
    net = net if output_stride is None else dilate(net, output_stride)
    counted = cost(net)
    lines = grouped(counted.rows) if group else [(cells(entry), [entry]) for entry in counted.rows]
    if json:
        print_json(_as_json(counted, lines))
    else:
        _print(counted, lines)


def _as_json(counted: Cost, lines: list[tuple[Cells, list[RowCost]]]) -> dict[str, Any]:
    net = counted.network
    return {
        "network": net.name,
        "paper": net.paper,
        "width": net.width,
        "resolution": net.resolution,
        "classes": net.classes,
        "output_stride": net.output_stride,
        "params": counted.params,
        "macs": counted.macs,
        "errata": net.errata,
        "conventions": CONVENTIONS,
        "rows": [_line_json(counted, line, entries) for line, entries in lines],
    }


def _line_json(counted: Cost, line: Cells, entries: list[RowCost]) -> dict[str, Any]:
    params, macs, activations = _sums(entries)
    return {
        "row": entries[0].number,
        **line._asdict(),
        "dilation": _dilation(counted, entries),
        "params": params,
        "macs": macs,
        "activation_bytes": 4 * activations,
    }


def _sums(entries: list[RowCost]) -> tuple[int, int, int]:
    return sum(e.params for e in entries), sum(e.macs for e in entries), sum(e.activations for e in entries)


def _dilation(counted: Cost, entries: list[RowCost]) -> int:
    """The largest dilation of a line's kernels: where an output stride turned strides into it, the print has none."""
    numbers = {entry.number for entry in entries}
    convolutions = (n for n in counted.graph if isinstance(n, Convolution) and row_of(n) in numbers)
    return max((n.dilation for n in convolutions), default=1)


def _print(counted: Cost, lines: list[tuple[Cells, list[RowCost]]]) -> None:
    out, net = stdout(), counted.network
    out.print(_table(counted, lines))
    out.print(
        f"{net.classes:,} classes, {counted.params:,} params, {counted.macs:,} macs, "
        f"{counted.weight_bytes() / 1e6:.2f} MB of fp32 weights"
    )
    out.print(CONVENTIONS, style="dim")
    for note in _notes(net):
        out.print(note)


def _notes(net: Network) -> list[str]:
    notes = [f"Errata: {net.errata}"] if net.errata else []
    if net.output_stride is not None:
        notes.append(f"Output stride {net.output_stride}: `s` is as printed; beyond it, stride becomes dilation.")
    return notes


def _table(counted: Cost, lines: list[tuple[Cells, list[RowCost]]]) -> Table:
    from rich.table import Table

    net = counted.network
    columns = used_columns([line for line, _ in lines])
    table = Table(title=f"{net.label}   {net.paper}", title_justify="left")
    table.add_column("row", justify="right")
    for i in columns:
        table.add_column(HEADINGS[i], justify="left" if HEADINGS[i] == "operator" else "right")
    dilated = net.output_stride is not None
    for heading in (*(["dilation"] if dilated else []), "params", "macs", "activations kB"):
        table.add_column(heading, justify="right")
    for line, entries in lines:
        params, macs, activations = _sums(entries)
        shown = [line[i] for i in columns] + ([str(_dilation(counted, entries))] if dilated else [])
        counts = f"{params:,}", f"{macs:,}", f"{4 * activations / 1e3:,.1f}"
        table.add_row(str(entries[0].number), *shown, *counts)
    return table
