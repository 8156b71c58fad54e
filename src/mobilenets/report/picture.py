"""One page: what could be built, what fits, what was tried on the user's images, what won."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilenets.drawing import figure, save_figure
from mobilenets.metrics import SPOKEN
from mobilenets.report.words import expected, searched, short, words


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw `report.json`: left what the tables promise, right what the user's images said."""
    made = figure(12.5, 6.2)
    left, right = made.subplots(1, 2)
    candidates, winner, limit = report["candidates"], report["winner"], report["budget"].get("latency_ms")
    colors = _colors(candidates)
    _promises(left, candidates, winner, limit, colors, words(report["task"]).public)
    metric = SPOKEN[report["task"]]
    _tried(right, candidates, winner, limit, colors, metric)
    made.suptitle(
        f"{winner['network']} x{winner['width']:g} at {winner['resolution']} px: {metric} {winner['metric']:.1%} on "
        f"{report['data']['val_images']} validation images, {winner['latency_ms']:.2f} ms, "
        f"{winner['file_bytes'] / 1e6:.2f} MB\n"
        f"budget: {report['budget']['text']}; {report['device']['name']}, {report['device']['runtime']}, "
        f"{report['device']['threads']} thread",
        fontsize=11,
    )
    save_figure(made, path)


def _colors(candidates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A colour for every family, in the order of the grid."""
    import matplotlib

    names = list(dict.fromkeys(c["network"] for c in candidates))
    palette = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    return {name: palette[i % len(palette)] for i, name in enumerate(names)}


def _latency(candidate: Mapping[str, Any]) -> float:
    measured = candidate["measured_ms"]
    return float(measured if measured is not None else candidate["predicted_ms"])


def _promises(
    axes: Any,
    candidates: Sequence[Mapping[str, Any]],
    winner: Mapping[str, Any],
    limit: float | None,
    colors: Mapping[str, Any],
    public: str,
) -> None:
    """All candidates: expected accuracy against latency; full marks are measured, hollow ones predicted."""
    for name, color in colors.items():
        axes.scatter([], [], s=26, color=color, label=short(name))
        of_family = [c for c in candidates if c["network"] == name]
        for measured in (True, False):
            points = [c for c in of_family if (c["measured_ms"] is not None) == measured]
            axes.scatter(
                [_latency(c) for c in points],
                [expected(c) for c in points],
                s=26 if measured else 12,
                facecolors=color if measured else "none",
                edgecolors=color,
                alpha=0.95 if measured else 0.4,
                linewidths=0.8,
            )
    line = sorted((c for c in candidates if c["status"] in ("front", "tried", "winner")), key=_latency)
    axes.plot([_latency(c) for c in line], [expected(c) for c in line], "-", color="0.35", lw=1, zorder=0)
    chosen = next(c for c in candidates if c["status"] == "winner")
    axes.plot(winner["latency_ms"], expected(chosen), "*", ms=20, mec="black", mfc="gold", zorder=5)
    _budget_line(axes, limit)
    axes.set(
        xscale="log",
        xlabel="latency of one image, ms (filled: measured; hollow: predicted)",
        ylabel=f"{public} of the table, % (published or interpolated)",
        title=f"{len(candidates)} candidates; the line is the front that fits",
    )
    axes.legend(frameon=False, fontsize=8, loc="lower right", title="MobileNet", title_fontsize=8)
    _tidy(axes)


def _tried(
    axes: Any,
    candidates: Sequence[Mapping[str, Any]],
    winner: Mapping[str, Any],
    limit: float | None,
    colors: Mapping[str, Any],
    metric: str,
) -> None:
    """Accuracy on the user's validation images after the short search, and the winner after its long training."""
    tried = sorted((c for c in candidates if searched(c) is not None), key=_latency)
    for number, c in enumerate(tried, 1):
        x, y = _latency(c), 100 * searched(c)
        name = f"{number}  {short(c['network'])} {c['width']:g} @{c['resolution']}: {y:.1f} %"
        axes.scatter(x, y, s=36, color=colors[c["network"]], label=name)
        axes.annotate(str(number), (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    x, y = winner["latency_ms"], 100 * winner["metric"]
    axes.plot(
        x, y, "*", ms=20, mec="black", mfc="gold", zorder=5, label=f"the winner, trained to the end: {y:.1f} %", ls=""
    )
    before = next((100 * searched(c) for c in tried if c["status"] == "winner"), None)
    if before is not None:
        axes.annotate("", (x, y), (x, before), arrowprops={"arrowstyle": "->", "color": "0.5"})
    _budget_line(axes, limit)
    xs = [_latency(c) for c in tried] + [x] + ([limit] if limit is not None else [])
    axes.set(
        xscale="log",
        xlim=(min(xs) / 1.8, max(xs) * 1.8),
        ylim=(0, 104),
        xlabel="measured latency of one image, ms",
        ylabel=f"{metric} on the validation images, %",
        title=f"{len(tried)} tried on these images, equal time each round" if tried else "the winner on these images",
    )
    axes.legend(fontsize=8, loc="best", markerscale=0.6, framealpha=0.9)
    _tidy(axes)


def _budget_line(axes: Any, limit: float | None) -> None:
    if limit is None:
        return
    axes.axvline(limit, color="firebrick", lw=1.2, ls="--")
    axes.text(
        limit, 0.02, f" budget {limit:g} ms", color="firebrick", fontsize=8, rotation=90, ha="right", va="bottom",
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip


def _tidy(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
