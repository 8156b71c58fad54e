"""`mobilenets evaluate MODEL DATA`."""

from __future__ import annotations

from pathlib import Path

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display


def run(
    model: Path,
    data: Path,
    /,
    *,
    split: str | None = None,
    threads: int | None = None,
    json: bool = False,
) -> None:
    """Score a checkpoint or an exported file on labelled images.

    Args:
        model: a checkpoint (.safetensors) or an exported file (.onnx).
        data: a folder of class folders, or one with splits.
        split: which one of a folder with splits; test unless given, else val.
        threads: processors to use; all unless given.
        json: one JSON object on stdout.
    """
    from mobilenets.prediction import evaluate

    with Display() as display:
        display.phase("evaluating")
        result = evaluate(model, data, split=split, threads=threads, on_progress=display.advance)
        if split is None and not any((data / name).is_dir() for name in ("test", "val", "valid", "validation")):
            display.note(f"{data} has no test/ or val/: all its images are scored, those of a training among them.")
        for path, reason in result.skipped[:5]:
            display.note(f"skipped {path}: {reason}")
    if json:
        print_json(result.to_dict())
        return
    skipped = f", {len(result.skipped)} unreadable skipped" if result.skipped else ""
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
