"""`mobilenets cost NETWORK`: parameters, macs, bytes and memory, layer by layer."""

from __future__ import annotations

import csv as csv_format
import sys
from typing import Any, Literal

from mobilenets.cli.networks import resolve
from mobilenets.cli.output import print_json, stdout
from mobilenets.costs import BYTES, Cost
from mobilenets.costs import cost as count
from mobilenets.costs.printed import CONVENTIONS, operator
from mobilenets.errors import MisuseError


def run(
    network: str,
    /,
    *,
    width: float = 1.0,
    resolution: int | None = None,
    classes: int | None = None,
    by: Literal["node", "row"] = "node",
    json: bool = False,
    csv: bool = False,
) -> None:
    """Count a network: parameters, macs, bytes, peak activation memory.

    Args:
        network: name in the index, or a table file (.json).
        width: width multiplier.
        resolution: height and width of the input, in pixels.
        classes: outputs of the classifier.
        by: a line for every node that runs, or for every row of the printed table.
        json: one JSON object on stdout.
        csv: the layers as comma-separated values on stdout.
    """
    if json and csv:
        raise MisuseError("`--json` and `--csv` were both given, and stdout holds one of them: choose one.")
    counted = count(resolve(network, width, resolution, classes))
    layers = _nodes(counted) if by == "node" else _rows(counted)
    if json:
        print_json({**totals(counted), "conventions": CONVENTIONS, "layers": layers})
    elif csv:
        _print_csv(layers)
    else:
        _print(counted, layers)


def totals(counted: Cost) -> dict[str, Any]:
    """What a whole network costs, as JSON values; `*_bytes` without a precision are fp32."""
    net = counted.network
    return {
        "network": net.name,
        "width": net.width,
        "resolution": net.resolution,
        "classes": net.classes,
        "params": counted.params,
        "macs": counted.macs,
        "multiplications": counted.multiplications,
        "additions": counted.additions,
        "elementwise": counted.elementwise,
        "weight_bytes": counted.weight_bytes(),
        "weight_bytes_fp16": counted.weight_bytes("fp16"),
        "weight_bytes_int8": counted.weight_bytes("int8"),
        "peak_activation_bytes": counted.peak_activation_bytes(),
        "peak_activation_bytes_not_in_place": counted.peak_activation_bytes(in_place=False),
        "peak_activation_at": counted.peak.at,
        "shares": [share._asdict() for share in counted.shares()],
    }


def _bytes(params: int, activations: int) -> dict[str, int]:
    """Bytes of weights and of output values: fp32 under the plain keys, then fp16 and int8."""
    found = {}
    for suffix, size in (("", BYTES["fp32"]), ("_fp16", BYTES["fp16"]), ("_int8", BYTES["int8"])):
        found[f"weight_bytes{suffix}"] = size * params
        found[f"activation_bytes{suffix}"] = size * activations
    return found


def _nodes(counted: Cost) -> list[dict[str, Any]]:
    return [
        {
            "name": n.name,
            "row": n.row,
            "op": n.op,
            "output_shape": list(n.output_shape),
            "params": n.params,
            "macs": n.macs,
            "multiplications": n.multiplications,
            "additions": n.additions,
            **_bytes(n.params, n.activations),
        }
        for n in counted.nodes
    ]


def _rows(counted: Cost) -> list[dict[str, Any]]:
    return [
        {
            "name": f"row{r.number:02d}",
            "row": r.number,
            "op": operator(r.row, r.input_shape),
            "output_shape": list(r.output_shape),
            "params": r.params,
            "macs": r.macs,
            "multiplications": r.multiplications,
            "additions": r.additions,
            **_bytes(r.params, r.activations),
        }
        for r in counted.rows
    ]


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
