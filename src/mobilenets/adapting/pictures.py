"""The way down as a picture: what accuracy each millisecond costs, and which layers gave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mobilenets.adapting.trajectory import Kept, changed_rows
from mobilenets.drawing import figure, save_figure
from mobilenets.metrics import SPOKEN


def draw(
    way: Sequence[Kept],
    path: Path,
    title: str,
    *,
    metric: str,
    images: int,
    limit_ms: float | None = None,
    tuned: tuple[float, float] | None = None,
) -> None:
    """Two panels: the metric against measured latency, step by step; the widths of every row before and after.

    Args:
        way: kept networks, the start first.
        path: the PNG.
        title: above both.
        metric: what the score is called.
        images: validation images that it is of.
        limit_ms: of the budget.
        tuned: (latency, score on the same images) after the long fine-tuning.
    """
    widths = changed_rows(way[0].network, way[-1].network)
    made = figure(12, max(4.6, 1.5 + 0.2 * len(widths)))
    score, rows = made.subplots(1, 2, width_ratios=(1.1, 1))
    times = [kept.measured_ms for kept in way]
    values = [100 * kept.val for kept in way]
    score.plot(times, values, "-o", ms=4, color="tab:blue", lw=1, label="after each step's short fine-tuning")
    score.plot(times[0], values[0], "s", ms=9, color="black", label="start")
    if tuned is not None:
        score.plot(tuned[0], 100 * tuned[1], "*", ms=15, color="tab:green", label="after the long fine-tuning")
    if limit_ms is not None:
        score.axvline(limit_ms, color="firebrick", lw=1, ls="--", label=f"budget {limit_ms:g} ms")
    every = max(1, len(way) // 8)
    for kept in way[every::every]:
        score.annotate(
            str(kept.number), (kept.measured_ms, 100 * kept.val), (-4, 5), textcoords="offset points", fontsize=7,
            ha="right", color="tab:blue",
        )  # fmt: skip
    chance = ""
    if metric == SPOKEN["classify"]:  # counted images: what another draw of them would change
        chance = f" (standard error {100 * math.sqrt(way[-1].val * (1 - way[-1].val) / images):.1f})"
    score.set(xlabel="measured latency of one image, ms", ylabel=f"{metric} on {images} validation images, %{chance}")
    score.grid(alpha=0.3)
    score.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=2)
    names = [name for name, _, _ in widths]
    rows.barh(names, [100.0] * len(names), color="whitesmoke", height=0.8)
    rows.barh(
        names, [100 * after / before for _, before, after in widths], height=0.55,
        color=["tab:blue" if after != before else "lightgray" for _, before, after in widths],
    )  # fmt: skip
    for i, (_, before, after) in enumerate(widths):
        told, ink = (f"{before} → {after}", "black") if after != before else (f"{before}", "gray")
        rows.text(102, i, told, va="center", fontsize=7.5, color=ink)
    rows.set(xlabel="channels that are left, % of the start's", xlim=(0, 124), xticks=range(0, 101, 20))
    rows.tick_params(axis="y", labelsize=8)
    rows.invert_yaxis()
    for axes in (score, rows):
        axes.spines[["top", "right"]].set_visible(False)
    made.suptitle(title, fontsize=11)
    save_figure(made, path)
