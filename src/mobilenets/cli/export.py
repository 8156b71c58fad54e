"""`mobilenets export CHECKPOINT OUT`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mobilenets.cli.output import print_json, stdout


def run(
    checkpoint: Path,
    out: Path | None = None,
    /,
    *,
    images: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    json: bool = False,
) -> None:
    """Write a checkpoint as ONNX with preprocessing inside, reload it in ONNX Runtime, and compare.

    Args:
        checkpoint: a .safetensors file.
        out: the file to write; beside the checkpoint, with .onnx, unless given.
        images: files, folders or globs to compare on; generated scenes unless given.
        json: one JSON object on stdout.
    """
    from mobilenets.exports import export

    path = out if out is not None else checkpoint.with_suffix(".onnx")
    result = export(checkpoint, path, images=images or ())
    size = path.stat().st_size
    if json:
        print_json({"artifact": str(path), "file_bytes": size, **result.to_dict()})
    else:
        stdout().print(f"{path}: {size / 1e6:.2f} MB, verified: {result}")
