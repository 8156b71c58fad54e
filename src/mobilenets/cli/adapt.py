"""`mobilenets adapt MODEL DATA --budget 4ms`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.metrics import SPOKEN
from mobilenets.precision import Precision

if TYPE_CHECKING:
    from mobilenets.adapting import Adapted


def run(
    model: Path,
    data: Path,
    /,
    *,
    budget: list[str],
    minutes: float = 60.0,
    delta: float = 0.01,
    rule: Literal["ratio", "accuracy"] = "ratio",
    device: str = "local",
    precision: Precision = "fp32",
    threads: int = 1,
    seed: int = 0,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Make a trained network narrower, step by step, until it meets a budget on a device (NetAdapt).

    Each step tries every layer: the largest network that is faster by --delta, with the strongest channels, fine-tuned
    briefly; the best is kept. Every step is a usable network. At the end comes a long fine-tuning, taught by the start.

    Args:
        model: a trained checkpoint (.safetensors): classifier, detector or segmenter.
        data: labelled images of the model's classes, as `train` takes them.
        budget: 4ms (median latency of one image), 2MB (file), 50MMACs, 1.5Mparams, 900KB-ram (peak activations);
            given several times, all must hold.
        minutes: wall-clock time for everything.
        delta: what a step takes off, as part of the start's latency; more where the minutes allow fewer steps.
        rule: how a step chooses: ratio (best accuracy change for its latency change, V3's) or accuracy (the highest).
        device: where latency is measured: local, ssh:user@host, browser.
        precision: of the artifact: fp32, fp16 (weights), int8.
        threads: threads of the artifact's runtime.
        seed: of everything that is drawn.
        out: run folder; the next free runs/adaptN unless given.
        resume: go on with the interrupted run in --out.
        overwrite: write into a folder that exists.
        json: one JSON object (report.json) on stdout.
    """
    from mobilenets.adapting import adapt

    with Display() as display:
        result = adapt(
            model, data, budget, minutes=minutes, delta=delta, rule=rule, out=out, device=device, precision=precision,
            threads=threads, seed=seed, resume=resume, overwrite=overwrite, watcher=display,
        )  # fmt: skip
    if json:
        print_json(result.report)
    elif result.folder is not None:
        show(result)


def show(result: Adapted) -> None:
    """The table at the end, and the line to run next."""
    from rich.table import Table

    report, console = result.report, stdout()
    start, end = report["start"], report["result"]
    table = Table(title=f"{start['network']} to {report['budget']['text']}", caption=_caption(report))
    for column in ("", "start", "adapted", "change"):
        table.add_column(column, justify="left" if not column else "right", style="bold" if not column else "")
    metric = SPOKEN[report["task"]]
    table.add_row(
        f"{metric}, {end['images']} {end['split']} images", f"{start['metric']:.1%}", f"{end['metric']:.1%}",
        f"{100 * (end['metric'] - start['metric']):+.1f} points",
    )  # fmt: skip
    rows = (
        ("latency, ms", "latency_ms", 1.0, ".2f"), ("file, MB", "file_bytes", 1e6, ".2f"),
        ("macs, M", "macs", 1e6, ".1f"), ("params, M", "params", 1e6, ".2f"),
    )  # fmt: skip
    for name, key, unit, form in rows:
        before, after = start[key] / unit, end[key] / unit
        table.add_row(name, format(before, form), format(after, form), f"{after / before - 1:+.0%}")
    console.print(table)
    console.print(f"next: mobilenets predict {end['artifact']} PHOTOS", soft_wrap=True)


def _caption(report: dict[str, Any]) -> str:
    device, steps = report["device"], len(report["steps"]) - 1
    return (
        f"{steps} steps; {device['runtime']} {device['precision']}, {device['threads']} thread"
        f"{'s' * (device['threads'] > 1)}, {device['name']}"
    )
