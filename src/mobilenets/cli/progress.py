"""Progress on stderr: what runs, how far it is, loss, accuracy, images per second, time left."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from mobilenets.cli.output import stderr
from mobilenets.watching import Epoch, Tick, Watcher


class Display(Watcher):
    """A `Watcher` that draws one live line per phase and keeps notes above it.

    Where stderr is no terminal, phases, validations and notes are plain lines.
    """

    def __init__(self) -> None:
        self.console = stderr()
        self.live = self.console.is_terminal
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.live,
        )
        self.task: TaskID | None = None
        self.folder: Path | None = None

    def started(self, folder: Path) -> None:
        """The run folder is made."""
        self.folder = folder
        self.note(f"run folder: {folder}")

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        sys.stderr.flush()

    def phase(self, name: str, total: int | None = None) -> None:
        """A new phase begins."""
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.task = self.progress.add_task(name, total=total, detail="")
        if not self.live:
            self.console.print(name)

    def advance(self, done: int, total: int) -> None:
        """Things done so far."""
        if self.task is None:
            self.phase("working", total)
        assert self.task is not None
        self.progress.update(self.task, completed=done, total=total, detail=f"{done}/{total}")

    def images(self, done: int, errors: int, per_s: float) -> None:
        """Images done so far, how many of them could not be read, and images per second."""
        if self.task is not None:
            broken = f"  {errors:,} unreadable" if errors else ""
            self.progress.update(self.task, completed=done, detail=f"{done:,} images  {per_s:,.0f}/s{broken}")

    def frames(self, done: int, total: int | None, per_s: float) -> None:
        """Frames of a video done so far, of how many where that is known."""
        if self.task is not None:
            of = "" if total is None else f"/{total}"
            self.progress.update(self.task, completed=done, total=total, detail=f"{done}{of}  {per_s:.1f} frames/s")

    def looked(self, part: float, text: str) -> None:
        """How far the phase is, and how it stands."""
        if self.task is not None:
            self.progress.update(self.task, completed=part, total=1.0, detail=text)

    def tick(self, tick: Tick) -> None:
        """A training step is done."""
        if self.task is not None:
            left = f"{int(tick.seconds_left) // 60}:{int(tick.seconds_left) % 60:02d} left"
            detail = f"epoch {tick.epoch:.1f}  loss {tick.loss:.3f}  {tick.images_per_s:.0f} images/s  "
            detail += f"{tick.waiting:.0%} waiting for images  {left}"
            self.progress.update(self.task, completed=tick.fraction, total=1.0, detail=detail)

    def epoch(self, line: Epoch, best: bool) -> None:
        """A validation is done."""
        self.console.print(
            f"epoch {line.epoch:6.1f}  loss {line.train_loss:.3f}  val loss {line.val_loss:.3f}  "
            f"val {self.metric} {line.val_score:6.1%}{' *' if best else '  '}  {line.images_per_s:.0f} images/s  "
            f"{line.waiting:.0%} waiting  {line.resolution} px",
            soft_wrap=True,
        )

    def note(self, text: str) -> None:
        """Something the user should know."""
        self.console.print(text, soft_wrap=True, markup=False)
