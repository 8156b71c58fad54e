"""Figures without a display, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilenets.files import replacing


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
