"""`mobilenets list [GLOB]`."""

from __future__ import annotations

from mobilenets.cli.output import print_json, stdout
from mobilenets.costs import cost
from mobilenets.errors import UnknownNameError
from mobilenets.zoo import INDEX, network, networks
from mobilenets.zoo.heads import HEADS


def run(glob: str = "*", /, *, json: bool = False) -> None:
    """List networks.

    Any of them carries a head for boxes or masks: ssd, ssdlite, deeplabv3, raspp or lraspp before its name.

    Args:
        glob: names to show, such as "*v3*", or "ssdlite_*v3*".
        json: one JSON object on stdout.
    """
    names = networks(glob)
    if not names:
        raise UnknownNameError("network", glob, INDEX, hint="`mobilenets list` shows all.")
    costs = [cost(network(name)) for name in names]
    if json:
        print_json({"networks": [
            {"name": c.network.name, "paper": c.network.paper, "resolution": c.network.resolution, "params": c.params,
             "macs": c.macs} for c in costs
        ]})  # fmt: skip
        return
    from rich.table import Table

    answers = {"classify": "1000 classes", "detect": "80 classes of boxes", "segment": "21 classes of pixels"}
    what = " or ".join(dict.fromkeys(answers[c.network.task] for c in costs))
    table = Table(
        caption=f"width 1.0, {what}; macs: one multiply and one add, batch norm folded; "
        f"with {', '.join(HEADS)} before its name, a network has a head for boxes or masks"
    )
    for column in ("network", "resolution", "params M", "macs M", "paper"):
        table.add_column(column, justify="right" if column not in ("network", "paper") else "left")
    for c in costs:
        net = c.network
        table.add_row(net.name, str(net.resolution), f"{c.params / 1e6:.2f}", f"{c.macs / 1e6:.1f}", net.paper)
    stdout().print(table)
