"""`mobilenets compare NETWORK...`: side by side, and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenets.cli import compare_plot
from mobilenets.cli.networks import expand, resolve
from mobilenets.cli.output import print_json, stderr, stdout
from mobilenets.costs import Cost, cost
from mobilenets.errors import MisuseError
from mobilenets.table import Network, scale
from mobilenets.zoo import INDEX
from mobilenets.zoo.published import top1

if TYPE_CHECKING:
    from mobilenets.latency import Latency


def run(
    *networks: str,
    width: float = 1.0,
    resolution: int | None = None,
    latency: bool = False,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Compare networks: parameters, macs, weights, memory, published ImageNet top-1, latency on this machine.

    Args:
        networks: names in the index, wildcards such as "*v3*", or table files (.json).
        width: width multiplier of all of them.
        resolution: height and width of the input of all of them, in pixels.
        latency: measure each network here: one image, one thread, random weights in the artifact's runtime.
        plot: a picture to write: published accuracy against macs and against measured latency (.png, .svg or .pdf).
        json: one JSON object on stdout.
    """
    if not networks:
        raise MisuseError('name the networks to compare, such as `mobilenets compare mobilenet_v1 "*v3*"`.')
    found = [resolve(name, width, resolution) for name in expand(networks)]
    costs = [cost(net) for net in found]
    if plot is not None:  # before anything is measured for it
        compare_plot.check_path(plot)
        if all(published_top1(net) is None for net in found):
            raise MisuseError("none of these networks has a published accuracy to draw: name others.")
    latencies: list[Latency | None] = [None] * len(found)
    if latency or plot is not None:
        latencies = _measure(found)
    if plot is not None:
        _plot(costs, latencies, plot)
    if json:
        lines = [_line(counted, measured) for counted, measured in zip(costs, latencies, strict=True)]
        print_json({"networks": lines, "plot": None if plot is None else str(plot)})
    else:
        _print(costs, latencies)


def _measure(networks: list[Network]) -> list[Latency | None]:
    """Latency of each network, one after the other, with a bar: some take seconds."""
    from mobilenets.cli.progress import Display
    from mobilenets.latency import device, time_networks

    with Display() as display:
        display.phase("measuring latency", len(networks))
        return [*time_networks(device("local"), networks, on_progress=display.advance)]


def _plot(costs: list[Cost], latencies: list[Latency | None], path: Path) -> None:
    points, device = [], ""
    for counted, measured in zip(costs, latencies, strict=True):
        accuracy = published_top1(counted.network)
        if accuracy is not None and measured is not None:
            points.append(compare_plot.Point(counted.network.name, counted.macs / 1e6, measured.median_ms, accuracy))
            device = f"{measured.device}, {measured.runtime}, {measured.threads} thread"
    compare_plot.write(points, path, device)
    stderr().print(f"wrote {path}")


def published_top1(network: Network) -> float | None:
    """Published accuracy of exactly this table; a table that only shares the name has none."""
    printed = INDEX.get(network.name)
    if printed is None or network != scale(printed, network.width, network.resolution):
        return None
    return top1(network.name, network.width, network.resolution)


def _line(counted: Cost, measured: Latency | None) -> dict[str, Any]:
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
        "latency_ms": None if measured is None else measured.median_ms,
        "latency_p90_ms": None if measured is None else measured.p90_ms,
    }


def _print(costs: list[Cost], latencies: list[Latency | None]) -> None:
    from rich.table import Table

    caption = "macs: one multiply and one add, batch norm folded; MB are fp32; top-1: published, ImageNet"
    timed = next((m for m in latencies if m is not None), None)
    if timed is not None:
        caption += f"\nms: median of one image, {timed.device}, {timed.runtime}, {timed.threads} thread"
    table = Table(caption=caption)
    table.add_column("network")
    for heading in ("width", "resolution", "params M", "macs M", "weights MB", "peak memory MB", "top-1 %"):
        table.add_column(heading, justify="right")
    if timed is not None:
        table.add_column("ms", justify="right")
    for counted, measured in zip(costs, latencies, strict=True):
        net, accuracy = counted.network, published_top1(counted.network)
        table.add_row(
            net.name, f"{net.width:g}", str(net.resolution), f"{counted.params / 1e6:.2f}",
            f"{counted.macs / 1e6:.1f}", f"{counted.weight_bytes() / 1e6:.2f}",
            f"{counted.peak_activation_bytes() / 1e6:.2f}", "-" if accuracy is None else f"{accuracy:.1f}",
            *([] if measured is None else [f"{measured.median_ms:.2f}"]),
        )  # fmt: skip
    stdout().print(table)
