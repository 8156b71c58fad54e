"""`mobilenets cost NETWORK --roofline`: which of this machine's ceilings holds each kernel, and where the time goes."""

from __future__ import annotations

from pathlib import Path

from mobilenets.cli.compare_plot import check_path
from mobilenets.cli.output import print_json, stderr, stdout
from mobilenets.costs.roofline import Piece, Roofline
from mobilenets.table.rows import Network

CONVENTIONS = (
    "operations: 2 a mac, 1 an elementwise value; moved: weights, inputs and outputs once, fp32, activations and batch "
    "norm fused; could take: the longer of operations at the compute ceiling and bytes at the memory ceiling; takes: "
    "median inside the network by the runtime's profile, random weights, - where it was fused with another. Below "
    "100 % of the roof time goes to overhead; above it, values came from a cache."
)


def run(network: Network, plot: Path | None, threads: int, *, json: bool) -> None:
    """Measure, print, draw.

    Raises:
        MisuseError: threads below 1, or a picture of no known format.
    """
    from mobilenets.latency.ceilings import measured_roofline

    if plot is not None:
        check_path(plot)
    found = measured_roofline(network, threads=threads)
    if not found.agrees:
        stderr().print(
            f"the whole run took {found.measured_ms:.2f} ms and its kernels {found.kernels_ms:.2f} ms: another program "
            "seems to have had the processor; run it again for numbers to trust."
        )
    if plot is not None:
        from mobilenets.cli import roofline_plot

        roofline_plot.write(found, plot)
        stderr().print(f"wrote {plot}")
    if json:
        print_json({**found.to_dict(), "conventions": CONVENTIONS})
    else:
        _print(found)


def _print(found: Roofline) -> None:
    from rich.table import Table

    ceilings = found.ceilings
    table = Table(title=found.network, title_justify="left")
    for heading in ("kernel", "op"):
        table.add_column(heading)
    for heading in (
        "M ops",
        "moved kB",
        "ops/byte",
        "held by",
        "could take ms",
        "share %",
        "takes ms",
        "of the roof %",
    ):
        table.add_column(heading, justify="right")
    for piece in found.pieces:
        table.add_row(*_cells(piece))
    console = stdout()
    console.print(table)
    console.print(
        f"{ceilings.device}, {ceilings.threads} thread{'s' * (ceilings.threads > 1)}, {ceilings.runtime}: "
        f"{ceilings.gflops:.0f} G operations/s at most, {ceilings.memory_gbs:.1f} GB/s from memory, "
        f"{ceilings.cache_gbs:.0f} GB/s from a cache"
    )
    console.print(_summary(found))
    console.print(CONVENTIONS, style="dim")


def _summary(found: Roofline) -> str:
    measured = f"; a whole run takes {found.measured_ms:.2f} ms (median)" if found.measured_ms else ""
    return (
        f"could take {found.attainable_ms:.2f} ms: {found.bound_share('compute'):.0%} of it held by compute, "
        f"{found.bound_share('memory'):.0%} by memory; {found.cached_ms:.2f} ms with all values in a cache; its "
        f"kernels take {found.kernels_ms:.2f} ms{measured}"
    )


def _cells(piece: Piece) -> list[str]:
    takes = piece.measured_ms
    return [
        piece.name,
        piece.op,
        f"{piece.operations / 1e6:,.2f}",
        f"{piece.bytes / 1e3:,.1f}",
        f"{piece.intensity:.2f}",
        piece.bound,
        f"{piece.attainable_ms:.4f}",
        f"{100 * piece.share:.1f}",
        "-" if takes is None else f"{takes:.4f}",
        "-" if takes is None else f"{100 * piece.attainable_ms / takes:.0f}",
    ]
