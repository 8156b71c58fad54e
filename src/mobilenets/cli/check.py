"""`mobilenets check DATA`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.errors import DataError, MisuseError

if TYPE_CHECKING:
    from mobilenets.doctor import Finding, Report
    from mobilenets.doctor.survey import Survey
    from mobilenets.prediction import Predictor

MAX_CLASSES = 50
_BAR = 24


def run(
    data: Path,
    /,
    *,
    resolution: int = 224,
    model: Path | None = None,
    split: str | None = None,
    task: Literal["detect", "segment"] | None = None,
    out: Path | None = None,
    limit: int = 3,
    strict: bool = False,
    json: bool = False,
) -> int:
    """Find what is wrong with a data set: broken files, copies, leaks, odd sizes, boxes, masks. Changes nothing.

    Args:
        data: a folder of class folders, or one with train/ and val/ (and test/); boxes or masks as VOC, COCO or YOLO
            keep them, or masks as images.
        resolution: input of the network that is to be trained, in pixels.
        model: a checkpoint or an exported file; lists images of which it is sure that they are of another class.
        split: images that the model judges: train, val or test; all unless given.
        task: what is checked where the data have both boxes and masks: detect (unless given) or segment.
        out: folder for check.json and contact.png, a sheet of what was found.
        limit: examples shown of each kind.
        strict: exit code 1 where there is a fault or a warning.
        json: one JSON object on stdout.
    """
    from mobilenets.doctor import check
    from mobilenets.doctor.survey import survey

    _check_options(data, out, limit, split, model)
    with Display() as display:
        predictor = _predictor(model)
        display.phase("looking at the images")
        found = survey(data, task)
        if predictor is not None and found.listing is not None:
            raise MisuseError(f"{data}: has boxes or masks; --model judges images of classes only.")
        report = check(data, resolution=resolution, on_progress=display.advance, found=found)
        if predictor is not None:
            display.phase("asking the model")
            report = report.adding(_suspicious(predictor, found, report, split, display))
        if out is not None:
            display.phase("drawing the contact sheet")
            _write(report, out)
    if json:
        print_json(report.to_dict())
    else:
        _show(report, limit, out)
    return int(strict and not report.sound)


def _check_options(data: Path, out: Path | None, limit: int, split: str | None, model: Path | None) -> None:
    if limit < 0:
        raise MisuseError(f"--limit {limit}: must be 0 or more.")
    if split is not None and model is None:
        raise MisuseError("--split says which images --model judges: give --model too.")
    if out is not None and out.is_file():
        raise MisuseError(f"{out} is a file; --out needs a folder.")
    if out is not None and out.resolve().is_relative_to(data.resolve()):
        raise MisuseError(
            f"{out} lies in the data, where contact.png would be taken for an image: choose another --out."
        )


def _predictor(model: Path | None) -> Predictor | None:
    """The model, opened before the long work so that a wrong name is told at once."""
    if model is None:
        return None
    from mobilenets.prediction import open_model

    return open_model(model)


def _suspicious(
    predictor: Predictor, found: Survey, report: Report, split: str | None, display: Display
) -> list[Finding]:
    from mobilenets.data.listing import SPLITS
    from mobilenets.data.splits import listed
    from mobilenets.doctor.labels import suspicious
    from mobilenets.prediction.predict import loaded_batches

    name = None if split is None else SPLITS.get(split, split)
    if name is not None and name not in found.classes:
        raise MisuseError(f"{found.root}: no split {split!r}: found {', '.join(found.classes)}.")
    labels = {item.path: item.label for item in found.items if name in (None, item.split)}
    if unknown := sorted(set(labels.values()) - set(predictor.classes)):
        raise DataError(
            f"{found.root}: {len(unknown)} classes are none of the model: {listed('+', unknown)}. "
            "Give the model that was trained on this data."
        )

    def said() -> Any:
        done = 0
        for batch, images, errors in loaded_batches([*labels], predictor):
            readable = [path for path in batch if path not in errors]
            if readable:
                yield from zip(readable, predictor.run(images), strict=True)
            done += len(batch)
            display.advance(done, len(labels))

    return suspicious(said(), labels, predictor.classes)


def _write(report: Report, out: Path) -> None:
    import json

    from mobilenets.doctor.sheet import draw_sheet
    from mobilenets.files import write_text

    write_text(out / "check.json", json.dumps(report.to_dict(), indent=1, ensure_ascii=False))
    draw_sheet(report, out / "contact.png")


def _show(report: Report, limit: int, out: Path | None) -> None:
    """Class counts, then what was found by kind, then one line."""
    console = stdout()
    console.print(_class_table(report))
    if report.findings:
        console.print(_finding_table(report, limit))
    found = report.to_dict()
    said = ", ".join(f"{found[key]:,} {key}" for key in ("faults", "warnings", "notes"))
    console.print(f"{report.images:,} images: {said}", soft_wrap=True)
    if out is not None:
        console.print(f"all files: {out / 'check.json'}; pictures: {out / 'contact.png'}", soft_wrap=True)
    elif not report.sound:
        console.print("--out FOLDER writes all file names and a contact sheet.", soft_wrap=True)


def _class_table(report: Report) -> Any:
    from rich.table import Table

    from mobilenets.data.files import natural

    names = sorted({name for of in report.counts.values() for name in of}, key=natural)
    what = {"detect": "objects", "segment": "images with them"}.get(report.task, "images")
    table = Table(title=f"{len(names)} classes" if what == "images" else f"{len(names)} classes, {what}")
    table.add_column("class")
    for split in report.counts:
        table.add_column(what if split == "all" else split, justify="right")
    table.add_column("")
    totals = {name: sum(of.get(name, 0) for of in report.counts.values()) for name in names}
    for name in names[:MAX_CLASSES]:
        bar = "█" * -(-_BAR * totals[name] // max(1, *totals.values()))
        table.add_row(name, *(f"{of.get(name, 0):,}" for of in report.counts.values()), bar)
    if len(names) > MAX_CLASSES:
        table.add_row(f"... {len(names) - MAX_CLASSES} more", *("" for _ in report.counts), "")
    return table


def _finding_table(report: Report, limit: int) -> Any:
    from rich.table import Table

    table = Table(title="findings", show_lines=True)
    for column in ("", "what", "files", "examples"):
        table.add_column(column, justify="right" if column == "files" else "left", overflow="fold")
    for severity, kind in dict.fromkeys((f.severity, f.kind) for f in report.findings):
        of = [f for f in report.findings if (f.severity, f.kind) == (severity, kind)]
        files = sum(len(f.paths) for f in of)
        examples = [_example(finding, report.root) for finding in of[:limit]]
        if len(of) > limit:
            examples.append(f"... {len(of) - limit:,} more")
        table.add_row(severity, kind, f"{files:,}" if files else "", "\n".join(examples))
    return table


def _example(finding: Finding, root: Path) -> str:
    from mobilenets.doctor.findings import below

    names = [below(path, root) for path in finding.paths]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    return f"{shown}: {finding.message}" if shown else finding.message
