"""`mobilenets export CHECKPOINT OUT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mobilenets.cli.export_site import export_site, is_site
from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mobilenets.exports import Artifact
    from mobilenets.model import MobileNet


def run(
    checkpoint: Path,
    out: Path | None = None,
    /,
    *,
    formats: Annotated[str | None, Parameter(name=("--formats", "--format"))] = None,
    also: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    precision: str = "fp32",
    data: str | None = None,
    images: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    max_drop: float | None = None,
    raw: bool = False,
    score: float = 0.05,
    overlap: float = 0.6,
    most: int = 100,
    json: bool = False,
) -> int:
    """Write a checkpoint with preprocessing inside, reload each file in its own runtime, and compare.

    ONNX and OpenVINO files of detectors and segmenters have post-processing inside, too: they give boxes, scores,
    classes and their count, or a mask. Those of other formats are raw: box codes and scores of anchors, or class
    probabilities of pixels.

    Args:
        checkpoint: a .safetensors file.
        out: a file, whose suffix is the format (.onnx, .xml, .tflite, .pte, .mlpackage, .c, .pt2); .onnx beside the
            checkpoint unless given. With --formats a folder; the next free runs/exportN unless given.
        formats: several at once, with commas: onnx, openvino, litert, executorch, coreml, c, pytorch; or all. Alone:
            web, a static site that runs the model, a checkpoint or an .onnx file, in the visitor's browser.
        also: more models for the site.
        precision: fp32, fp16, int8; several with commas, for a folder.
        data: labelled images as `fit` takes them: int8 takes its ranges from train and is scored on test, else val.
        images: files, folders or globs to compare on; --data's, else generated scenes, unless given.
        max_drop: points of the task's metric that int8 may lose on --data; 1 unless given, of boxes and masks 2.
        raw: without post-processing inside, for delegates that run the network only.
        score: of a detector with post-processing inside, the least that counts.
        overlap: intersection over union with a better box of its class from which a box is dropped.
        most: boxes of an image.
        json: one JSON object on stdout.
    """
    wanted = [part.strip() for part in precision.split(",") if part.strip()]
    if (max_drop is not None and max_drop < 0) or not wanted:
        raise MisuseError(f"--max-drop (={max_drop}) must be at least 0, and --precision (={precision!r}) name one.")
    options = _options(max_drop, raw, score, overlap, most)
    if is_site(formats):
        return export_site([checkpoint, *(also or ())], out, wanted[0], options, json=json)
    if also:
        raise MisuseError("--also names more models for a site: it goes with --format web.")
    if formats is None and (out is None or out.suffix or not out.is_dir()):
        if len(wanted) > 1:
            raise MisuseError(
                f"one file holds one precision, got --precision {precision}: give --formats and a folder."
            )
        return _one(checkpoint, out, wanted[0], data, images, options, json)
    return _several(checkpoint, out, formats or "all", wanted, data, images, options, json)


def _options(max_drop: float | None, raw: bool, score: float, overlap: float, most: int) -> dict[str, Any]:
    """What exporting one file and several share."""
    from mobilenets.exports import Postprocess

    postprocess = Postprocess(inside=not raw, score=score, overlap=overlap, most=most)
    return {"max_drop": None if max_drop is None else max_drop / 100, "postprocess": postprocess}


def _one(
    checkpoint: Path, out: Path | None, precision: Any, data: str | None, images: list[str] | None,
    options: dict[str, Any], json: bool,
) -> int:  # fmt: skip
    from mobilenets.exports import checked, export, size_bytes
    from mobilenets.model import load

    path = out if out is not None else checkpoint.with_suffix(".onnx")
    checked(path, precision, has_images=bool(data or images))
    model = load(checkpoint)
    found = _gathered(model, data, images, int8=precision == "int8")
    result = export(model, path, precision=precision, **options, **found)
    size = size_bytes(path)
    if json:
        print_json({"artifact": str(path), "file_bytes": size, **result.to_dict()})
    else:
        batch = "any number of images" if result.batch is None else f"{result.batch} image at once"
        stdout().print(f"{path}: {size / 1e6:.2f} MB, {precision}, {batch}, verified: {result}")
    return 0


def _several(
    checkpoint: Path, out: Path | None, formats: str, precisions: list[Any], data: str | None,
    images: list[str] | None, options: dict[str, Any], json: bool,
) -> int:  # fmt: skip
    from mobilenets.exports import bundle, planned
    from mobilenets.files import run_folder
    from mobilenets.model import load

    names = [part.strip() for part in formats.split(",") if part.strip()]
    plan = planned(names, precisions, has_images=bool(data or images))
    if out is not None and out.is_file():
        raise MisuseError(f"{out} is a file; several formats want a folder.")
    model = load(checkpoint)
    folder = out if out is not None else run_folder(None, "export")
    with Display() as display:
        found = _gathered(model, data, images, int8="int8" in precisions)
        made = bundle(
            model, folder, plan=plan, on_artifact=_shown(display), examples=_examples(data, images), **options,
            **found,
        )  # fmt: skip
    failed = [artifact for artifact in made if artifact.error]
    if json:
        print_json({"folder": str(folder), "artifacts": [artifact.to_dict() for artifact in made]})
    else:
        _table(folder, made)
    for artifact in failed:
        display.note(f"{artifact.format} {artifact.precision} failed: {artifact.error}")
    return 1 if failed else 0


def _examples(data: str | None, images: list[str] | None) -> Sequence[Any]:
    """Image files for the parity pack."""
    from mobilenets.data import decode
    from mobilenets.data.formats import read_data

    if images:
        return decode.find_images(images)
    if data is None:
        return ()
    splits = read_data(data, need_classes=1).splits
    entries = splits.get("test") or splits.get("val") or next(iter(splits.values()))
    return [entry.source for entry in entries]


def _shown(display: Display) -> Any:
    def on_artifact(what: str, done: int, of: int) -> None:
        display.phase(f"{what} ({done + 1} of {of})" if done < of else what, of)
        display.advance(done, of)

    return on_artifact


def _gathered(model: MobileNet, data: str | None, images: list[str] | None, *, int8: bool) -> dict[str, Any]:
    """Images to compare on, with their labels where there are some, and those to calibrate on."""
    from mobilenets.exports import calibration_images, labelled_images, sample_images

    labels = None
    if images:
        pixels = sample_images(model, images)
    elif data:
        pixels, labels = labelled_images(model, data)
    else:
        pixels = sample_images(model)
    calibration = None
    if int8:
        calibration = calibration_images(model, data) if data else pixels if images else None
    return {"images": pixels, "labels": labels, "calibration": calibration}


def _table(folder: Path, made: Sequence[Artifact]) -> None:
    from rich.table import Table

    table = Table(title=str(folder))
    for column in ("format", "precision", "file", "MB", "images at once", "proof", "operators", "seconds"):
        table.add_column(column, justify="right" if column in ("MB", "seconds") else "left", overflow="fold")
    for artifact in made:
        proof = artifact.verification
        batch = "" if proof is None else "any" if proof.batch is None else str(proof.batch)
        table.add_row(
            artifact.format, artifact.precision, artifact.file or "failed",
            f"{artifact.bytes / 1e6:.2f}" if artifact.file else "", batch, str(proof or ""),
            str(artifact.census or ""), f"{artifact.seconds:.0f}",
        )  # fmt: skip
    stdout().print(table)
