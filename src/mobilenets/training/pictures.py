"""What a training looked like: curves, confusion, sample predictions. Where a person would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mobilenets.drawing import colour, figure, save_figure
from mobilenets.watching import Epoch


def curves(history: Sequence[Epoch], path: Path, title: str, *, metric: str = "top-1") -> None:
    """Loss and the metric over epochs."""
    made = figure(9, 3.6)
    loss, accuracy = made.subplots(1, 2)
    epochs = [line.epoch for line in history]
    marker = "o" if len(history) < 25 else ""
    loss.plot(
        epochs, [line.train_loss for line in history], label="training (augmented, smoothed)", marker=marker, ms=3
    )
    loss.plot(epochs, [line.val_loss for line in history], label="validation", marker=marker, ms=3)
    loss.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    loss.legend(frameon=False)
    top1 = [100 * line.val_score for line in history]
    best = int(np.argmax(top1))
    accuracy.plot(epochs, top1, marker=marker, ms=3, color="tab:green")
    accuracy.plot(epochs[best], top1[best], "*", ms=13, color="tab:green")
    accuracy.annotate(
        f"{top1[best]:.1f} %", (epochs[best], top1[best]), (0, -16), textcoords="offset points", ha="center"
    )
    accuracy.set(xlabel="epoch", ylabel=f"validation {metric}, %", ylim=(0, 102))
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    made.suptitle(title)
    save_figure(made, path)


def confusion(counts: NDArray[np.int64], classes: Sequence[str], path: Path) -> None:
    """True class (rows) against predicted class (columns), in percent of the true class."""
    n = len(classes)
    side = min(14.0, 3.0 + 0.45 * n)
    made = figure(side, side * 0.92)
    axes = made.subplots()
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    made.colorbar(image, ax=axes, shrink=0.8, label="% of the true class")
    if n <= 40:
        axes.set_xticks(range(n), classes, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), classes)
    if n <= 20:
        for i, j in np.argwhere(counts > 0):
            color = "white" if share[i, j] > 55 else "black"
            axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", color=color, fontsize=8)
    total, right = int(counts.sum()), int(np.trace(counts))
    axes.set(xlabel="predicted", ylabel="true", title=f"{right} of {total} right ({100 * right / max(total, 1):.1f} %)")
    save_figure(made, path)


def by_class(found: NDArray[np.float64], classes: Sequence[str], path: Path, *, metric: str) -> None:
    """A metric of each class on the validation images, best first; classes that no image has are named so."""
    order = np.argsort(-np.nan_to_num(found, nan=-1.0))
    made = figure(7, 1.2 + 0.28 * len(classes))
    axes = made.subplots()
    axes.barh(range(len(order)), [100 * np.nan_to_num(found[i]) for i in order], color="tab:green")
    for at, i in enumerate(order):
        text = "no image has it" if np.isnan(found[i]) else f"{100 * found[i]:.0f}"
        axes.text(100 * np.nan_to_num(found[i]) + 1, at, text, va="center", fontsize=8)
    axes.set_yticks(range(len(order)), [classes[i] for i in order])
    axes.invert_yaxis()
    axes.set(xlabel=f"{metric}, %", xlim=(0, 108), title=f"mean {100 * np.nanmean(found):.1f} %")
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(made, path)


class Pane(NamedTuple):
    """A picture of a sheet: uint8 h w 3, what it is, and boxes on it (x0 y0 x1 y1 in its pixels, class, text)."""

    image: NDArray[np.uint8]
    title: str
    boxes: tuple[tuple[tuple[float, ...], int, str], ...] = ()


def panes(rows: Sequence[Sequence[Pane]], path: Path, title: str, classes: Sequence[str]) -> None:
    """A sheet of pictures, a row an image, such as the truth beside what was found; classes by their colours."""
    from matplotlib.patches import Patch, Rectangle

    columns = max(map(len, rows))
    made = figure(columns * 3.0, 0.9 + len(rows) * 2.4)
    grid = made.subplots(len(rows), columns, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for line, row in zip(grid, rows, strict=True):
        for axes, pane in zip(line, row, strict=False):
            axes.imshow(pane.image[..., :3], interpolation="nearest")
            axes.set_title(pane.title, fontsize=7)
            for (x0, y0, x1, y1), number, text in pane.boxes:
                ink = _ink(number)
                axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=ink, lw=1.1))
                if text:
                    axes.text(x0, y0, text, fontsize=5, color="black", va="bottom", bbox=_ground(ink))
    shown = [Patch(color=_ink(i), label=name) for i, name in enumerate(classes)][:24]
    made.legend(handles=shown, loc="outside lower center", ncols=6, fontsize=7, frameon=False)
    made.suptitle(title, fontsize=10)
    save_figure(made, path)


def _ink(number: int) -> tuple[float, float, float]:
    red, green, blue = colour(number)
    return red / 255, green / 255, blue / 255


def _ground(ink: tuple[float, float, float]) -> dict[str, Any]:
    return {"facecolor": ink, "edgecolor": "none", "pad": 0.5, "alpha": 0.8}


def _judged(labels: NDArray[Any], probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether all that is said of an image is right: its class, or each of several."""
    if labels.ndim == 1:
        return np.asarray(probabilities.argmax(1) == labels)
    return np.asarray(((probabilities >= 0.5) == (labels > 0)).all(1))


def _said(label: Any, row: NDArray[np.float32], classes: Sequence[str], good: bool) -> str:
    """What the model says of an image, and what it is where that is wrong."""
    if np.ndim(label) == 0:
        said = f"{classes[int(row.argmax())]} {100 * row.max():.0f} %"
        return said if good else f"{said}\nis {classes[int(label)]}"
    said = "|".join(classes[i] for i in np.flatnonzero(row >= 0.5).tolist()) or "nothing"
    return said if good else f"{said}\nis {'|'.join(classes[i] for i in np.flatnonzero(label).tolist()) or 'nothing'}"


def samples(
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    path: Path,
    *,
    count: int = 24,
) -> None:
    """A sheet of validation images with what the model says; wrong ones first and in red, half of the sheet at most."""
    judged = _judged(labels, probabilities)
    generator = np.random.default_rng(0)
    wrong = generator.permutation(np.flatnonzero(~judged))[: count // 2]
    right = generator.permutation(np.flatnonzero(judged))[: count - len(wrong)]
    chosen = [*wrong, *right]
    columns = 8
    rows = max(1, -(-len(chosen) // columns))
    made = figure(columns * 1.5, rows * 1.85)
    grid = np.atleast_1d(made.subplots(rows, columns, squeeze=False)).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, i in zip(grid, chosen, strict=False):
        axes.imshow(images[i][..., :3], interpolation="nearest", cmap="gray")  # of four channels the first three
        good = bool(judged[i])
        axes.set_title(
            _said(labels[i], probabilities[i], classes, good), fontsize=8, color="black" if good else "firebrick"
        )
    share = float(judged.mean()) if len(labels) else 0.0
    made.suptitle(f"validation images: {len(wrong)} of the wrong ones (red) first; {share:.1%} of all are right")
    save_figure(made, path)
