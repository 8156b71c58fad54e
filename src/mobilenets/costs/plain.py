"""A network's cost as plain JSON values: whole, node by node, row by row."""

from __future__ import annotations

from typing import Any

from mobilenets.costs.count import BYTES, Cost
from mobilenets.costs.printed import CONVENTIONS, operator


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


def node_lines(counted: Cost) -> list[dict[str, Any]]:
    """A line for every node that runs."""
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


def row_lines(counted: Cost) -> list[dict[str, Any]]:
    """A line for every row of the printed table."""
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


def report_part(counted: Cost) -> dict[str, Any]:
    """What a report holds of a cost: totals, rows, and what the counts mean."""
    return {**totals(counted), "conventions": CONVENTIONS, "rows": row_lines(counted)}
