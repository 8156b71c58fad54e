"""The picture of `mobilenets compare --plot`: macs against published top-1, one line per family."""

from __future__ import annotations

import itertools
import math
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
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vP"
_LONELY = "#444444"
"""Colour of networks with one published result: they are named where they stand, not in the legend."""

_KEY = (
    "Labels: width multiplier, @resolution. Solid: widths at the printed resolution; dotted: resolutions at width 1; "
    "faint: widths at other resolutions"
)

# where a label may stand, in points from its point, the best first; from the far ones a line leads to the point
_NEAR = ((-6, 7), (6, -7), (-6, -7), (6, 7), (0, 10), (0, -10), (9, 0), (-9, 0))
_FAR = tuple(
    (x, y)
    for d in (14, 20, 28, 45, 80, 130)
    for x, y in ((d, -d), (-d, d), (d, -d // 2), (-d, d // 2), (0, -d), (0, d))
)

Pixel = tuple[float, float]


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
    families = {name: found for name, found in series.items() if len(found) > 1}
    for i, (name, found) in enumerate(families.items()):
        labels += _draw_family(axes, name, found, _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)])
    for name, found in series.items():
        if name not in families:
            _line(axes, found, _LONELY, "h", "")
            labels.append(Label(name, found[0].macs_m, found[0].top1, _LONELY))
    axes.set_xscale("log")
    axes.margins(0.08)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(which="both", color="0.93")
    axes.set_axisbelow(True)
    axes.set_xlabel("multiply-accumulates, millions (counted; log scale)")
    axes.set_ylabel("ImageNet top-1, % (published)")
    if families:
        axes.set_title(_KEY, fontsize=8, loc="left")
        axes.legend(loc="lower right", fontsize=8)
    _place(axes, labels, [point for found in series.values() for point in found])


def _draw_family(axes: Axes, name: str, found: list[Point], colour: str, marker: str) -> list[Label]:
    main = INDEX[name].resolution
    for resolution in sorted({p.resolution for p in found} - {main}):
        _line(axes, [p for p in found if p.resolution == resolution], colour, marker, "-", faint=True)
    _line(axes, [p for p in found if p.width == 1.0], colour, marker, ":")
    _line(axes, [p for p in found if p.resolution == main], colour, marker, "-", name=name)
    widths = [Label(f"{p.width:g}", p.macs_m, p.top1, colour) for p in found if p.resolution == main]
    smaller = [p for p in found if p.resolution != main and p.width == 1.0]
    return widths + [Label(f"@{p.resolution}", p.macs_m, p.top1, colour) for p in smaller]


def _line(
    axes: Axes, found: list[Point], colour: str, marker: str, style: str, *, faint: bool = False, name: str = ""
) -> None:
    along = sorted(found, key=lambda p: p.macs_m)
    axes.plot(
        [p.macs_m for p in along], [p.top1 for p in along], style, color=colour, marker=marker,
        markersize=3 if faint else 5.5, linewidth=0.8 if faint else 1.5, alpha=0.3 if faint else 1.0,
        label=name or None, zorder=2 if faint else 3,
    )  # fmt: skip


def _place(axes: Axes, labels: Sequence[Label], found: Sequence[Point]) -> None:
    """Put every label where it covers no point, no strong line, no legend and no other label; else leave it out."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    legend = axes.get_legend()
    taken = [] if legend is None else [legend.get_window_extent()]
    dots = [_pixel(axes, p.macs_m, p.top1) for p in found]
    ink = [*dots, *_ink(axes)]

    def free(box: Bbox, at: Pixel, *, led: bool) -> bool:
        inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and axes.bbox.y0 < box.y0 and box.y1 < axes.bbox.y1
        near, padded = math.dist(_middle(box), at), box.padded(3)
        if not inside or any(box.overlaps(other) for other in taken) or any(padded.contains(x, y) for x, y in ink):
            return False
        if led:
            return not any(other.contains(x, y) for other in taken for x, y in _between(_middle(box), at))
        return all(math.dist(_middle(box), dot) >= near for dot in dots)  # else it would name a neighbour

    for label in sorted(labels, key=lambda label: label.colour != _LONELY):  # names are long: few places fit
        box = _first_free(axes, label, free)
        if box is not None:
            taken.append(box)
            ink += _between(_middle(box), _pixel(axes, label.x, label.y))


def _ink(axes: Axes) -> list[Pixel]:
    """Points along every line that is not faint, in pixels."""
    import numpy as np

    along: list[Pixel] = []
    for line in axes.lines:
        if line.get_alpha() != 1.0:
            continue
        corners = [_pixel(axes, x, y) for x, y in np.asarray(line.get_xydata())]
        for start, end in itertools.pairwise(corners):
            along += _between(start, end)
    return along


def _between(start: Pixel, end: Pixel) -> list[Pixel]:
    """Points every four pixels from one to another."""
    (x0, y0), (x1, y1) = start, end
    steps = max(int(math.dist(start, end) / 4), 1)
    return [(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(steps)]


def _pixel(axes: Axes, x: float, y: float) -> Pixel:
    across, up = axes.transData.transform((x, y))
    return float(across), float(up)


def _middle(box: Bbox) -> Pixel:
    return (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2


def _first_free(axes: Axes, label: Label, free: Callable[..., bool]) -> Bbox | None:
    from matplotlib.text import Text

    at = _pixel(axes, label.x, label.y)
    reach = 130 if label.colour == _LONELY else 30  # a name must stand somewhere; a number may be left out
    for dx, dy in (*_NEAR, *(offset for offset in _FAR if math.hypot(*offset) <= 1.5 * reach)):
        led = (dx, dy) in _FAR
        text = axes.annotate(
            label.text, (label.x, label.y), (dx, dy), textcoords="offset points", fontsize=7.5, color=label.colour,
            ha="right" if dx < 0 else "left" if dx > 0 else "center", va="center",
            arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.5, "shrinkA": 1} if led else None,
        )  # fmt: skip
        text.set_in_layout(False)  # the layout was fixed before labels were placed
        text.get_window_extent()  # puts the text where its offset says
        box = Text.get_window_extent(text)  # of the text alone, without the line that leads to it
        if free(box, at, led=led):
            return box
        text.remove()
    return None
