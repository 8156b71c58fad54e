"""`mobilenets cost NETWORK`: parameters, macs, bytes and memory, layer by layer."""

from __future__ import annotations

import csv as csv_format
import sys
from pathlib import Path
from typing import Any, Literal

from mobilenets.cli.networks import resolve
from mobilenets.cli.output import print_json, stdout
from mobilenets.costs import BYTES, Cost
from mobilenets.costs import cost as count
from mobilenets.costs.plain import node_lines, row_lines, totals
from mobilenets.costs.printed import CONVENTIONS
from mobilenets.errors import MisuseError


def run(
    network: str,
    /,
    *,
    width: float = 1.0,
    resolution: int | None = None,
    classes: int | None = None,
    reduced_tail: bool = False,
    by: Literal["node", "row"] = "node",
    roofline: bool = False,
    plot: Path | None = None,
    threads: int = 1,
    json: bool = False,
    csv: bool = False,
) -> None:
    """Count a network: parameters, macs, bytes, peak activation memory. Or hold it against this machine's ceilings.

    Args:
        network: name in the index, or a table file (.json); `ssdlite_mobilenet_v2` is one with a head.
        width: width multiplier.
        resolution: height and width of the input, in pixels.
        classes: outputs of the classifier.
        reduced_tail: half the channels between C4 and C5, as MobileNetV3's detectors and segmenters have it.
        by: a line for every node that runs, or for every row of the printed table.
        roofline: measure this machine's compute and memory ceilings and say which of them holds each kernel.
        plot: with --roofline, a picture of it (.png, .svg or .pdf).
        threads: with --roofline, threads of the runtime.
        json: one JSON object on stdout.
        csv: the layers as comma-separated values on stdout.
    """
    if json and csv:
        raise MisuseError("`--json` and `--csv` were both given, and stdout holds one of them: choose one.")
    found = resolve(network, width, resolution, classes, reduced=reduced_tail)
    if roofline:
        if by == "row" or csv:
            raise MisuseError(
                "`--roofline` lists deployed kernels, as a table or with --json: leave out --by row and --csv."
            )
        from mobilenets.cli import cost_roofline

        cost_roofline.run(found, plot, threads, json=json)
        return
    if plot is not None or threads != 1:
        raise MisuseError("`--plot` and `--threads` belong to --roofline, which was not given.")
    counted = count(found)
    layers = node_lines(counted) if by == "node" else row_lines(counted)
    if json:
        print_json({**totals(counted), "conventions": CONVENTIONS, "layers": layers})
    elif csv:
        _print_csv(layers)
    else:
        _print(counted, layers)


def _print_csv(layers: list[dict[str, Any]]) -> None:
    writer = csv_format.writer(sys.stdout, lineterminator="\n")
    writer.writerow(layers[0])
    for layer in layers:
        writer.writerow({**layer, "output_shape": "x".join(map(str, layer["output_shape"]))}.values())


def _print(counted: Cost, layers: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title=counted.network.label, title_justify="left")
    for heading in ("name", "op", "output c h w", "params", "macs", "additions", "weights kB", "activations kB"):
        table.add_column(heading, justify="left" if heading in ("name", "op") else "right")
    for layer in layers:
        shape = " ".join(map(str, layer["output_shape"]))
        counts = [f"{layer[key]:,}" for key in ("params", "macs", "additions")]
        kilobytes = [f"{layer[key] / 1e3:,.1f}" for key in ("weight_bytes", "activation_bytes")]
        table.add_row(layer["name"], layer["op"], shape, *counts, *kilobytes)
    stdout().print(table)
    _print_totals(counted)


def _print_totals(counted: Cost) -> None:
    from rich.table import Table

    sizes = ", ".join(f"{counted.weight_bytes(p) / 1e6:.2f} MB {p}" for p in BYTES)
    stdout().print(
        f"{counted.params:,} params: {sizes}\n"
        f"{counted.macs:,} macs: as many multiplications, {counted.additions:,} additions; "
        f"{counted.elementwise:,} elementwise operations\n"
        f"peak activations {counted.peak_activation_bytes() / 1e6:.2f} MB fp32 at {counted.peak.at} "
        f"({counted.peak_activation_bytes(in_place=False) / 1e6:.2f} MB with nothing in place)"
    )
    shares = Table("operator")
    shares.add_column("macs %", justify="right")
    shares.add_column("weights %", justify="right")
    for share in counted.shares():
        shares.add_row(share.op, f"{share.macs_percent:.2f}", f"{share.params_percent:.2f}")
    stdout().print(shares)
    stdout().print(CONVENTIONS, style="dim")
