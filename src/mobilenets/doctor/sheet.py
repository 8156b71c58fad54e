"""Findings as a contact sheet: what a table of file names cannot show."""

from __future__ import annotations

import os
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from mobilenets.data.annotations import IGNORED, Boxes, Mask
from mobilenets.data.decode import decode
from mobilenets.data.sources import Source
from mobilenets.doctor.findings import KINDS, Finding, Report, below
from mobilenets.drawing import figure, save_figure
from mobilenets.errors import DataError

_COLUMNS = 8
_ROWS = 2  # of one kind
_LEAST = 2  # columns of a kind, so that its heading fits
_TILE, _GAP, _CAPTION, _HEADING, _EDGE = 1.3, 0.16, 0.6, 0.56, 0.3  # inches
_TITLE = 0.8
_PIXELS = 200
_SIDE_BY_SIDE = ("leak", "label conflict", "duplicate", "near duplicate", "mirrored copy")
_REASONED = (
    "unreadable",
    "truncated",
    "wrong extension",
    "extreme aspect",
    "suspicious label",
    "unknown class",
    "outside image",
    "no area",
    "duplicate box",
    "annotation size",
    "mask size",
)
_COLOURS = {"fault": "firebrick", "warning": "chocolate", "note": "steelblue"}


class _Tile(NamedTuple):
    path: Source
    caption: str
    severity: str


_Block = tuple[_Tile, ...]
_Truth = Mapping[Source, Boxes | Mask]


class _Section(NamedTuple):
    """One kind of finding on the sheet: heading, rows of blocks."""

    kind: str
    shown: str
    severity: str
    rows: list[list[_Block]]

    @property
    def columns(self) -> int:
        """How wide it is, in tiles."""
        return max(_LEAST, *(sum(map(len, row)) for row in self.rows))


_Shelf = list[_Section]


class _Page(NamedTuple):
    """A figure measured in inches from its upper left corner."""

    made: Any
    width: float
    height: float

    def text(self, left: float, top: float, words: str, **style: Any) -> None:
        self.made.text(left / self.width, 1 - top / self.height, words, va="top", parse_math=False, **style)

    def box(self, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Left, bottom, width and height as matplotlib takes them."""
        page = (self.width, self.height)
        return left / page[0], 1 - (top + height) / page[1], width / page[0], height / page[1]


def draw_sheet(report: Report, path: Path) -> None:
    """Draw thumbnails of the findings, worst first, copies side by side; the file is written whole or not at all."""
    shelves = _shelves(_sections(report))
    heights = [_HEADING + max(len(section.rows) for section in shelf) * (_TILE + _CAPTION) for shelf in shelves]
    width, height = 2 * _EDGE + _COLUMNS * (_TILE + _GAP) - _GAP, _TITLE + _EDGE + sum(heights)
    page = _Page(figure(width, height), width, height)
    page.made.set_layout_engine("none")  # tiles have their places
    _draw_title(page, report)
    top = _TITLE
    for shelf, taken in zip(shelves, heights, strict=True):
        left = _EDGE
        for section in shelf:
            _draw_section(page, section, left, top, report.truth)
            left += section.columns * (_TILE + _GAP)
        top += taken
    save_figure(page.made, path)


def _shelves(sections: Sequence[_Section]) -> list[_Shelf]:
    """Sections from left to right as long as they fit, small ones beside each other."""
    shelves: list[_Shelf] = []
    for section in sections:
        if shelves and sum(s.columns for s in shelves[-1]) + section.columns <= _COLUMNS:
            shelves[-1].append(section)
        else:
            shelves.append([section])
    return shelves


def _draw_title(page: _Page, report: Report) -> None:
    found = report.to_dict()
    said = ", ".join(f"{found[key]:,} {key}" for key in ("faults", "warnings", "notes"))
    counts = ", ".join(f"{n:,} in {split}" for split, n in report.sizes.items())
    page.text(_EDGE, 0.18, str(report.root), fontsize=14, weight="bold")
    page.text(_EDGE, 0.48, f"{report.images:,} images ({counts}): {said}", fontsize=10, color="dimgrey")


def _sections(report: Report) -> list[_Section]:
    """Every kind that has files to show, worst first."""
    by_kind: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in report.findings:
        if any(not (isinstance(path, Path) and path.is_dir()) for path in finding.paths):
            by_kind[finding.kind, finding.severity].append(finding)
    sections = []
    for (kind, severity), findings in by_kind.items():
        blocks = [block for finding in findings for block in _blocks(finding, report.root)]
        shown = _spread(blocks, _ROWS * _COLUMNS // len(blocks[0]))
        count = f"{len(blocks):,}" if len(shown) == len(blocks) else f"{len(shown)} of {len(blocks):,} shown"
        sections.append(_Section(kind, count, severity, list(_rows(shown))))
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
    reason = re.split(r"[:;]|\. ", finding.message)[0].rstrip(".") if finding.kind in _REASONED else ""
    for path in finding.paths:
        yield (_Tile(path, "\n".join([_place(path, root), *textwrap.wrap(reason, 24)[:2]]), finding.severity),)


def _place(path: Source, root: Path) -> str:
    """Folder and name, below each other and cut to a tile's width."""
    folder, name = os.path.split(below(path, root))
    return f"{_cut(folder)}\n{_cut(name)}" if folder else _cut(name)


def _cut(text: str, most: int = 22) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2 :]}"


def _rows(blocks: Sequence[_Block]) -> Iterator[list[_Block]]:
    per_row = _COLUMNS // max(len(block) for block in blocks)
    yield from (list(blocks[i : i + per_row]) for i in range(0, len(blocks), per_row))


def _draw_section(page: _Page, section: _Section, left: float, top: float, truth: _Truth) -> None:
    heading = f"{section.kind} ({section.shown})"
    page.text(left, top + 0.06, heading, fontsize=10.5, weight="bold", color=_COLOURS[section.severity])
    page.text(left, top + 0.28, KINDS[section.kind], fontsize=8, color="dimgrey")
    for i, row in enumerate(section.rows):
        _draw_row(page, row, left, top + _HEADING + i * (_TILE + _CAPTION), truth)


def _draw_row(page: _Page, row: Sequence[_Block], left: float, top: float, truth: _Truth) -> None:
    from matplotlib.patches import Rectangle

    for block in row:
        if len(block) > 1:
            pad = _GAP / 3
            wide = len(block) * (_TILE + _GAP) - _GAP + 2 * pad
            x, y, width, height = page.box(left - pad, top - pad, wide, _TILE + _CAPTION - 0.06)
            page.made.add_artist(Rectangle((x, y), width, height, color=_COLOURS[block[0].severity], alpha=0.12, lw=0))
        for tile in block:
            _draw_tile(page.made.add_axes(page.box(left, top, _TILE, _TILE)), tile, truth.get(tile.path))
            left += _TILE + _GAP


def _draw_tile(axes: Any, tile: _Tile, truth: Boxes | Mask | None) -> None:
    axes.set_axis_off()
    try:
        image = _marked(_small(decode(tile.path)), truth)
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


def _marked(image: NDArray[np.uint8], truth: Boxes | Mask | None) -> NDArray[np.uint8]:
    """A small image with its boxes drawn or its mask laid over it; one of a mask that cannot be read as it is."""
    height, width = image.shape[:2]
    match truth:
        case None:
            return image
        case Boxes():
            picture = Image.fromarray(image)
            corners, labels, _ = truth.arrays()
            for box, label in zip((corners * [width, height, width, height]).tolist(), labels.tolist(), strict=True):
                ImageDraw.Draw(picture).rectangle(box, outline=_colour(label), width=2)
            return np.asarray(picture)
        case _:
            try:
                mask = np.asarray(Image.fromarray(truth.read()).resize((width, height), Image.Resampling.NEAREST))
            except DataError:
                return image
            table = np.array([_colour(label) for label in range(256)])
            tinted = (0.5 * image + 0.5 * table[mask]).astype(np.uint8)
            return np.where((mask == IGNORED)[..., None], image, tinted)


def _colour(label: int) -> tuple[int, ...]:
    """Colours around the circle, neighbouring labels far apart."""
    return ImageColor.getrgb(f"hsl({label * 137 % 360}, 90%, 50%)")
