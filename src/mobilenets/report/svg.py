"""Small vector pictures that take their colours from the page: axes, ticks, marks, lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

Shape = Literal["circle", "square", "triangle", "diamond"]
SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle", "diamond")

LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 44
"""Room around the axes for ticks and their names, in pixels."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to pixels: from `low` at `start` to `high` at `end`, on a line or on a log line."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixels of a value."""
        low, high, at = (
            (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return round(self.start + (self.end - self.start) * (at - low) / (high - low), 2)

    def ticks(self, most: int = 7) -> list[float]:
        """Round values inside: 1, 2 and 5 times powers of ten, as many as there is room for."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            found: list[float] = []
            for digits in ((1, 2, 5), (1, 3), (1,)):
                found = [d * 10.0**e for e in range(first, last + 1) for d in digits]
                found = [v for v in found if self.low <= v <= self.high]
                if len(found) <= most:
                    break
            return found
        step = _round_step((self.high - self.low) / most)
        count = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
        return [i * step for i in count]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(d * power for d in (1, 2, 5, 10) if d * power >= least * (1 - 1e-9))


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's size and its two scales."""

    width: float
    height: float
    x: Scale
    y: Scale


def frame(
    xs: Sequence[float],
    ys: Sequence[float],
    *,
    log_x: bool = False,
    from_zero: bool = False,
    top: float | None = None,
    width: float = 460,
    height: float = 330,
) -> Frame:
    """A frame that holds all points with some air around them.

    Args:
        xs: finite values; above 0 where `log_x`.
        ys: finite values.
        log_x: a log line across.
        from_zero: the vertical axis begins at 0.
        top: no tick goes above it, such as 100 for percents.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    low, high = min(xs), max(xs)
    if log_x:
        low, high = low / 1.15, high * 1.15
    else:
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    bottom, upper = min(ys), max(ys)
    air = 0.06 * (upper - bottom) or 0.05 * abs(upper) or 1.0
    bottom, upper = (0.0 if from_zero else bottom - air), upper + air
    upper = upper if top is None else min(upper, top * 1.03)
    return Frame(
        width, height, Scale(low, high, LEFT, width - RIGHT, log_x), Scale(bottom, upper, height - BOTTOM, TOP)
    )


def number(value: float) -> str:
    """A tick's text: `0.002`, `5`, `1e+06`."""
    return f"{value:.6g}"


def axes(box: Frame, x_words: str, y_words: str) -> Markup:
    """Grid, ticks and the axes' names."""
    left, right, low, high = box.x.start, box.x.end, box.y.start, box.y.end
    parts = []
    for value in box.x.ticks():
        parts.append(_line(box.x(value), low, box.x(value), high, "grid"))
        parts.append(text(box.x(value), low + 16, number(value), "tick middle"))
    for value in box.y.ticks():
        parts.append(_line(left, box.y(value), right, box.y(value), "grid"))
        parts.append(text(left - 6, box.y(value) + 4, number(value), "tick end"))
    parts.append(text((left + right) / 2, box.height - 6, x_words, "axis middle"))
    middle = (low + high) / 2
    parts.append(text(13, middle, y_words, "axis middle", turned=True))
    return Markup("").join(parts)


def _line(x0: float, y0: float, x1: float, y1: float, style: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x0, y0, x1, y1, style)


def upright(box: Frame, x: float, style: str, words: str) -> Markup:
    """A line over the whole height with its name along it."""
    at = box.x(x)
    name = Markup('<text transform="translate({} {}) rotate(-90)" class="{}">{}</text>')
    named = name.format(at - 5, box.y.start - 6, f"{style}-name", words)
    return _line(at, box.y.start, at, box.y.end, style) + named


def text(x: float, y: float, words: str, style: str, *, turned: bool = False) -> Markup:
    """Words at a place."""
    turn = Markup(' transform="rotate(-90 {} {})"').format(x, y) if turned else ""
    return Markup('<text x="{}" y="{}" class="{}"{}>{}</text>').format(round(x, 2), round(y, 2), style, turn, words)


def polyline(points: Iterable[tuple[float, float]], style: str) -> Markup:
    """A line through points that are pixels already."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return Markup('<polyline points="{}" class="{}"/>').format(path, style)


def mark(shape: Shape, x: float, y: float, size: float, style: str, title: str) -> Markup:
    """A mark with a text that appears where the pointer rests on it."""
    path = Markup('<path d="{}" class="{}"><title>{}</title></path>')
    return path.format(_outline(shape, x, y, size), style, title)


def _outline(shape: Shape, x: float, y: float, r: float) -> str:
    match shape:
        case "circle":
            return f"M{x - r:.2f} {y}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z"
        case "square":
            s = 0.88 * r
            return f"M{x - s:.2f} {y - s:.2f}h{2 * s:.2f}v{2 * s:.2f}h{-2 * s:.2f}z"
        case "triangle":
            return f"M{x} {y - 1.15 * r:.2f}l{1.1 * r:.2f} {1.95 * r:.2f}h{-2.2 * r:.2f}z"
        case "diamond":
            d = 1.25 * r
            return f"M{x} {y - d:.2f}l{d:.2f} {d:.2f}l{-d:.2f} {d:.2f}l{-d:.2f} {-d:.2f}z"


def star(x: float, y: float, size: float, title: str) -> Markup:
    """The winner."""
    corners = []
    for i in range(10):
        radius, angle = size * (1 if i % 2 == 0 else 0.42), math.pi * (i / 5 - 0.5)
        corners.append(f"{x + radius * math.cos(angle):.2f},{y + radius * math.sin(angle):.2f}")
    return Markup('<polygon points="{}" class="star"><title>{}</title></polygon>').format(" ".join(corners), title)


def picture(width: float, height: float, words: str, parts: Iterable[Markup], *, fixed: bool = False) -> Markup:
    """The whole picture; `fixed` keeps its size where others shrink with the window."""
    style = Markup(' style="width:{}px;max-width:none"').format(width) if fixed else ""
    whole = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}"{}>{}</svg>')
    return whole.format(width, height, words, style, Markup("").join(parts))
