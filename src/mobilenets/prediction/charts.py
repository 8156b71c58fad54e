"""Pictures of a score: precision-recall curves, bars of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.drawing import figure, save_figure
from mobilenets.metrics.detection import RECALLS, DetectionScores
from mobilenets.metrics.segmentation import SegmentationScores

CURVES = 20
"""Classes whose curves are drawn: those with the most objects."""


def precision_recall(found: DetectionScores, path: Path) -> None:
    """Precision over recall at IoU 0.5 of each class that has objects, and their mean."""
    made = figure(8, 5)
    axes = made.subplots()
    there = [int(i) for i in np.argsort(-found.objects, kind="stable") if found.objects[i]]
    for at, i in enumerate(there[:CURVES]):
        label = f"{found.classes[i]} {100 * found.class_ap50[i]:.1f} ({found.objects[i]})"
        axes.plot(RECALLS, found.precision[i], lw=1.2, color=_colour(at), ls="-" if at < 10 else "--", label=label)
    if there:
        axes.plot(RECALLS, found.precision[there].mean(0), lw=2.5, color="black", label=f"mean {100 * found.ap50:.1f}")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), title="AP50, % (objects)")
    more = f", the {CURVES} largest classes of {len(there)}" if len(there) > CURVES else ""
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"AP {100 * found.ap:.1f} %, AP50 {100 * found.ap50:.1f} %, AP75 {100 * found.ap75:.1f} %{more}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(made, path)


def class_iou(found: SegmentationScores, path: Path) -> None:
    """Intersection over union of each class, best first; classes that neither truth nor prediction has are left out."""
    title = f"mIoU {100 * found.miou:.1f} %, pixel accuracy {100 * found.accuracy:.1f} %"
    _bars(found.iou, found.classes, "intersection over union, %", title, path)


def _bars(values: NDArray[np.float64], classes: Sequence[str], xlabel: str, title: str, path: Path) -> None:
    order = [int(i) for i in np.argsort(-values, kind="stable") if np.isfinite(values[i])]
    made = figure(7, 1.2 + 0.28 * max(1, len(order)))
    axes: Any = made.subplots()
    axes.barh(range(len(order)), [100 * values[i] for i in order], color="tab:green")
    for at, i in enumerate(order):
        axes.text(100 * values[i] + 1, at, f"{100 * values[i]:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(order)), [classes[i] for i in order])
    axes.invert_yaxis()
    axes.set(xlabel=xlabel, xlim=(0, 108), title=title)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(made, path)


def _colour(at: int) -> str:
    return f"C{at % 10}"
