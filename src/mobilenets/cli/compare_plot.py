"""The picture of `mobilenets compare --plot`: macs against published top-1, one line per family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mobilenets.costs import cost
from mobilenets.errors import MisuseError
from mobilenets.table import Network, scale
from mobilenets.zoo import INDEX
from mobilenets.zoo.published import PUBLISHED, Published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito's colours: told apart by the colour-blind too
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
_MARKERS = "osD^vP*X"


class Point(NamedTuple):
    """One published result at its counted macs: printed macs have misprints."""

    width: float
    resolution: int
    macs_m: float
    top1: float


class Label(NamedTuple):
    """A text that wants to stand near a point."""

    text: str
    x: float
    y: float
    colour: str


def write(networks: Sequence[Network], path: Path) -> None:
    """Draw every published result of some networks into a file, which appears whole or not at all.

    Raises:
        MisuseError: a file name of another format, or no network with a published accuracy.
    """
    if path.suffix.lower() not in FORMATS:
        raise MisuseError(f"--plot {path}: pictures are written as {', '.join(FORMATS)}.")
    series = {net.name: points(net.name) for net in networks}
    series = {name: found for name, found in series.items() if found}
    if not series:
        raise MisuseError("none of these networks has a published accuracy to draw: `mobilenets list` names some.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    _draw(figure.add_subplot(), series)
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format=path.suffix[1:].lower())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def points(name: str) -> list[Point]:
    """A network's published results, each at its counted macs."""
    return [_point(p) for p in PUBLISHED if p.network == name]


def _point(published: Published) -> Point:
    counted = cost(scale(INDEX[published.network], published.width, published.resolution))
    return Point(published.width, published.resolution, counted.macs / 1e6, published.top1)


def _draw(axes: Axes, series: dict[str, list[Point]]) -> None:
    labels: list[Label] = []
    for i, (name, found) in enumerate(series.items()):
        labels += _draw_family(axes, name, found, _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)])
    axes.set_xscale("log")
    axes.margins(0.08)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(which="both", color="0.93")
    axes.set_axisbelow(True)
    axes.set_xlabel("multiply-accumulates, millions (counted; log scale)")
    axes.set_ylabel("ImageNet top-1, % (published)")
    axes.set_title(
        "Labels: width multiplier, @resolution. Solid: widths at the printed resolution; dotted: resolutions at "
        "width 1; faint: widths at other resolutions",
        fontsize=8, loc="left",
    )  # fmt: skip
    axes.legend(loc="lower right", fontsize=8)
    _place(axes, labels, [point for found in series.values() for point in found])


def _draw_family(axes: Axes, name: str, found: list[Point], colour: str, marker: str) -> list[Label]:
    main = INDEX[name].resolution
    for resolution in sorted({p.resolution for p in found} - {main}):
        _line(axes, [p for p in found if p.resolution == resolution], colour, marker, "-", faint=True)
    _line(axes, _sorted([p for p in found if p.width == 1.0]), colour, marker, ":")
    _line(axes, [p for p in found if p.resolution == main], colour, marker, "-", name=name)
    if len(found) == 1:
        return [Label(name, found[0].macs_m, found[0].top1, colour)]
    widths = [Label(f"{p.width:g}", p.macs_m, p.top1, colour) for p in found if p.resolution == main]
    return widths + [
        Label(f"@{p.resolution}", p.macs_m, p.top1, colour) for p in found if p.resolution != main and p.width == 1.0
    ]


def _sorted(found: list[Point]) -> list[Point]:
    return sorted(found, key=lambda p: p.macs_m)


def _line(
    axes: Axes, found: list[Point], colour: str, marker: str, style: str, *, faint: bool = False, name: str = ""
) -> None:
    along = _sorted(found)
    axes.plot(
        [p.macs_m for p in along], [p.top1 for p in along], style, color=colour, marker=marker,
        markersize=3 if faint else 5.5, linewidth=0.8 if faint else 1.5, alpha=0.35 if faint else 1.0,
        label=name or None, zorder=2 if faint else 3,
    )  # fmt: skip


# where a label may stand, in points from its point, the best first
_OFFSETS = ((-6, 5), (6, -9), (-6, -9), (6, 5), (0, 8), (0, -13), (9, -2), (-9, -2), (-12, 11), (12, -16))


def _place(axes: Axes, labels: Sequence[Label], found: Sequence[Point]) -> None:
    """Put every label where it covers no point, no legend and no other label; one that fits nowhere is left out."""
    figure = axes.figure
    figure.draw_without_rendering()
    legend = axes.get_legend()
    taken = [] if legend is None else [legend.get_window_extent()]
    dots = [axes.transData.transform((p.macs_m, p.top1)) for p in found]

    def free(box: Bbox) -> bool:
        inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and axes.bbox.y0 < box.y0 and box.y1 < axes.bbox.y1
        clear = not any(box.padded(3).contains(x, y) for x, y in dots)
        return inside and clear and not any(box.overlaps(other) for other in taken)

    for label in labels:
        box = _first_free(axes, label, free)
        if box is not None:
            taken.append(box)


def _first_free(axes: Axes, label: Label, free: Callable[[Bbox], bool]) -> Bbox | None:
    for dx, dy in _OFFSETS:
        text = axes.annotate(
            label.text, (label.x, label.y), (dx, dy), textcoords="offset points", fontsize=7.5, color=label.colour,
            ha="right" if dx < 0 else "left" if dx > 0 else "center",
        )  # fmt: skip
        text.set_in_layout(False)  # the layout was fixed before labels were placed
        box = text.get_window_extent()
        if free(box):
            return box
        text.remove()
    return None
