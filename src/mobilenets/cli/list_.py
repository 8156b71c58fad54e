"""`mobilenets list [GLOB]`."""

from __future__ import annotations

from mobilenets.cli.output import print_json, stdout
from mobilenets.costs import cost
from mobilenets.errors import UnknownNameError
from mobilenets.zoo import INDEX, networks


def run(glob: str = "*", /, *, json: bool = False) -> None:
    """List networks.

    Args:
        glob: names to show, such as "*v3*".
        json: one JSON object on stdout.
    """
    names = networks(glob)
    if not names:
        raise UnknownNameError("network", glob, INDEX, hint="`mobilenets list` shows all.")
    costs = [cost(INDEX[name]) for name in names]
    if json:
        print_json({"networks": [
            {"name": c.network.name, "paper": c.network.paper, "resolution": c.network.resolution, "params": c.params,
             "macs": c.macs} for c in costs
        ]})  # fmt: skip
        return
    from rich.table import Table

    table = Table(caption="width 1.0, 1000 classes; macs: one multiply and one add, batch norm folded")
    for column in ("network", "resolution", "params M", "macs M", "paper"):
        table.add_column(column, justify="right" if column not in ("network", "paper") else "left")
    for c in costs:
        net = c.network
        table.add_row(net.name, str(net.resolution), f"{c.params / 1e6:.2f}", f"{c.macs / 1e6:.1f}", net.paper)
    stdout().print(table)
