"""`mobilenets evaluate MODEL DATA`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display

if TYPE_CHECKING:
    from mobilenets.prediction import Evaluation


def run(
    model: Path,
    data: Path,
    /,
    *,
    split: str | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    json: bool = False,
) -> None:
    """Score a checkpoint or an exported file on labelled images.

    Args:
        model: a checkpoint (.safetensors) or an exported file (.onnx, .xml, .tflite, .pte, .pt2).
        data: class folders, a table of paths and labels, shards: what `fit` takes.
        split: which one of a folder with splits; test unless given, else val.
        threads: processors to use; all unless given.
        runtime: onnxruntime, openvino, litert, executorch or pytorch, where it reads the file, its own unless
            given; auto measures those that are installed and takes the fastest whose answers pass.
        precision: of float arithmetic: fp32 unless given; OpenVINO has bf16, too.
        json: one JSON object on stdout.
    """
    from mobilenets.prediction import evaluate

    with Display() as display:
        display.phase("evaluating")
        result = evaluate(
            model, data, split=split, threads=threads, runtime=runtime, precision=precision,
            on_progress=display.advance, on_note=display.note,
        )  # fmt: skip
        if split is None and data.is_dir() and not _has_splits(data):
            display.note(f"{data} has no test/ or val/: all its images are scored, those of a training among them.")
        for path, reason in result.skipped[:5]:
            display.note(f"skipped {path}: {reason}")
    if json:
        print_json(result.to_dict())
        return
    skipped = f", {len(result.skipped)} unreadable skipped" if result.skipped else ""
    if result.precision is not None:
        _show_several(result, skipped)
        return
    stdout().print(
        f"top-1 {result.top1:.2%}, top-5 {result.top5:.2%}, loss {result.loss:.4f} on {result.images} images{skipped}"
    )
    from rich.table import Table

    table = Table(title="per class")
    for column in ("class", "images", "right", "most taken for"):
        table.add_column(column, justify="left" if column in ("class", "most taken for") else "right")
    for i, name in enumerate(result.classes[:50]):
        row = result.confusion[i]
        if not row.sum():
            continue
        wrong = row.copy()
        wrong[i] = 0
        worst = f"{result.classes[int(wrong.argmax())]} ({wrong.max()})" if wrong.any() else ""
        table.add_row(name, str(row.sum()), f"{row[i] / row.sum():.1%}", worst)
    stdout().print(table)


def _has_splits(folder: Path) -> bool:
    """Whether a folder tells images apart by split: in folders or in files named after one."""
    from mobilenets.data.listing import split_of_name

    return any(split_of_name(path) in ("test", "val") for path in folder.iterdir())


def _show_several(result: Evaluation, skipped: str) -> None:
    """Where images have several classes: each class's average precision."""
    from rich.table import Table

    assert result.precision is not None
    stdout().print(f"mAP {result.metric:.2%}, loss {result.loss:.4f} on {result.images} images{skipped}")
    table = Table(title="per class")
    for column in ("class", "average precision"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, value in list(zip(result.classes, result.precision, strict=True))[:50]:
        table.add_row(name, "no image has it" if math.isnan(value) else f"{value:.1%}")
    stdout().print(table)
