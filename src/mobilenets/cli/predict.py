"""`mobilenets predict MODEL PATHS...`."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.errors import MisuseError
from mobilenets.files import write_text


def run(
    model: Path,
    /,
    *paths: str,
    top: int = 5,
    threads: int | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    csv_: bool = False,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Label images with a checkpoint or an exported file.

    Args:
        model: a checkpoint (.safetensors) or an exported file (.onnx, .xml, .tflite, .pte, .pt2).
        paths: image files, folders (searched through) or globs.
        top: classes to list for each image.
        threads: processors to use; all unless given.
        runtime: onnxruntime, openvino, litert, executorch or pytorch, where it reads the file, its own unless
            given; auto measures those that are installed and takes the fastest whose answers pass.
        precision: of float arithmetic: fp32 unless given; OpenVINO has bf16, too.
        csv_: comma-separated values on stdout.
        out: write the predictions to a .json or .csv file.
        json: one JSON object on stdout.
    """
    from mobilenets.prediction import predict

    if not paths:
        raise MisuseError("no images given: name files, folders or globs after the model.")
    if top < 1:
        raise MisuseError(f"--top (={top}) must be at least 1.")
    if out is not None and out.suffix not in (".json", ".csv"):
        raise MisuseError(f"--out must end in .json or .csv, got {out}.")
    if csv_ and json:
        raise MisuseError("--csv and --json exclude each other.")
    with Display() as display:
        display.phase("predicting")
        found = predict(
            model, paths, top=top, threads=threads, runtime=runtime, precision=precision, on_progress=display.advance,
            on_note=display.note,
        )  # fmt: skip
    rows = [p.to_dict() for p in found]
    if out is not None:
        write_text(out, _csv(rows) if out.suffix == ".csv" else _json(rows))
    if json:
        print_json({"predictions": rows})
    elif csv_:
        sys.stdout.write(_csv(rows))
    else:
        _table(rows)
    return 1 if all(p.error for p in found) else 0


def _json(rows: list[dict[str, object]]) -> str:
    import json

    return json.dumps({"predictions": rows}, indent=2, ensure_ascii=False) + "\n"


def _csv(rows: list[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "score", "error"])
    writer.writerows([row["path"], row["label"], row["score"], row["error"] or ""] for row in rows)
    return text.getvalue()


def _table(rows: list[dict[str, object]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in ("image", "label", "score", "then"):
        table.add_column(column, justify="right" if column == "score" else "left", overflow="fold")
    for row in rows:
        if row["error"]:
            table.add_row(str(row["path"]), Text("unreadable", style="red"), "", str(row["error"]))
            continue
        named = row["top"]
        assert isinstance(named, list)
        rest = ", ".join(f"{t['label']} {t['score']:.1%}" for t in named[:3] if t["label"] != row["label"])
        table.add_row(str(row["path"]), str(row["label"]), f"{named[0]['score']:.1%}", rest)
    stdout().print(table)
