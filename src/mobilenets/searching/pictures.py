"""What a search looked at, as a picture: every network that was scored, the front, and what became of the chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mobilenets.drawing import figure, save_figure
from mobilenets.search import Trial, pareto_front

if TYPE_CHECKING:
    from mobilenets.searching.finishing import Found
    from mobilenets.searching.job import Job


def draw_front(job: Job, trials: Sequence[Trial], found: Sequence[Found]) -> None:
    """Accuracy against cost: by shared weights, after the proxy training, after the full one."""
    state, limits = job.state, [v for v in asdict(job.costs.budget).values() if v is not None]
    limit_ms = job.costs.budget.latency_ms if len(limits) == 1 else None  # a load of several limits is no time
    unit = 1.0 if limit_ms is None else limit_ms
    made = figure(9, 5.4)
    axes = made.subplots()
    front = pareto_front(trials, lambda t: (t.accuracy, t.load))
    xs, ys = [unit * t.load for t in trials], [100 * t.accuracy for t in trials]
    axes.scatter(xs, ys, s=9, color="lightgray", label=f"{len(trials)} networks by shared weights")
    axes.plot(
        [unit * t.load for t in front], [100 * t.accuracy for t in front], "-", color="gray", lw=1,
        label="their front (predicted cost)",
    )  # fmt: skip
    loads = {name: job.costs.load(job.space.network(point)) for name, point in state.chosen.items()}
    measured_ms = {} if limit_ms is None else state.measured_ms
    at = {name: measured_ms.get(name, unit * load) for name, load in loads.items()}
    for rung, marker, colour, label in (
        ("shared", "o", "tab:blue", "chosen: by shared weights"),
        ("proxy", "^", "tab:orange", "after the proxy training"),
    ):
        scores = {name: score for name, score in state.rung(rung).items() if name in at}
        axes.scatter(
            [at[name] for name in scores], [100 * s for s in scores.values()], s=34, marker=marker, color=colour,
            label=label,
        )  # fmt: skip
    full = state.rung("full")
    places = [(each.latency.median_ms if limit_ms is not None else at[each.name], full[each.name]) for each in found]
    axes.scatter(
        [x for x, _ in places], [100 * y for _, y in places], s=150, marker="*", color="tab:green", zorder=3,
        label="after the full training",
    )  # fmt: skip
    axes.axvline(unit, color="firebrick", lw=1, ls="--", label=f"budget {job.costs.budget.text}")
    words = "part of the budget" if limit_ms is None else "latency of one image, ms (chosen ones: measured)"
    axes.set(xlabel=words, ylabel=f"{job.metric} on validation images, %")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    made.suptitle(f"search, {job.costs.budget.text}: {job.folder.task}", fontsize=11)
    save_figure(made, job.run / "front.png")
