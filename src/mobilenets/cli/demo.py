"""`mobilenets demo`: `fit` on generated scenes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mobilenets.cli.fit import show
from mobilenets.cli.output import print_json
from mobilenets.cli.progress import Display
from mobilenets.files import run_folder


def run(
    *,
    minutes: float = 2.8,
    budget: str = "2ms",
    out: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Generate small scenes of eight kinds of object and fit the most accurate MobileNet that meets a budget.

    Args:
        minutes: wall-clock time for the fit.
        budget: see `mobilenets fit`.
        out: run folder; the next free runs/demoN unless given.
        overwrite: write into a folder that exists.
        json: one JSON object (report.json) on stdout.
    """
    from mobilenets.data import scenes
    from mobilenets.fitting import fit

    folder = run_folder(out, "demo", overwrite=overwrite)
    with Display() as display:
        photos = folder / "scenes"
        if not photos.is_dir():
            display.phase("drawing scenes")
            begin = time.perf_counter()
            scenes.write_classification(
                photos, per_class_train=400, per_class_val=60, size=96, workers=os.cpu_count() or 1
            )
            display.note(f"drew {460 * len(scenes.KINDS)} scenes in {time.perf_counter() - begin:.0f} s: {photos}")
        result = fit(
            photos, budget, minutes=minutes, out=folder / "fit", weights="none", overwrite=overwrite, watcher=display
        )  # the same everywhere, with or without a network
    if json:
        print_json(result.report)
    else:
        show(result)
