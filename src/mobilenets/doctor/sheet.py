"""Findings as a contact sheet: what a table of file names cannot show."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.decode import decode
from mobilenets.doctor.findings import KINDS, Finding, Report
from mobilenets.drawing import figure, save_figure
from mobilenets.errors import DataError

_COLUMNS = 8
_ROWS = 2  # of one kind
_TILE, _GAP, _CAPTION, _HEADING, _EDGE = 1.3, 0.16, 0.56, 0.42, 0.3  # inches
_TITLE = 0.75
_PIXELS = 200
_SIDE_BY_SIDE = ("leak", "label conflict", "duplicate", "near duplicate", "mirrored copy")
_COLOURS = {"fault": "firebrick", "warning": "darkorange", "note": "steelblue"}


class _Tile(NamedTuple):
    path: Path
    caption: str
    severity: str


_Block = tuple[_Tile, ...]


def draw_sheet(report: Report, path: Path) -> None:
    """Draw thumbnails of the findings, worst first, copies side by side; the file is written whole or not at all."""
    sections = _sections(report)
    rows = [[*_rows(blocks)] for _, _, blocks in sections]
    height = _TITLE + _EDGE + sum(_HEADING + len(of) * (_TILE + _CAPTION) for of in rows)
    width = 2 * _EDGE + _COLUMNS * (_TILE + _GAP) - _GAP
    made = figure(width, height)
    made.set_layout_engine("none")  # tiles have their places
    at = _heading(made, report, width, height)
    for (title, colour, _), of in zip(sections, rows, strict=True):
        made.text(_EDGE / width, 1 - (at + 0.24) / height, title, fontsize=11, weight="bold", color=colour, va="center")
        at += _HEADING
        for row in of:
            _draw_row(made, row, at, width, height)
            at += _TILE + _CAPTION
    save_figure(made, path)


def _heading(made: Any, report: Report, width: float, height: float) -> float:
    found = report.to_dict()
    said = ", ".join(f"{found[key]:,} {key}" for key in ("faults", "warnings", "notes"))
    made.text(_EDGE / width, 1 - 0.28 / height, str(report.root), fontsize=14, weight="bold", va="center")
    counts = ", ".join(f"{sum(of.values()):,} in {split}" for split, of in report.counts.items())
    line = f"{report.images:,} images ({counts}): {said}"
    made.text(_EDGE / width, 1 - 0.56 / height, line, fontsize=10, color="dimgrey", va="center")
    return _TITLE


def _sections(report: Report) -> list[tuple[str, str, list[_Block]]]:
    """(title, colour, blocks) of every kind that has files to show."""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        if any(not path.is_dir() for path in finding.paths if isinstance(path, Path)):
            by_kind[finding.kind].append(finding)
    sections = []
    for kind, findings in by_kind.items():
        blocks = [block for finding in findings for block in _blocks(finding, report.root)]
        shown = _spread(blocks, _ROWS * _COLUMNS // len(blocks[0]))
        copies = kind in _SIDE_BY_SIDE
        part = "all shown" if len(shown) == len(blocks) else f"{len(shown)} of {len(blocks):,} shown"
        what = "groups" if copies else "files"
        title = f"{kind}: {KINDS[kind]}  ({len(blocks):,} {what if len(blocks) > 1 else what[:-1]}, {part})"
        sections.append((title, _COLOURS[findings[0].severity], shown))
    return sections


def _spread(blocks: Sequence[_Block], most: int) -> list[_Block]:
    """At most so many, taken evenly from all, so that the sheet does not show one class only."""
    at = np.linspace(0, len(blocks) - 1, min(most, len(blocks)))
    return [blocks[round(i)] for i in at.tolist()]


def _blocks(finding: Finding, root: Path) -> Iterator[_Block]:
    if finding.kind in _SIDE_BY_SIDE:
        more = len(finding.paths) - 2
        captions = [_place(path, root) for path in finding.paths[:2]]
        captions[1] += f"\n+ {more} more" if more else ""
        yield tuple(_Tile(p, c, finding.severity) for p, c in zip(finding.paths, captions, strict=False))
        return
    reason = re.split(r"[:;]|\. ", finding.message)[0].rstrip(".") if len(finding.paths) == 1 else ""
    for path in finding.paths:
        yield (_Tile(path, "\n".join([_place(path, root), *textwrap.wrap(reason, 24)[:2]]), finding.severity),)


def _place(path: Path, root: Path) -> str:
    """Folder and name, below each other and cut to a tile's width."""
    shown = str(path).removeprefix(f"{root}/")
    folder, _, name = shown.rpartition("/")
    return f"{_cut(folder)}\n{_cut(name)}" if folder else _cut(name)


def _cut(text: str, most: int = 22) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2 :]}"


def _rows(blocks: Sequence[_Block]) -> Iterator[list[_Block]]:
    per_row = _COLUMNS // max(len(block) for block in blocks)
    yield from (list(blocks[i : i + per_row]) for i in range(0, len(blocks), per_row))


def _draw_row(made: Any, row: Sequence[_Block], top: float, width: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    column = 0
    for block in row:
        left = _EDGE + column * (_TILE + _GAP)
        if len(block) > 1:
            pad = _GAP / 3
            wide = len(block) * (_TILE + _GAP) - _GAP + 2 * pad
            corner = ((left - pad) / width, 1 - (top + _TILE + _CAPTION - 0.06) / height)
            size = (wide / width, (_TILE + _CAPTION - 0.06 + pad) / height)
            made.add_artist(Rectangle(corner, *size, color=_COLOURS[block[0].severity], alpha=0.1, lw=0))
        for tile in block:
            left = _EDGE + column * (_TILE + _GAP)
            corner = (left / width, 1 - (top + _TILE) / height)
            _draw_tile(made.add_axes((*corner, _TILE / width, _TILE / height)), tile)
            column += 1


def _draw_tile(axes: Any, tile: _Tile) -> None:
    axes.set_axis_off()
    try:
        image = _small(decode(tile.path))
    except DataError:
        axes.text(0.5, 0.5, "no picture", ha="center", va="center", color="dimgrey", fontsize=9)
        axes.add_patch(_grey())
    else:
        axes.imshow(image, interpolation="nearest" if max(image.shape[:2]) <= 64 else "antialiased")
    axes.text(
        0.0, -0.03, tile.caption, transform=axes.transAxes, va="top", fontsize=6.8, linespacing=1.1, parse_math=False
    )


def _grey() -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((0, 0), 1, 1, color="0.9", zorder=-1)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = Image.fromarray(image)
    small.thumbnail((_PIXELS, _PIXELS))
    return np.asarray(small)
