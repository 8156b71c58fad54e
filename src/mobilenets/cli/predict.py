"""`mobilenets predict MODEL PATHS...`."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.errors import MisuseError
from mobilenets.files import write_text

if TYPE_CHECKING:
    from mobilenets.prediction import Prediction, Video

SHOWN = 6
"""Boxes or regions of an image that a row names."""


def run(
    model: Path,
    /,
    *paths: str,
    top: int | None = None,
    score: float | None = None,
    draw: Path | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    csv_: bool = False,
    out: Path | None = None,
    json: bool = False,
    cluster: str | None = None,
    workers: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> int:
    """Say what is in images and videos with a checkpoint or an exported file: classes, boxes or masks.

    Args:
        model: a checkpoint (.safetensors) or an exported file (.onnx, .xml, .tflite, .pte, .pt2).
        paths: image files, folders (searched through) or globs; videos (.mp4, .m4v, .mov, .mkv, .avi, .webm).
        top: classes to list for each image, 5 unless given; of a detector boxes, 100 unless given.
        score: least score of a box that is listed, 0.5 unless given.
        draw: folder for the pictures and videos with what was found drawn on them; videos need it.
        threads: processors to use; all unless given.
        runtime: onnxruntime, openvino, litert, executorch or pytorch, where it reads the file, its own unless
            given; auto measures those that are installed and takes the fastest whose answers pass.
        precision: of float arithmetic: fp32 unless given; OpenVINO has bf16, too.
        csv_: comma-separated values on stdout.
        out: write the predictions to a .json or .csv file.
        json: one JSON object on stdout; boxes and masks in COCO's form.
        cluster: predict on Ray: auto (a cluster that runs, else this machine), local, or a cluster's address. --out is
            then a folder of Parquet files, and paths may be addresses such as s3://bucket/photos/, Parquet files, or
            @FILE, a list of names.
        workers: of the cluster, least and most, such as 1:8; from one to all processors unless given.
        resume: of a cluster: go on with the folder that was begun.
        overwrite: of a cluster: replace what the folder holds.
    """
    if cluster is not None:
        from mobilenets.cli.predict_cluster import run_on_cluster

        if csv_ or draw is not None:
            raise MisuseError("--csv and --draw are not for a --cluster: it writes Parquet files to --out.")
        return run_on_cluster(
            model, paths, out, address=cluster, workers=workers, top=top, score=score, threads=threads,
            runtime=runtime, precision=precision, resume=resume, overwrite=overwrite, json=json,
        )  # fmt: skip
    if workers is not None or resume or overwrite:
        raise MisuseError("--workers, --resume and --overwrite are for a --cluster.")
    from mobilenets.prediction import is_video, predict, predict_videos

    videos, images = [p for p in paths if is_video(p)], [p for p in paths if not is_video(p)]
    _check(paths, videos, draw, top, out, csv_=csv_, json=json)
    found: list[Prediction] = []
    drawn: list[Video] = []
    with Display() as display:
        if images:
            display.phase("predicting")
            found = predict(
                model, images, top=top, score=score, draw=draw, threads=threads, runtime=runtime, precision=precision,
                on_progress=display.advance, on_note=display.note,
            )  # fmt: skip
        if videos and draw is not None:
            display.phase("drawing")
            drawn = predict_videos(
                model, videos, draw, top=top, score=score, threads=threads, runtime=runtime, precision=precision,
                on_progress=display.frames, on_note=display.note,
            )  # fmt: skip
    told = _told(found, drawn)
    if out is not None:
        write_text(out, _csv(found) if out.suffix == ".csv" else _json(told))
    if json:
        print_json(told)
    elif csv_:
        sys.stdout.write(_csv(found))
    else:
        _show(found, drawn, draw)
    errors = [each.error for each in found] + [each.error for each in drawn]
    return 1 if all(errors) else 0


def _check(
    paths: Sequence[str],
    videos: Sequence[str],
    draw: Path | None,
    top: int | None,
    out: Path | None,
    *,
    csv_: bool,
    json: bool,
) -> None:
    if not paths:
        raise MisuseError("no images given: name files, folders or globs after the model.")
    if videos and draw is None:
        raise MisuseError(f"{videos[0]} is a video: name a folder for the drawn one with --draw.")
    if top is not None and top < 1:
        raise MisuseError(f"--top (={top}) must be at least 1.")
    if out is not None and out.suffix not in (".json", ".csv"):
        raise MisuseError(f"--out must end in .json or .csv, got {out}.")
    if csv_ and json:
        raise MisuseError("--csv and --json exclude each other.")


def _told(found: Sequence[Prediction], videos: Sequence[Video]) -> dict[str, Any]:
    from mobilenets.prediction import to_coco

    told: dict[str, Any] = {"videos": [each.to_dict() for each in videos]} if videos else {}
    if any(each.detections is not None or each.regions is not None for each in found):
        return to_coco(found) | told
    return ({"predictions": [each.to_dict() for each in found]} if found else {}) | told


def _json(told: dict[str, Any]) -> str:
    import json

    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _csv(found: Sequence[Prediction]) -> str:
    """A line for each image; for each box or region where the model gives those."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if any(each.detections is not None for each in found):
        writer.writerow(["path", "label", "score", "x", "y", "width", "height", "error"])
        for each in found:
            for one in each.detections or ():
                x0, y0, x1, y1 = one.box
                writer.writerow([each.path, one.label, one.score, x0, y0, x1 - x0, y1 - y0, ""])
            if each.error:
                writer.writerow([each.path, *[""] * 6, each.error])
    elif any(each.regions is not None for each in found):
        writer.writerow(["path", "label", "pixels", "part", "error"])
        for each in found:
            writer.writerows([each.path, one.label, one.pixels, one.part, ""] for one in each.regions or ())
            if each.error:
                writer.writerow([each.path, "", "", "", each.error])
    else:
        writer.writerow(["path", "label", "score", "error"])
        writer.writerows([each.path, each.label, each.score, each.error or ""] for each in found)
    return text.getvalue()


def _show(found: Sequence[Prediction], videos: Sequence[Video], draw: Path | None) -> None:
    if any(each.detections is not None for each in found):
        _table(("image", "boxes", "found"), [_boxes(each) for each in found], found)
    elif any(each.regions is not None for each in found):
        _table(("image", "classes", "of the pixels"), [_regions(each) for each in found], found)
    elif found:
        _table(("image", "label", "score", "then"), [_labels(each) for each in found], found)
    for each in videos:
        speed = f"{each.frames} frames in {each.seconds:.1f} s, {each.frames_per_s:.1f} frames/s"
        stdout().print(f"{each.path}: {each.error or f'{speed}, drawn to {each.written}'}")
    if found and draw is not None:
        stdout().print(f"pictures: {draw}")


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
            table.add_row(str(each.path), Text("unreadable", style="red"), *blank, each.error)
        else:
            table.add_row(str(each.path), *row)
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
