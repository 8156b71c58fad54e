"""The way down as a picture: what accuracy each millisecond costs, and which layers gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mobilenets.adapting.trajectory import Kept, changed_rows
from mobilenets.drawing import figure, save_figure


def draw(
    way: Sequence[Kept],
    path: Path,
    title: str,
    *,
    metric: str,
    limit_ms: float | None = None,
    tuned: tuple[float, float] | None = None,
) -> None:
    """Two panels: the metric against measured latency, step by step; the widths of every row before and after.

    Args:
        way: kept networks, the start first.
        path: the PNG.
        title: above both.
        metric: what the score is called.
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
            str(kept.number), (kept.measured_ms, 100 * kept.val), (0, 6), textcoords="offset points", fontsize=7,
            ha="center", color="tab:blue",
        )  # fmt: skip
    score.set(xlabel="measured latency of one image, ms", ylabel=f"{metric} on validation images, %")
    score.grid(alpha=0.3)
    score.legend(frameon=False, fontsize=8, loc="lower right")
    names = [name for name, _, _ in widths]
    rows.barh(names, [before for _, before, _ in widths], color="lightgray", height=0.78, label="before")
    rows.barh(names, [after for _, _, after in widths], color="tab:blue", height=0.5, label="after")
    most = max((before for _, before, _ in widths), default=1)
    for i, (_, before, after) in enumerate(widths):
        told, colour = (f"{before} → {after}", "black") if after != before else (f"{before}", "gray")
        rows.text(before + 0.01 * most, i, told, va="center", fontsize=7, color=colour)
    rows.set(xlabel="channels", xlim=(0, 1.18 * most))
    rows.tick_params(axis="y", labelsize=8)
    rows.invert_yaxis()
    rows.legend(frameon=False, fontsize=8, loc="lower right")
    for axes in (score, rows):
        axes.spines[["top", "right"]].set_visible(False)
    made.suptitle(title, fontsize=11)
    save_figure(made, path)
