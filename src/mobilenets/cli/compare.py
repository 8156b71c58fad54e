"""`mobilenets compare NETWORK...`: side by side, and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilenets.cli.networks import expand, resolve
from mobilenets.cli.output import print_json, stderr, stdout
from mobilenets.costs import Cost, cost
from mobilenets.errors import MisuseError
from mobilenets.table import Network, scale
from mobilenets.zoo import INDEX
from mobilenets.zoo.published import top1


def run(
    *networks: str,
    width: float = 1.0,
    resolution: int | None = None,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Compare networks: parameters, macs, weights, memory, published ImageNet top-1.

    Args:
        networks: names in the index, wildcards such as "*v3*", or table files (.json).
        width: width multiplier of all of them.
        resolution: height and width of the input of all of them, in pixels.
        plot: a picture to write: macs against every published accuracy of the networks (.png, .svg or .pdf).
        json: one JSON object on stdout.
    """
    if not networks:
        raise MisuseError('name the networks to compare, such as `mobilenets compare mobilenet_v1 "*v3*"`.')
    found = [resolve(name, width, resolution) for name in expand(networks)]
    costs = [cost(net) for net in found]
    if plot is not None:
        from mobilenets.cli.compare_plot import write

        write(found, plot)
        stderr().print(f"wrote {plot}")
    if json:
        print_json({"networks": [_line(c) for c in costs], "plot": None if plot is None else str(plot)})
    else:
        _print(costs)


def published_top1(network: Network) -> float | None:
    """Published accuracy of exactly this table; a table that only shares the name has none."""
    printed = INDEX.get(network.name)
    if printed is None or network != scale(printed, network.width, network.resolution):
        return None
    return top1(network.name, network.width, network.resolution)


def _line(counted: Cost) -> dict[str, Any]:
    net = counted.network
    return {
        "network": net.name,
        "width": net.width,
        "resolution": net.resolution,
        "params": counted.params,
        "macs": counted.macs,
        "weight_bytes": counted.weight_bytes(),
        "peak_activation_bytes": counted.peak_activation_bytes(),
        "published_top1": published_top1(net),
    }


def _print(costs: list[Cost]) -> None:
    from rich.table import Table

    table = Table(caption="macs: one multiply and one add, batch norm folded; MB are fp32; top-1: published, ImageNet")
    table.add_column("network")
    for heading in ("width", "resolution", "params M", "macs M", "weights MB", "peak memory MB", "top-1 %"):
        table.add_column(heading, justify="right")
    for counted in costs:
        net, accuracy = counted.network, published_top1(counted.network)
        table.add_row(
            net.name, f"{net.width:g}", str(net.resolution), f"{counted.params / 1e6:.2f}",
            f"{counted.macs / 1e6:.1f}", f"{counted.weight_bytes() / 1e6:.2f}",
            f"{counted.peak_activation_bytes() / 1e6:.2f}", "-" if accuracy is None else f"{accuracy:.1f}",
        )  # fmt: skip
    stdout().print(table)
