"""`mobilenets demo`: `fit` on generated scenes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from mobilenets.cli.fit import show
from mobilenets.cli.output import print_json
from mobilenets.cli.progress import Display
from mobilenets.files import run_folder
from mobilenets.processors import processors

Shown = Literal["classify", "detect", "segment"]

_FOLDERS: dict[Shown, str] = {"classify": "scenes", "detect": "scenes_with_boxes", "segment": "scenes_with_masks"}
_BUDGETS: dict[Shown, str] = {"classify": "2ms", "detect": "8ms", "segment": "15ms"}
CLASSIFY_PX, DENSE_PX = 96, 160
"""Sides of the scenes: several objects need more room than one."""


def run(
    *,
    task: Shown = "classify",
    minutes: float = 2.8,
    budget: str | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Generate small scenes of eight kinds of object and fit the most accurate MobileNet that meets a budget.

    Args:
        task: what is learned of the scenes: classify (one object each), detect (boxes of several), segment (masks).
        minutes: wall-clock time for the fit.
        budget: see `mobilenets fit`; 2ms unless given, 8ms to detect and 15ms to segment.
        out: run folder; the next free runs/demoN unless given.
        overwrite: write into a folder that exists.
        json: one JSON object (report.json) on stdout.
    """
    from mobilenets.fitting import fit

    folder = run_folder(out, "demo", overwrite=overwrite)
    with Display() as display:
        photos, asked = folder / _FOLDERS[task], budget or _BUDGETS[task]
        if not photos.is_dir():
            display.phase("drawing scenes")
            begin = time.perf_counter()
            count = _draw(task, photos)
            display.note(f"drew {count} scenes in {time.perf_counter() - begin:.0f} s: {photos}")
        result = fit(
            photos, asked, minutes=minutes, out=folder / "fit", weights="none", overwrite=overwrite, watcher=display
        )  # the same everywhere, with or without a network
    if json:
        print_json(result.report)
    else:
        show(result)


def _draw(task: Shown, folder: Path) -> int:
    """Draw a data set of a task; returns its number of images."""
    from mobilenets.data import scenes

    workers = processors()
    match task:
        case "classify":
            train, val = 400, 60
            scenes.write_classification(
                folder, per_class_train=train, per_class_val=val, size=CLASSIFY_PX, workers=workers
            )
            return (train + val) * len(scenes.KINDS)
        case "detect":
            train, val = 1600, 200
            scenes.write_detection(folder, train=train, val=val, size=DENSE_PX, workers=workers)
            return train + val
        case "segment":
            train, val = 1600, 200
            scenes.write_segmentation(folder, train=train, val=val, size=DENSE_PX, workers=workers)
            return train + val
