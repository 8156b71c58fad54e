"""Figures without a display, written whole or not at all, and the colours of classes."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

from mobilenets.files import replacing

Colour = tuple[int, int, int]

_GOLDEN = 0.618034
_LEVELS = ((0.85, 1.0), (0.55, 1.0), (0.9, 0.7))
"""Saturation and value, in turns: neighbours in the list of classes differ in both, and in hue."""


def colour(number: int) -> Colour:
    """The colour of a class: the same in every picture, far from those of the classes beside it."""
    saturation, value = _LEVELS[number % len(_LEVELS)]
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def figure(width: float, height: float) -> Any:
    """A matplotlib figure that needs no display, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save_figure(made: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as temporary:
        made.savefig(temporary, dpi=110, format="png")
