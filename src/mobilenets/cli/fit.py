"""`mobilenets fit DATA --budget 5ms`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.metrics import METRICS, SPOKEN
from mobilenets.precision import Precision

if TYPE_CHECKING:
    from mobilenets.fitting import Fit


def run(
    data: Path,
    /,
    *,
    budget: list[str],
    minutes: float = 10.0,
    task: Literal["detect", "segment"] | None = None,
    effort: Literal["low", "medium", "high"] = "low",
    device: str = "local",
    precision: Precision = "fp32",
    max_drop: float | None = None,
    threads: int = 1,
    seed: int = 0,
    weights: str = "auto",
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """The most accurate MobileNet for these images that meets the budget: trained, exported, measured, verified.

    Labelled images get a classifier, images with boxes a detector, images with masks a segmenter. Boxes and masks are
    made inside the file, and its budget holds with that.

    Args:
        data: a folder of class folders, or one with train/ and val/ (and test/); COCO, VOC, YOLO, masks.
        budget: 5ms (median latency of one image), 2MB (file), 50MMACs, 1.5Mparams, 900KB-ram (peak activations);
            given several times, all must hold.
        minutes: wall-clock time for everything.
        task: where the data have both boxes and masks; else it is found from them.
        effort: low picks from the papers' networks; medium may take one that is too large by a quarter and make it
            narrower (NetAdapt); high adds networks of an architecture search on these images, which wants hours.
        device: where latency is measured and the artifact proven: local, ssh:user@host, browser.
        precision: of the artifact: fp32, fp16 (weights), int8.
        max_drop: what int8 may cost, in points of the metric (1; 2 of AP and mIoU); where nothing holds it, the file
            stays in float.
        threads: threads of the artifact's runtime.
        seed: of split, search and training.
        weights: what networks start from: auto (the best published ones that can be had, else none), imagenet, none, a
            safetensors file, or hf://owner/repo.
        out: run folder; the next free runs/fitN unless given.
        resume: go on with the interrupted run in --out.
        overwrite: write into a folder that exists.
        json: one JSON object (report.json) on stdout.
    """
    from mobilenets.fitting import fit

    with Display() as display:
        result = fit(
            data, budget, minutes=minutes, out=out, task=task, effort=effort, device=device, precision=precision,
            max_drop=None if max_drop is None else max_drop / 100, threads=threads, seed=seed, weights=weights,
            resume=resume, overwrite=overwrite, watcher=display,
        )  # fmt: skip
    if json:
        print_json(result.report)
    else:
        show(result)


def show(result: Fit) -> None:
    """The table at the end, and the line to run next."""
    from rich.table import Table

    report, console = result.report, stdout()
    winner, verification = report["winner"], report["verification"]
    table = Table(title=f"{winner['network']} x{winner['width']:g} at {winner['resolution']} px", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    metric = SPOKEN[report["task"]]
    tested = winner.get(f"test_{METRICS[report['task']]}")
    found = f"{winner['metric']:.1%} {metric}" + "".join(
        f", {value:.1%} {name}" for name, value in list(winner.get("beside", {}).items())[:1]
    )
    found += f" on {report['data']['val_images']} validation images"
    if tested is not None:
        found += f", {tested:.1%} on {report['data']['test_images']} test images"
    device = report["device"]
    rows = {
        "budget": report["budget"]["text"],
        "accuracy": found,
        "latency": f"{winner['latency_ms']:.2f} ms median, {winner['latency_p90_ms']:.2f} ms p90 of "
        f"{winner['latency_runs']} ({device['runtime']} {device['precision']}, {device['threads']} thread, "
        f"{device['name']})",
        "size": f"{winner['file_bytes'] / 1e6:.2f} MB file, {winner['params'] / 1e6:.2f} M params, "
        f"{winner['macs'] / 1e6:.1f} M macs, {winner['peak_activation_bytes'] / 1e3:.0f} KB activations",
        "verified": _proof(verification) + _on_device(device),
        "table": f"predicted latencies are {report['prediction']['median_error']:.1%} off (median of "
        f"{report['prediction']['measured']} measured)",
        "artifact": winner["artifact"],
        "report": f"{result.folder / 'report.html'}, {result.folder / 'report.json'}",
    }
    for key, value in rows.items():
        table.add_row(key, value)
    console.print(table)
    console.print(f"next: mobilenets predict {winner['artifact']} PHOTOS", soft_wrap=True)


def _proof(verification: dict[str, Any]) -> str:
    if verification["rule"] == "metric":
        model, file = verification["metric"]
        return f"in a fresh process {file:.1%} of PyTorch's {model:.1%}, on {verification['images']} images"
    if verification["rule"] == "agreement" and verification["task"] in ("detect", "segment"):
        what = "boxes" if verification["task"] == "detect" else "pixels"
        return f"{verification['top1_agreement']:.1%} of the {what} are PyTorch's, on {verification['images']} images"
    return (
        f"largest probability difference {verification['max_difference']:.1e} from PyTorch on {verification['images']} "
        "images"
    )


def _on_device(device: dict[str, Any]) -> str:
    """What it answered on a device that is not this machine."""
    if "answers" not in device:
        return ""
    answers = device["answers"]
    return (
        f"; on {device['kind']} {answers['max_difference']:.1e} from here, the same class on "
        f"{answers['top1_agreement']:.0%} of {answers['images']}"
    )
