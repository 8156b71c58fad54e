"""`mobilenets evaluate MODEL DATA`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.errors import MisuseError

if TYPE_CHECKING:
    from mobilenets.prediction import DetectionEvaluation, Evaluation, Scored, SegmentationEvaluation

MOST = 50
"""Classes that a table shows."""


def run(
    model: Path,
    data: Path,
    /,
    *,
    split: str | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Score a checkpoint or an exported file on labelled images: accuracy, AP of boxes or mIoU of masks.

    Args:
        model: a checkpoint (.safetensors) or an exported file (.onnx, .xml, .tflite, .pte, .pt2).
        data: class folders, a table of paths and labels, shards, images with boxes or masks: what `fit` takes.
        split: which one of a folder with splits; test unless given, else val.
        threads: processors to use; all unless given.
        runtime: onnxruntime, openvino, litert, executorch or pytorch, where it reads the file, its own unless
            given; auto measures those that are installed and takes the fastest whose answers pass.
        precision: of float arithmetic: fp32 unless given; OpenVINO has bf16, too.
        plot: a picture to write (.png): precision-recall curves of boxes, the IoU of each class of masks, what is
            taken for what of one class an image, average precision of several.
        json: one JSON object on stdout.
    """
    from mobilenets.prediction import evaluate

    if plot is not None and plot.suffix.lower() != ".png":
        raise MisuseError(f"--plot {plot}: the picture is written as .png.")
    with Display() as display:
        display.phase("evaluating")
        result = evaluate(
            model, data, split=split, threads=threads, runtime=runtime, precision=precision,
            on_progress=display.advance, on_note=display.note,
        )  # fmt: skip
        if split is None and data.is_dir() and not _has_splits(data):
            display.note(f"{data} has no test or val split: all its images are scored, those of a training among them.")
        for path, reason in result.skipped[:5]:
            display.note(f"skipped {path}: {reason}")
    if plot is not None:
        _plot(result, plot)
    if json:
        print_json(result.to_dict())
    else:
        _show(result)


def _has_splits(folder: Path) -> bool:
    """Whether a data set tells the images that are scored from those that are learned."""
    from mobilenets.data.formats import read_data

    return not {"test", "val"}.isdisjoint(read_data(folder, need_classes=1).splits)


def _plot(result: Scored, path: Path) -> None:
    from mobilenets.prediction import DetectionEvaluation, SegmentationEvaluation, charts

    match result:
        case DetectionEvaluation():
            charts.precision_recall(result.scores, path)
        case SegmentationEvaluation():
            charts.class_iou(result.scores, path)
        case _:
            from mobilenets.training import pictures

            if result.precision is None:
                pictures.confusion(result.confusion, result.classes, path)
            else:
                pictures.by_class(result.precision, result.classes, path, metric="average precision")


def _show(result: Scored) -> None:
    from mobilenets.prediction import DetectionEvaluation, SegmentationEvaluation

    on = f"on {result.images} images" + (f", {len(result.skipped)} unreadable skipped" if result.skipped else "")
    match result:
        case DetectionEvaluation():
            _show_boxes(result, on)
        case SegmentationEvaluation():
            _show_masks(result, on)
        case _ if result.precision is not None:
            _show_several(result, on)
        case _:
            _show_classes(result, on)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[str] = ("class",)) -> None:
    from rich.table import Table

    table = Table(title="per class")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    for row in rows:
        table.add_row(*row)
    stdout().print(table)


def _percent(value: float, none: str = "none") -> str:
    return none if math.isnan(value) else f"{value:.1%}"


def _show_classes(result: Evaluation, on: str) -> None:
    stdout().print(f"top-1 {result.top1:.2%}, top-5 {result.top5:.2%}, loss {result.loss:.4f} {on}")
    rows = []
    for i, name in enumerate(result.classes[:MOST]):
        row = result.confusion[i]
        if not row.sum():
            continue
        wrong = row.copy()
        wrong[i] = 0
        worst = f"{result.classes[int(wrong.argmax())]} ({wrong.max()})" if wrong.any() else ""
        rows.append((name, str(row.sum()), f"{row[i] / row.sum():.1%}", worst))
    _table(("class", "images", "right", "most taken for"), rows, left=("class", "most taken for"))


def _show_several(result: Evaluation, on: str) -> None:
    """Where images have several classes: each class's average precision."""
    assert result.precision is not None
    stdout().print(f"mAP {result.metric:.2%}, loss {result.loss:.4f} {on}")
    pairs = list(zip(result.classes, result.precision, strict=True))[:MOST]
    _table(("class", "average precision"), [(name, _percent(value, "no image has it")) for name, value in pairs])


def _show_boxes(result: DetectionEvaluation, on: str) -> None:
    found = result.scores
    stdout().print(f"AP {_percent(found.ap)}, AP50 {_percent(found.ap50)}, AP75 {_percent(found.ap75)} {on}")
    stdout().print(
        f"AP of small objects {_percent(found.small)}, medium {_percent(found.medium)}, large {_percent(found.large)}; "
        f"recall {_percent(found.recall)}"
    )
    rows = zip(found.classes, found.objects.tolist(), found.class_ap, found.class_ap50, strict=True)
    there = [(name, str(n), f"{ap:.1%}", f"{ap50:.1%}") for name, n, ap, ap50 in rows if n]
    _table(("class", "objects", "AP", "AP50"), there[:MOST])


def _show_masks(result: SegmentationEvaluation, on: str) -> None:
    found = result.scores
    stdout().print(
        f"mIoU {_percent(found.miou)}, pixel accuracy {_percent(found.accuracy)} "
        f"({_percent(found.boundary_free_accuracy)} away from boundaries), mean accuracy "
        f"{_percent(found.mean_accuracy)} {on}"
    )
    share = found.counts.sum(1) / max(1, found.counts.sum())
    rows = zip(found.classes, share.tolist(), found.iou, found.class_accuracy, strict=True)
    there = [
        (name, f"{part:.1%}", f"{iou:.1%}", _percent(right)) for name, part, iou, right in rows if not math.isnan(iou)
    ]
    _table(("class", "of the pixels", "IoU", "accuracy"), there[:MOST])
