"""`mobilenets predict MODEL PATHS...`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mobilenets.cli.predicted import Told
from mobilenets.cli.progress import Display
from mobilenets.errors import MisuseError

if TYPE_CHECKING:
    from mobilenets.prediction import Video


def run(
    model: Path,
    /,
    *paths: Annotated[str, Parameter(allow_leading_hyphen=True)],
    list_: Path | None = None,
    top: int | None = None,
    score: float | None = None,
    draw: Path | None = None,
    features: str | None = None,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    csv_: bool = False,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    json: bool = False,
    cluster: str | None = None,
    workers: str | None = None,
) -> int:
    """Say what is in images and videos with a checkpoint or an exported file: classes, boxes or masks.

    Args:
        model: a checkpoint (.safetensors) or an exported file (.onnx, .xml, .tflite, .pte, .pt2).
        paths: image files, folders (searched through), globs or web addresses; tar shards (.tar); Parquet files of
            images, paths or web addresses; @LIST, or - for stdin: a path on each line; camera:0; videos (.mp4, .m4v,
            .mov, .mkv, .avi, .webm), whose frames are images.
        list_: a text file with a path or a web address on each line.
        top: classes to list for each image, 5 unless given; of a detector boxes, 100 unless given.
        score: least score of a box that is listed, 0.5 unless given.
        draw: folder for the pictures and videos with what was found drawn on them; a video is then drawn as a
            whole, and has no rows.
        features: a node, such as row19.conv: its values for each image go to --out, too.
        threads: processors to use; all that are allowed unless given.
        runtime: onnxruntime, openvino, litert, executorch or pytorch, where it reads the file, its own unless
            given; auto measures those that are installed and takes the fastest whose answers pass.
        precision: of float arithmetic: fp32 unless given; OpenVINO has bf16, too.
        csv_: comma-separated values on stdout.
        out: write the predictions to a .csv, .jsonl, .json or .parquet file, row by row.
        resume: go on with --out where a run was killed.
        overwrite: replace --out, of a cluster what the folder holds.
        json: one JSON object on stdout; boxes and masks in COCO's form.
        cluster: predict on Ray: auto (a cluster that runs, else this machine), local, or a cluster's address. --out is
            then a folder of Parquet files, and paths may be addresses such as s3://bucket/photos/, Parquet files, or
            @FILE, a list of names.
        workers: of the cluster, least and most, such as 1:8; from one to all processors unless given.
    """
    if list_ is not None:
        paths = (*paths, f"@{list_}")
    if cluster is not None:
        from mobilenets.cli.predict_cluster import run_on_cluster

        _check_options(paths)
        if csv_ or draw is not None or features is not None:
            raise MisuseError("--csv, --draw and --features are not for a --cluster: it writes Parquet files to --out.")
        return run_on_cluster(
            model, paths, out, address=cluster, workers=workers, top=top, score=score, threads=threads,
            runtime=runtime, precision=precision, resume=resume, overwrite=overwrite, json=json,
        )  # fmt: skip
    if workers is not None:
        raise MisuseError("--workers is for a --cluster.")
    from mobilenets.prediction import is_video, predict_stream, predict_videos
    from mobilenets.streams import predict_to

    videos = [path for path in paths if is_video(path)] if draw is not None else []  # else their frames are images
    images = [path for path in paths if path not in videos]
    _check(paths, top, out, csv_=csv_, json=json)
    _check_run(images, out, features, resume=resume, overwrite=overwrite, told=csv_ or json)
    drawn: list[Video] = []
    before = 0
    with Display() as display:
        told = Told(display, csv_=csv_, json=json)
        if images:
            display.phase("predicting")
            if out is None:
                stream = predict_stream(
                    model, images, top=top, score=score, draw=draw, features=features, threads=threads,
                    runtime=runtime, precision=precision, on_note=display.note,
                )  # fmt: skip
                for each in stream:
                    told.row(each)
            else:
                try:
                    before = predict_to(
                        out, model, images, resume=resume, overwrite=overwrite, top=top, score=score, draw=draw,
                        features=features, threads=threads, runtime=runtime, precision=precision, on_row=told.row,
                        on_note=display.note,
                    ).before  # fmt: skip
                except KeyboardInterrupt:
                    display.note(f"stopped after {told.rows:,} images: the same command with --resume goes on.")
                    raise
        if videos and draw is not None:
            display.phase("drawing")
            drawn = predict_videos(
                model, videos, draw, top=top, score=score, threads=threads, runtime=runtime, precision=precision,
                on_progress=display.frames, on_note=display.note,
            )  # fmt: skip
    told.finish(drawn, draw, out)
    done = told.rows + len(drawn)
    return 1 if done and not before and told.errors + sum(each.error is not None for each in drawn) == done else 0


def _check_options(paths: Sequence[str]) -> None:
    if option := next((path for path in paths if path.startswith("-") and path != "-"), None):
        raise MisuseError(f"unknown option: {option}. A file of that name is ./{option}.")


def _check(
    paths: Sequence[str],
    top: int | None,
    out: Path | None,
    *,
    csv_: bool,
    json: bool,
) -> None:
    from mobilenets.streams import check_suffix

    _check_options(paths)
    if not paths:
        raise MisuseError("no images given: name files, folders or globs after the model.")
    if top is not None and top < 1:
        raise MisuseError(f"--top (={top}) must be at least 1.")
    if out is not None:
        check_suffix(out)
    if csv_ and json:
        raise MisuseError("--csv and --json exclude each other.")


def _check_run(
    images: Sequence[str], out: Path | None, features: str | None, *, resume: bool, overwrite: bool, told: bool
) -> None:
    if out is None and (resume or overwrite):
        raise MisuseError(f"--{'resume' if resume else 'overwrite'} is about a file: name it with --out.")
    if features is not None and out is None and not told:
        raise MisuseError("--features are too many numbers for a screen: name a file with --out.")
    if out is not None and not images:
        raise MisuseError(f"--out {out} is for images; videos that are drawn have no rows.")
