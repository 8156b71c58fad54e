"""What `predict` found, on stdout: a table, CSV or JSON."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display

if TYPE_CHECKING:
    from mobilenets.prediction import Prediction, Video

SHOWN = 6
"""Boxes or regions of an image that a row names."""
SHOWN_ROWS = 100
"""Images that the table on screen has; the others are counted."""


class Told:
    """What was found, as it comes: a table of the first images, or CSV or JSON of all.

    Args:
        display: told how far it is.
        csv_: comma-separated values on stdout.
        json: one JSON object on stdout, at the end; until then what was found lies in a temporary file.
    """

    def __init__(self, display: Display, *, csv_: bool, json: bool) -> None:
        self.display, self.csv, self.json = display, csv_, json
        self.rows = self.errors = 0
        self.shown: list[Prediction] = []
        self.start_s = time.perf_counter()
        self.spool = tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="backslashreplace") if json else None  # noqa: SIM115 - closed by `finish`, or with the process

    def row(self, each: Prediction) -> None:
        """A prediction came."""
        from mobilenets.streams import csv_header, csv_rows, json_line, task_of, to_record

        self.rows += 1
        self.errors += each.error is not None
        if len(self.shown) < SHOWN_ROWS:
            self.shown.append(each)
        if self.csv:
            features = each.features is not None
            head = csv_header(task_of(each), features=features) if self.rows == 1 else ""
            sys.stdout.write(head + csv_rows(each, features=features))
        if self.spool is not None:
            self.spool.write(json_line(to_record(each)))
        if self.display.live:
            self.display.images(self.rows, self.errors, self.rows / (time.perf_counter() - self.start_s))

    def finish(self, videos: Sequence[Video], draw: Path | None, out: Path | None) -> None:
        """All came: show them, unless they were shown as they came."""
        if self.spool is not None:
            self._print_json(videos)
        elif not self.csv:
            self._show(videos, draw, out)

    def _print_json(self, videos: Sequence[Video]) -> None:
        from mobilenets.streams import task_of, write_json

        more = {"videos": [each.to_dict() for each in videos]} if videos else {}
        if not self.shown:
            print_json(more)
            return
        assert self.spool is not None
        with self.spool:
            self.spool.flush()
            write_json(Path(self.spool.name), task_of(self.shown[0]), sys.stdout, more)

    def _show(self, videos: Sequence[Video], draw: Path | None, out: Path | None) -> None:
        found = self.shown
        if any(each.detections is not None for each in found):
            _table(("image", "boxes", "found"), [_boxes(each) for each in found], found)
        elif any(each.regions is not None for each in found):
            _table(("image", "classes", "of the pixels"), [_regions(each) for each in found], found)
        elif found:
            _table(("image", "label", "score", "then"), [_labels(each) for each in found], found)
        if self.rows > len(found):
            stdout().print(f"the first {len(found)} of {self.rows:,} images, of which {self.errors:,} are unreadable")
        for each in videos:
            speed = f"{each.frames} frames in {each.seconds:.1f} s, {each.frames_per_s:.1f} frames/s"
            stdout().print(f"{each.path}: {each.error or f'{speed}, drawn to {each.written}'}")
        if found and draw is not None:
            stdout().print(f"pictures: {draw}")
        if out is not None:
            stdout().print(f"predictions: {out}")


def _table(columns: Sequence[str], rows: Sequence[tuple[str, ...]], found: Sequence[Prediction]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in columns:
        right = column in ("score", "boxes", "classes")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row, each in zip(rows, found, strict=True):
        if each.error:
            blank = [""] * (len(columns) - 3)
            table.add_row(each.name, Text("unreadable", style="red"), *blank, each.error)
        else:
            table.add_row(each.name, *row)
    stdout().print(table)


def _labels(each: Prediction) -> tuple[str, ...]:
    rest = ", ".join(f"{label} {score:.1%}" for label, score in each.top[:3] if label != each.label)
    return str(each.label), f"{each.top[0][1]:.1%}" if each.top else "", rest


def _boxes(each: Prediction) -> tuple[str, ...]:
    found = each.detections or ()
    return str(len(found)), _listed([f"{one.label} {one.score:.1%}" for one in found])


def _regions(each: Prediction) -> tuple[str, ...]:
    found = each.regions or ()
    return str(len(found)), _listed([f"{one.label} {one.part:.1%}" for one in found])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
