"""`mobilenets quantize MODEL --data DATA`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.metrics import SPOKEN

if TYPE_CHECKING:
    from mobilenets.compression import Quantized


def run(
    model: Path,
    /,
    *,
    data: Path,
    format: str = "onnx",
    max_drop: float | None = None,
    minutes: float = 10.0,
    calibration: Path | None = None,
    per_tensor: bool = False,
    all_rungs: bool = False,
    out: Path | None = None,
    seed: int = 0,
    raw: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """An int8 file whose accuracy, in its own runtime, is within a bound of the float file's.

    Techniques are tried from the cheapest to the dearest until one passes: calibration methods, a scale per channel,
    cross-layer equalization, bias correction, the worst nodes out of int8, quantization-aware fine-tuning with the
    float network as teacher, the minimalistic network of the family. Exit code 1 where none passes: float is kept.

    Args:
        model: a checkpoint (.safetensors).
        data: labelled images: val is scored, train is trained on.
        format: onnx, openvino, litert or executorch.
        max_drop: what the metric may lose, in points; 1 unless given, of boxes and masks 2.
        minutes: for the techniques that train; 0 leaves them out.
        calibration: images for the ranges of activations; 128 of train unless given.
        per_tensor: begin with one scale for all of a weight.
        all_rungs: try all, take the best of those that pass.
        out: run folder; the next free runs/quantizeN unless given.
        seed: of calibration images and training.
        raw: of a detector or segmenter, without post-processing inside the file.
        resume: go on with the interrupted run in --out.
        overwrite: write into a folder that exists.
        json: one JSON object (quantize.json) on stdout.
    """
    from mobilenets.compression import quantize

    with Display() as display:
        result = quantize(
            model, data, format=format, max_drop=None if max_drop is None else max_drop / 100, minutes=minutes,
            calibration=calibration, per_channel=not per_tensor, every=all_rungs, out=out, seed=seed, raw=raw,
            resume=resume, overwrite=overwrite, watcher=display,
        )  # fmt: skip
    if json:
        print_json(result.report)
    else:
        show(result)
    return 0 if result.passed else 1


def show(result: Quantized) -> None:
    """The ladder as a table, and what is kept."""
    from rich.table import Table

    report, console = result.report, stdout()
    metric = SPOKEN[result.model.info.task]
    table = Table(title=f"{report['network']} in int8: {report['runtime']}, {report['images']} images")
    for column in ("rung", metric, "points lost", "MB", "s", ""):
        table.add_column(column, justify="left" if column in ("rung", "") else "right")
    base = report["float"]
    table.add_row("float", f"{base['metric']:.2%}", "", f"{base['file_bytes'] / 1e6:.2f}", "", "")
    for rung in report["rungs"]:
        table.add_row(rung["name"], *_cells(rung, chosen=rung["name"] == report["chosen"]))
    console.print(table)
    if result.passed:
        console.print(f"kept: {result.artifact} by {report['chosen']}", soft_wrap=True)
    else:
        console.print(
            f"no rung holds {100 * report['max_drop']:g} points: the float file {result.artifact} is kept. Give more "
            "--minutes, better --calibration images, or a larger --max-drop.",
            soft_wrap=True,
        )
    console.print(f"what each node loses: {result.folder / 'sensitivity.png'}", soft_wrap=True)


def _cells(rung: dict[str, Any], *, chosen: bool) -> tuple[str, ...]:
    score, seconds = rung["score"], f"{rung['seconds']:.0f}"
    if score is None:
        return "", "", "", seconds, f"not tried: {rung['note']}"
    verdict = "kept" if chosen else "passes" if rung["passed"] else ""
    said = ", ".join(text for text in (verdict, rung["note"]) if text)
    return f"{score['metric']:.2%}", f"{100 * rung['drop']:+.2f}", f"{score['file_bytes'] / 1e6:.2f}", seconds, said
