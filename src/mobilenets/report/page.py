"""The report as one page: it loads nothing and runs nothing, opens from disk, prints, and fits a phone."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from markupsafe import Markup

from mobilenets.files import write_text
from mobilenets.metrics import METRICS, SPOKEN
from mobilenets.report import charts
from mobilenets.report.words import words
from mobilenets.version import __version__

NOTHING = "–"
"""Shown for what was not measured."""
_KINDS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
_STATUSES = {
    "winner": "shipped",
    "tried": "tried on these images",
    "front": "on the front, not tried",
    "dominated": "another one is faster and expected to be at least as good",
    "slow": "over the latency budget",
    "over": "over a counted budget",
    "enlarged": "would enlarge the images for nothing",
}


def write_page(report: Mapping[str, Any], path: str | Path, *, folder: str | Path | None = None) -> Path:
    """Write a report as one self-contained page, whole or not at all.

    The page loads nothing and runs nothing: a policy inside forbids both. A section appears where its data is there.

    Args:
        report: what `report.json` holds; see `mobilenets.report.schema.Report`.
        path: the page, such as `report.html`.
        folder: what the names of picture files are relative to; the page's own folder unless given.
    """
    path = Path(path)
    write_text(path, render(report, path.parent if folder is None else Path(folder)))
    return path


def render(report: Mapping[str, Any], folder: Path) -> str:
    """The page's text."""
    from jinja2 import ChainableUndefined, Environment, PackageLoader

    made = Environment(
        loader=PackageLoader("mobilenets.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=ChainableUndefined,
    )
    made.filters |= {
        "fixed": fixed,
        "percent": percent,
        "points": points,
        "ms": milliseconds,
        "size": size,
        "count": count,
        "plain": plain,
        "bar": bar,
        "label": charts.label,
        "legend_mark": charts.legend_mark,
    }
    style = Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8"))
    metric = SPOKEN.get(str(report.get("task")), "score")
    page = made.get_template("page.html")
    return page.render(
        r=report,
        style=style,
        title=heading(report),
        metric=metric,
        words=words(report.get("task")),
        made_by=__version__,
        test_score=_test_score(report),
        interval=interval(report),
        statuses=_counted(report),
        families=charts.families(report.get("candidates", ())),
        promises=charts.promises(report),
        tried=charts.tried(report),
        losses=charts.losses(report.get("history", ()), report.get("task")),
        scores=charts.scores(report.get("history", ())),
        confusion=charts.confusion(report.get("confusion") or {}),
        embed=lambda name: embed(folder, name),
        nothing=NOTHING,
    )


def heading(report: Mapping[str, Any]) -> str:
    """The page's title: what was given, else the network."""
    winner = report.get("winner") or {}
    if report.get("title") or not winner.get("network"):
        return str(report.get("title") or "mobilenets report")
    width, resolution = winner.get("width"), winner.get("resolution")
    return (
        str(winner["network"])
        + (f" ×{width:g}" if isinstance(width, int | float) else "")
        + (f" at {resolution} px" if resolution else "")
    )


def embed(folder: Path, name: object) -> str | None:
    """A picture file as a data address; None where it is missing or no picture."""
    file = folder / str(name)
    kind = _KINDS.get(file.suffix.lower())
    try:
        return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}" if kind else None
    except OSError:
        return None


def _test_score(report: Mapping[str, Any]) -> float | None:
    winner = report.get("winner") or {}
    return next((winner[key] for key in (f"test_{m}" for m in METRICS.values()) if key in winner), None)


def interval(report: Mapping[str, Any]) -> float | None:
    """Half of Wilson's 95 % interval of the winner's top-1, in points: what so many images can tell at all."""
    share, n = (report.get("winner") or {}).get("metric"), (report.get("data") or {}).get("val_images")
    if report.get("task") != "classify" or not _is_number(share) or not n:
        return None
    z = 1.96
    return float(100 * z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n))


def _counted(report: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Candidates by what became of them, in the order of `_STATUSES`."""
    found = Counter(str(c.get("status")) for c in report.get("candidates", ()))
    named = {**_STATUSES, **{status: "" for status in found if status not in _STATUSES}}
    return [(status, words, found[status]) for status, words in named.items() if found[status]]


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def fixed(value: Any, template: str) -> str:
    """A number by a template such as `%.1f s`."""
    return template % value if _is_number(value) else NOTHING


def percent(value: Any, digits: int = 1) -> str:
    """A share in [0, 1]."""
    return f"{100 * value:.{digits}f} %" if _is_number(value) else NOTHING


def points(value: Any) -> str:
    """Percent points, with their sign."""
    return f"{value:+.2f}" if _is_number(value) else NOTHING


def milliseconds(value: Any) -> str:
    """Three digits, never as a power of ten."""
    if not _is_number(value):
        return NOTHING
    return f"{value:.3g} ms" if 0.001 <= abs(value) < 1000 else f"{value:,.0f} ms" if value else "0 ms"


def size(value: Any) -> str:
    """Bytes in powers of ten."""
    if not _is_number(value):
        return NOTHING
    if value < 1000:
        return f"{value:.0f} B"
    return f"{value / 1e3:.1f} kB" if value < 1e6 else f"{value / 1e6:.2f} MB"


def count(value: Any) -> str:
    """A whole number with its thousands."""
    return f"{value:,.0f}" if _is_number(value) else NOTHING


def plain(value: Any) -> str:
    """Any value of a line of facts, for people."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case list() | tuple():
            return ", ".join(plain(item) for item in value) or NOTHING
        case _:
            return str(value)


def bar(value: Any, most: Any) -> float:
    """Width of a bar in percent of the longest."""
    return (
        round(min(max(100 * value / most, 0.0), 100.0), 2) if _is_number(value) and _is_number(most) and most else 0.0
    )
