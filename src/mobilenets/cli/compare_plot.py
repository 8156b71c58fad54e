"""The picture of `mobilenets compare --plot`: published top-1 against macs, and against latency measured here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mobilenets.errors import MisuseError
from mobilenets.files import replacing
from mobilenets.zoo import GROUPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito's colours and two more: told apart by the colour-blind too
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#8C510A",
    "#7F7F7F",
    "#5E3C99",
)
_MARKERS = "osD^vPhX*p"

# where a label may stand, in points from its point, the best first; from the far ones a line leads to the point
_NEAR = ((-6, 7), (6, -7), (-6, -7), (6, 7), (0, 10), (0, -10), (9, 0), (-9, 0))
_FAR = tuple(
    (x, y)
    for d in (14, 20, 28, 45, 80, 130)
    for x, y in ((d, -d), (-d, d), (d, -d // 2), (-d, d // 2), (0, -d), (0, d))
)

Pixel = tuple[float, float]


class Point(NamedTuple):
    """One network: counted macs (printed ones have misprints), measured latency, published accuracy."""

    name: str
    macs_m: float
    latency_ms: float
    top1: float


class Label(NamedTuple):
    """A text that wants to stand near a point."""

    text: str
    x: float
    y: float
    colour: str


def check_path(path: Path) -> None:
    """Refuse a file name before anything is measured for it.

    Raises:
        MisuseError: a suffix of no picture format.
    """
    if path.suffix.lower() not in FORMATS:
        raise MisuseError(f"--plot {path}: pictures are written as {', '.join(FORMATS)}.")


def write(points: Sequence[Point], path: Path, device: str) -> None:
    """Draw networks into a file, which appears whole or not at all; `device` says what the latencies hold for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    labels = [
        _draw(left, points, lambda p: p.macs_m, "multiply-accumulates, millions (counted; log scale)"),
        _draw(
            right, points, lambda p: p.latency_ms, f"latency of one image, ms (measured, median; log scale)\n{device}"
        ),
    ]
    left.set_ylabel("ImageNet top-1, % (published, each by its own recipe)")
    left.legend(loc="lower right", fontsize=8, framealpha=1)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed in pixels: nothing may move after them
    for axes, found in zip((left, right), labels, strict=True):
        _place(axes, found)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())


def _draw(axes: Axes, points: Sequence[Point], across: Callable[[Point], float], words: str) -> list[Label]:
    """One panel: a line per group of networks; returns the labels that its points want."""
    labels: list[Label] = []
    for i, (group, members) in enumerate(GROUPS.items()):
        names = {network.name for network in members}
        found = sorted((p for p in points if p.name in names), key=across)
        if not found:
            continue
        colour = _COLOURS[i % len(_COLOURS)]
        xs, ys = [across(p) for p in found], [p.top1 for p in found]
        style = "none" if group == "others" else "-"
        marker = _MARKERS[i % len(_MARKERS)]
        axes.plot(xs, ys, linestyle=style, linewidth=1, color=colour, marker=marker, markersize=6, label=group)
        prefix = _common([p.name for p in found]) if len(found) > 1 else ""
        labels += [Label(p.name.removeprefix(prefix) or p.name, across(p), p.top1, colour) for p in found]
    axes.set_xscale("log")
    axes.margins(0.09)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(which="both", color="0.93")
    axes.set_axisbelow(True)
    axes.set_xlabel(words)
    return labels


def _common(names: Sequence[str]) -> str:
    """What all names of a group begin with, in whole words: the legend says it already."""
    words = [name.split("_") for name in names]
    shared = [w[0] for w in itertools.takewhile(lambda w: len(set(w)) == 1, zip(*words, strict=False))]
    return "".join(f"{word}_" for word in shared)


def _place(axes: Axes, labels: Sequence[Label]) -> None:
    """Put every label where it covers no point, no line, no legend and no other label; else leave it out."""
    legend = axes.get_legend()
    taken = [] if legend is None else [legend.get_window_extent()]
    dots = [_pixel(axes, label.x, label.y) for label in labels]
    ink = [*dots, *_ink(axes)]

    def free(box: Bbox, at: Pixel, *, led: bool) -> bool:
        inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and axes.bbox.y0 < box.y0 and box.y1 < axes.bbox.y1
        near, padded = math.dist(_middle(box), at), box.padded(3)
        if not inside or any(box.overlaps(other) for other in taken) or any(padded.contains(x, y) for x, y in ink):
            return False
        if led:
            return not any(other.contains(x, y) for other in taken for x, y in _between(_middle(box), at))
        return all(math.dist(_middle(box), dot) >= near for dot in dots)  # else it would name a neighbour

    for label in sorted(labels, key=lambda label: -len(label.text)):  # for long names few places fit
        box = _first_free(axes, label, free)
        if box is not None:
            taken.append(box)
            ink += _between(_middle(box), _pixel(axes, label.x, label.y))


def _ink(axes: Axes) -> list[Pixel]:
    """Points along every line, in pixels."""
    import numpy as np

    along: list[Pixel] = []
    for line in axes.lines:
        if line.get_linestyle() == "None":
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
    for dx, dy in (*_NEAR, *_FAR):
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
