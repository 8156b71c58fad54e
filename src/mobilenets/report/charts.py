"""The pictures of a report as SVG: candidates, what was tried, training curves, confusion, noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mobilenets.metrics import METRICS, SPOKEN
from mobilenets.report import svg
from mobilenets.report.svg import SHAPES
from mobilenets.report.words import expected, searched, short, words

COLOURS = 10
"""How many colours the page's style has for families (`k0` to `k9`)."""
LIST_MARKS = ("enlarged", "over")
"""Status of candidates that are drawn faintly: they were out of the question."""
NUMBERS = 20
"""Classes up to which the confusion matrix shows its numbers."""


def _finite(*values: Any) -> bool:
    return all(isinstance(v, int | float) and math.isfinite(v) for v in values)


def _latency(candidate: Mapping[str, Any]) -> Any:
    measured = candidate.get("measured_ms")
    return candidate.get("predicted_ms") if measured is None else measured


def families(candidates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every family with its colour and shape, in the order of the candidates."""
    names = list(dict.fromkeys(str(c.get("network")) for c in candidates))
    return [
        {
            "name": name,
            "short": short(name),
            "style": f"k{i % COLOURS}",
            "shape": SHAPES[(i + i // COLOURS) % len(SHAPES)],
        }
        for i, name in enumerate(names)
    ]


def legend_mark(family: Mapping[str, Any]) -> Markup:
    """A family's mark for the legend."""
    mark = svg.mark(family["shape"], 7, 7, 5, f"{family['style']} measured", family["name"])
    return Markup('<svg viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">{}</svg>').format(mark)


def label(candidate: Mapping[str, Any]) -> str:
    """`v2 x0.5 @96`, and a segmenter's output stride."""
    width, resolution, stride = (candidate.get(key) for key in ("width", "resolution", "output_stride"))
    told = short(candidate.get("network")) + (f" ×{width:g}" if isinstance(width, int | float) else "")
    return told + (f" @{resolution}" if resolution else "") + (f" os{stride}" if stride else "")


def promises(report: Mapping[str, Any]) -> Markup | None:
    """All candidates: expected accuracy against latency; full marks are measured, hollow ones predicted."""
    shown = [c for c in report.get("candidates", ()) if _finite(_latency(c), expected(c)) and _latency(c) > 0]
    if not shown:
        return None
    limit = report.get("budget", {}).get("latency_ms")
    ys = [expected(c) for c in shown]
    used = words(report.get("task"))
    box = svg.frame([_latency(c) for c in shown] + _limits(limit), ys, log_x=True, top=100)
    across = "latency of one image, ms (filled: measured, hollow: predicted)"
    parts = [svg.axes(box, across, f"{used.public} of the table, %"), *_budget(box, limit)]
    line = sorted((c for c in shown if c.get("status") in ("front", "tried", "winner")), key=_latency)
    parts.append(svg.polyline([_at(box, c) for c in line], "front"))
    looks = {family["name"]: family for family in families(shown)}
    for candidate in sorted(shown, key=lambda c: c.get("measured_ms") is not None):
        look, measured = looks[str(candidate.get("network"))], candidate.get("measured_ms") is not None
        faint = " faint" if candidate.get("status") in LIST_MARKS else ""
        style = f"{look['style']} {'measured' if measured else 'predicted'}{faint}"
        parts.append(
            svg.mark(look["shape"], *_at(box, candidate), 4.2 if measured else 3.2, style, _told(candidate, used.told))
        )
    parts += [
        svg.star(*_at(box, c), 11, f"the winner: {_told(c, used.told)}") for c in shown if c.get("status") == "winner"
    ]
    return svg.picture(box.width, box.height, f"{len(shown)} candidates, accuracy against latency", parts)


def _at(box: svg.Frame, candidate: Mapping[str, Any]) -> tuple[float, float]:
    return box.x(_latency(candidate)), box.y(expected(candidate))


def _limits(limit: Any) -> list[float]:
    return [float(limit)] if _finite(limit) and limit > 0 else []


def _budget(box: svg.Frame, limit: Any) -> list[Markup]:
    return [svg.upright(box, value, "budget", f"budget {value:g} ms") for value in _limits(limit)]


def _told(candidate: Mapping[str, Any], told: str) -> str:
    measured = candidate.get("measured_ms")
    how = f"{measured:.3g} ms measured" if measured is not None else f"{_latency(candidate):.3g} ms predicted"
    reason = f"; {candidate['reason']}" if candidate.get("reason") else ""
    return f"{label(candidate)}: {expected(candidate):.1f} % {told}, {how}{reason}"


def tried(report: Mapping[str, Any]) -> Markup | None:
    """Accuracy on the user's validation images after the short search, and the winner's after its long training."""
    shown = [c for c in report.get("candidates", ()) if _finite(_latency(c), searched(c)) and _latency(c) > 0]
    if not shown:
        return None
    winner, limit = report.get("winner", {}), report.get("budget", {}).get("latency_ms")
    end = _finite(winner.get("latency_ms"), winner.get("metric"))
    points = [(_latency(c), 100 * searched(c)) for c in shown]
    points += [(winner["latency_ms"], 100 * winner["metric"])] if end else []
    xs = [x for x, _ in points]
    metric = SPOKEN.get(report.get("task", ""), "score")
    span = [min(xs) / 1.4, max(xs) * 1.4, *_limits(limit)]
    box = svg.frame(span, [y for _, y in points], log_x=True, from_zero=True, top=100)
    parts = [
        svg.axes(box, "measured latency of one image, ms", f"{metric}, validation images, %"),
        *_budget(box, limit),
    ]
    looks = {family["name"]: family for family in families(report["candidates"])}
    for candidate in shown:
        x, y = box.x(_latency(candidate)), box.y(100 * searched(candidate))
        if end and candidate.get("status") == "winner":
            parts.append(svg.polyline([(x, y), (box.x(winner["latency_ms"]), box.y(100 * winner["metric"]))], "rise"))
        look = looks[str(candidate.get("network"))]
        told = f"{label(candidate)}: {searched(candidate):.1%} in the search, {_latency(candidate):.3g} ms"
        parts.append(svg.mark(look["shape"], x, y, 5, f"{look['style']} measured", told))
        parts.append(svg.text(x, y - 9, label(candidate), "point middle"))
    if end:
        told = f"the winner, trained to the end: {winner['metric']:.1%}, {winner['latency_ms']:.3g} ms"
        parts.append(svg.star(box.x(winner["latency_ms"]), box.y(100 * winner["metric"]), 11, told))
    return svg.picture(box.width, box.height, f"{len(shown)} candidates tried on the user's images", parts)


def losses(history: Sequence[Mapping[str, Any]], task: object = "classify") -> Markup | None:
    """Training and validation loss over epochs."""
    series = [_series(history, "train_loss"), _series(history, "val_loss")]
    if not any(series):
        return None
    points = [point for line in series for point in line]
    box = svg.frame([x for x, _ in points], [y for _, y in points], from_zero=True, height=270)
    parts = [svg.axes(box, "epoch", words(task).loss)]
    for name, style, line in zip(("training", "validation"), ("k1", "k0"), series, strict=True):
        parts += _curve(box, line, style, name, "")
    return svg.picture(box.width, box.height, "loss over epochs", parts)


def scores(history: Sequence[Mapping[str, Any]]) -> Markup | None:
    """The validation score over epochs, its best value marked."""
    for task, metric in METRICS.items():
        line = [(x, 100 * y) for x, y in _series(history, f"val_{metric}")]
        if not line:
            continue
        box = svg.frame([x for x, _ in line], [y for _, y in line], from_zero=True, top=100, height=270)
        x, y = max(line, key=lambda point: point[1])
        parts = [svg.axes(box, "epoch", f"validation {SPOKEN[task]}, %"), *_curve(box, line, "k2", "score", " %")]
        parts.append(svg.star(box.x(x), box.y(y), 8, f"best: {y:.1f} % after epoch {x:g}"))
        return svg.picture(box.width, box.height, f"validation {SPOKEN[task]} over epochs", parts)
    return None


def _series(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(line["epoch"], line[key]) for line in history if _finite(line.get("epoch"), line.get(key))]


def _curve(box: svg.Frame, line: Sequence[tuple[float, float]], style: str, name: str, unit: str) -> list[Markup]:
    at = [(box.x(x), box.y(y)) for x, y in line]
    parts = [svg.polyline(at, f"curve {style}")]
    if len(line) <= 60:
        for (x, y), (px, py) in zip(line, at, strict=True):
            parts.append(svg.mark("circle", px, py, 2.6, f"{style} measured", f"{name}, epoch {x:g}: {y:.4g}{unit}"))
    return parts


def confusion(table: Mapping[str, Any]) -> Markup | None:
    """True class (rows) against predicted class (columns), as shares of the true class."""
    counts, names = table.get("counts"), [str(c.get("name")) for c in table.get("classes", ())]
    if not counts or len(counts) != len(names):
        return None
    n = len(names)
    side = max(9.0, min(34.0, 620 / n))
    size = min(12.0, side * 0.95)
    margin = 16 + min(150.0, max(len(_cut(name)) for name in names) * size * 0.56)
    whole = margin + n * side + 12
    parts = [Markup('<rect x="{0}" y="{0}" width="{1}" height="{1}" class="field"/>').format(margin, n * side)]
    for i, row in enumerate(counts):
        total = max(sum(row), 1)
        middle = margin + (i + 0.5) * side
        parts.append(_name(margin - 5, middle + size * 0.35, _cut(names[i]), size, turned=False))
        parts.append(_name(middle + size * 0.35, margin - 5, _cut(names[i]), size, turned=True))
        for j, count in enumerate(row):
            if count:
                told = f"true {names[i]}, predicted {names[j]}: {count} of {total}"
                parts.append(_cell(margin + j * side, margin + i * side, side, count / total, told, right=i == j))
                if n <= NUMBERS:
                    dark = " strong" if count / total > 0.5 else ""
                    at = (margin + (j + 0.5) * side, middle + 4)
                    parts.append(svg.text(*at, f"{100 * count / total:.0f}", f"cell{dark} middle"))
    return svg.picture(whole, whole, f"confusion of {n} classes", parts, fixed=True)


def _cut(name: str, most: int = 22) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _name(x: float, y: float, words: str, size: float, *, turned: bool) -> Markup:
    turn = Markup(' transform="rotate(-90 {} {})"').format(round(x, 2), round(y, 2)) if turned else ""
    style = "class start" if turned else "class end"
    named = Markup('<text x="{}" y="{}" class="{}" style="font-size:{}px"{}>{}</text>')
    return named.format(round(x, 2), round(y, 2), style, round(size, 1), turn, words)


def _cell(x: float, y: float, side: float, share: float, told: str, *, right: bool) -> Markup:
    cell = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}" fill-opacity="{}"><title>{}</title></rect>')
    style = "right" if right else "wrong"
    return cell.format(
        round(x, 2), round(y, 2), round(side, 2), round(side, 2), style, round(0.1 + 0.9 * share, 3), told
    )
