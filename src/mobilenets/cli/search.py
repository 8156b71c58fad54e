"""`mobilenets search DATA --budget 5ms`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.metrics import SPOKEN
from mobilenets.precision import Precision

if TYPE_CHECKING:
    from mobilenets.searching import Search


def run(
    data: Path,
    /,
    *,
    budget: list[str],
    hours: float = 2.0,
    task: Literal["detect", "segment"] | None = None,
    resolution: list[int] | None = None,
    device: str = "local",
    precision: Precision = "fp32",
    threads: int = 1,
    searcher: Literal["evolution", "tpe", "nsga2", "random"] = "evolution",
    objective: Literal["reward", "hard", "front"] = "hard",
    exponent: float = -0.07,
    keep: int = 1,
    study: str = "",
    trials: int = 0,
    shared: Path | None = None,
    worker: bool = False,
    weights: str = "none",
    seed: int = 0,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Search an architecture for these images and this device: new tables, not the papers'.

    Weights shared by a whole space of MobileNetV3's blocks are trained, many networks are scored by them, the best are
    measured and trained. Several machines can work on one study: run with --study on one until its shared weights are
    trained, copy its shared.safetensors, and run the same command with --shared and --worker on the others.

    Args:
        data: a folder of class folders, or one with train/ and val/ (and test/); COCO, VOC, YOLO, masks.
        budget: 5ms (median latency of one image), 2MB (file), 50MMACs, 1.5Mparams, 900KB-ram (peak activations);
            given several times, all must hold.
        hours: wall-clock time for everything.
        task: where the data have both boxes and masks; else it is found from them.
        resolution: of the input image in pixels; may be given several times. Unless given, up to three: the
            largest at which the images show something new and the budget leaves widths to choose among.
        device: where latency is measured: local, ssh:user@host, browser.
        precision: of the artifacts: fp32, fp16 (weights), int8.
        threads: threads of the artifacts' runtime.
        searcher: who proposes networks: evolution (regularized), tpe, nsga2 (with --objective front), random.
        objective: hard (accuracy of what meets the budget), reward (accuracy x load^exponent: what is faster gets a
            little more) or front (accuracy and cost, neither before the other).
        exponent: of the reward: -0.07 (MnasNet), -0.15 (V3-Small).
        keep: networks that are trained to the end.
        study: where workers share the study: a file on a common disk, or postgresql://USER:PASSWORD@HOST/DATABASE.
        trials: that the study shall have, over all workers; 0 for as many as there is time for.
        shared: the shared.safetensors of the first run of the same search: nothing is trained on it any more.
        worker: only score networks for the --study, by --shared; one run without it ends the search.
        weights: what the shared weights begin with: a checkpoint, MobileNetV2's published ones (a file, hf://owner/repo,
            imagenet, auto), or none.
        seed: of everything that is drawn.
        out: run folder; the next free runs/searchN unless given.
        resume: go on with the interrupted run in --out.
        overwrite: write into a folder that exists.
        json: one JSON object (report.json) on stdout.
    """
    from mobilenets.searching import search

    with Display() as display:
        result = search(
            data, budget, hours=hours, out=out, task=task, resolutions=resolution or (), device=device,
            precision=precision, threads=threads, searcher=searcher, objective=objective, exponent=exponent, keep=keep,
            study=study, trials=trials, shared=shared, worker=worker, weights=weights, seed=seed, resume=resume,
            overwrite=overwrite, watcher=display,
        )  # fmt: skip
    if json:
        print_json(result.report)
    elif result.model is None:
        stdout().print(f"the study has {result.report['trials']} networks; shared weights are in {result.folder}")
    else:
        show(result)


def show(result: Search) -> None:
    """The table at the end, and the lines to run next."""
    from rich.table import Table

    report, console = result.report, stdout()
    best, device = report["result"], report["device"]
    table = Table(title=f"searched for {report['budget']['text']}", caption=f"{device['runtime']}, {device['name']}")
    for column in ("network", "px", SPOKEN[report["task"]], "latency", "file", "macs", "params"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for each in report["networks"]:
        name = each["network"] + ("" if each["met"] else " (over the budget)")
        table.add_row(
            name, str(each["resolution"]), f"{each['metric']:.1%}", f"{each['latency_ms']:.2f} ms",
            f"{each['file_bytes'] / 1e6:.2f} MB", f"{each['macs'] / 1e6:.1f} M", f"{each['params'] / 1e6:.2f} M",
            style="bold" if each["network"] == best["network"] else "",
        )  # fmt: skip
    console.print(table)
    console.print(f"{report['study']['trials']} networks looked at: {result.folder / 'front.png'}", soft_wrap=True)
    for rungs, found in report["rank_correlation"].items():
        if found["spearman"] is not None:
            console.print(f"rank correlation {rungs}: {found['spearman']:.2f} over {found['networks']} networks")
    console.print(f"the table: mobilenets show {best['table']}", soft_wrap=True)
    console.print(f"next: mobilenets predict {best['artifact']} PHOTOS", soft_wrap=True)
