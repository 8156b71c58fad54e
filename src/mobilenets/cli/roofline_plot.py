"""The picture of `mobilenets cost --roofline`: kernels under the roof, and where the time goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.costs.roofline import Ceilings, Kind, Piece, Roofline
from mobilenets.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours: told apart by the colour-blind too
LOOKS: dict[Kind, tuple[str, str, str]] = {
    "conv": ("#0072B2", "s", "convolution"),
    "depthwise": ("#D55E00", "o", "depthwise"),
    "pointwise": ("#009E73", "^", "pointwise"),
    "linear": ("#CC79A7", "D", "matrix x vector\n(classifier, 1x1 maps)"),
    "attention": ("#56B4E9", "P", "attention products"),
    "elementwise": ("#888888", "v", "elementwise,\npooling, scaling"),
}
"""Colour, mark and words of each kind of kernel."""


def write(found: Roofline, path: Path) -> None:
    """Draw a roofline into a file (.png, .svg, .pdf), which appears whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.75, 1))
    _roof(left, found)
    _bars(right, found)
    ceilings = found.ceilings
    figure.suptitle(
        f"{found.network}, one image, fp32 on {ceilings.device}, {ceilings.threads} thread"
        f"{'s' * (ceilings.threads > 1)}, {ceilings.runtime}",
        fontsize=11.5,
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())


def _roof(axes: Axes, found: Roofline) -> None:
    """Operations a second against operations a byte; a mark's area is its measured time."""
    seen = [piece for piece in found.pieces if piece.measured_gflops]
    shown = seen or [piece for piece in found.pieces if piece.operations]
    rates = [piece.measured_gflops or piece.attainable_gflops for piece in shown]
    low, high = min(p.intensity for p in shown) / 1.7, max(12, *(p.intensity for p in shown)) * 2.2
    _lines(axes, found.ceilings, low, high)
    longest = max(piece.measured_ms or piece.attainable_ms for piece in shown)
    for kind, (colour, mark, _) in LOOKS.items():
        chosen = [(p, rate) for p, rate in zip(shown, rates, strict=True) if p.kind == kind]
        axes.scatter(
            [p.intensity for p, _ in chosen],
            [rate for _, rate in chosen],
            s=[18 + 420 * (p.measured_ms or p.attainable_ms) / longest for p, _ in chosen],
            c=colour, marker=mark, alpha=0.75, edgecolors="white", linewidths=0.8, zorder=3,
        )  # fmt: skip
    _name_longest(axes, shown)
    how = "measured inside the network; area: its time" if seen else "at the roof; area: the time it could take"
    axes.set(
        xscale="log", yscale="log", xlim=(low, high), ylim=(min(rates) / 2, found.ceilings.gflops * 1.9),
        xlabel="operations a byte moved (weights, inputs, outputs)", ylabel="G operations a second (two a mac)",
        title=f"{len(shown)} kernels, {how}",
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(which="major", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _lines(axes: Axes, ceilings: Ceilings, low: float, high: float) -> None:
    """The roofs, each with its name along it."""
    ridge = ceilings.gflops / ceilings.memory_gbs
    axes.axvspan(ridge, high, color="0.965", zorder=0)
    axes.plot(
        [low, ridge, high],
        [low * ceilings.memory_gbs, ceilings.gflops, ceilings.gflops],
        color="black",
        lw=1.8,
        zorder=2,
    )
    inner = ceilings.gflops / ceilings.cache_gbs
    axes.plot([low, inner], [low * ceilings.cache_gbs, ceilings.gflops], color="black", lw=1, ls=(0, (5, 4)), zorder=2)
    axes.text(
        high / 1.05, ceilings.gflops * 1.06, f"compute: {ceilings.gflops:.0f} G operations/s", ha="right", va="bottom"
    )
    for speed, words in ((ceilings.memory_gbs, "memory"), (ceilings.cache_gbs, "cache")):
        at, turn = low * 1.25, math.degrees(math.atan(speed))
        axes.text(
            at, at * speed * 1.12, f"{words}: {speed:.0f} GB/s", rotation=turn, rotation_mode="anchor",
            transform_rotates_text=True, ha="left", va="bottom", fontsize=9,
        )  # fmt: skip
    axes.text(ridge * 1.04, 0.02, "held by compute →", transform=axes.get_xaxis_transform(), fontsize=8.5, color="0.35")
    axes.text(
        ridge / 1.04,
        0.02,
        "← held by memory",
        transform=axes.get_xaxis_transform(),
        fontsize=8.5,
        color="0.35",
        ha="right",
    )


def _name_longest(axes: Axes, shown: Sequence[Piece], count: int = 5) -> None:
    """Addresses of the kernels that take longest; of those that lie together, the first."""
    named: list[tuple[float, float]] = []
    for piece in sorted(shown, key=lambda p: -(p.measured_ms or p.attainable_ms))[:count]:
        rate = piece.measured_gflops or piece.attainable_gflops
        at = math.log(piece.intensity), math.log(rate)
        if any(abs(at[0] - x) < 1.0 and abs(at[1] - y) < 0.25 for x, y in named):
            continue
        named.append(at)
        axes.annotate(
            piece.name,
            (piece.intensity, rate),
            (0, -15),
            textcoords="offset points",
            fontsize=7.5,
            ha="center",
            color="0.2",
        )


def _bars(axes: Axes, found: Roofline) -> None:
    """Time by kind of kernel: what it could be, and what it is."""
    bars = [("at the roof,\nall from memory", {p.name: p.attainable_ms for p in found.pieces})]
    if found.kernels_ms:
        bars.append(("measured", {p.name: p.measured_ms or 0.0 for p in found.pieces}))
    bars.append(("at the roof,\nall from a cache", {p.name: p.cached_ms for p in found.pieces}))
    tallest = max(sum(times.values()) for _, times in bars)
    for at, (_, times) in enumerate(bars):
        bottom, total = 0.0, sum(times.values())
        for kind, (colour, _, _) in LOOKS.items():
            part = sum(times[p.name] for p in found.pieces if p.kind == kind)
            if part <= 0:
                continue
            axes.bar(at, part, 0.74, bottom=bottom, color=colour, alpha=0.85, edgecolor="white", linewidth=1)
            if part > 0.035 * tallest:
                axes.text(
                    at, bottom + part / 2, f"{part:.2f}, {part / total:.0%}", ha="center", va="center", fontsize=9
                )
            bottom += part
        axes.text(at, bottom, f"{total:.2f} ms", ha="center", va="bottom", fontweight="bold")
    whole = f"; a whole run: {found.measured_ms:.2f} ms" if found.measured_ms else ""
    whole += "" if found.agrees else " (the machine was busy)"
    axes.set(
        xticks=range(len(bars)), xticklabels=[name for name, _ in bars], ylabel="ms, summed over kernels",
        xlim=(-0.5, len(bars) - 0.5), ylim=(0, tallest * 1.09), title=f"where the time goes{whole}",
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    used = {p.kind for p in found.pieces}
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=mark, ls="none", ms=8, label=words)
        for kind, (colour, mark, words) in LOOKS.items()
        if kind in used
    ]
    axes.legend(handles=handles[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
