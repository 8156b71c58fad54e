"""NetAdapt against the uniform width multiplier at equal measured latency: same start, same data, same fine-tuning.

    python -m benchmarks.netadapt START.safetensors DATA [--part 0.75] [--minutes 60] [--out runs/netadapt]

DATA has train/ and test/; the score is that of the test images. The start is adapted to a part of its measured
latency. The baseline is the start narrowed by one width multiplier, at a granularity of 1/200, to the latency that the
adapted network was measured to take, both timed by turns; it inherits the start's strongest channels and gets all the
time that NetAdapt trained in its long fine-tuning, with the same teacher and recipe, and, since its own search is free,
the time of NetAdapt's steps on top where `--all-time` is given.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.tables import machine
from mobilenets.adapting import adapt
from mobilenets.adapting.learning import plain_batches, tuning_recipe
from mobilenets.adapting.state import State
from mobilenets.cli.progress import Display
from mobilenets.data.cache import Squares
from mobilenets.data.folder import relabelled
from mobilenets.exports.shipping import ending_of
from mobilenets.files import write_text
from mobilenets.latency import device
from mobilenets.model import MobileNet, load, save
from mobilenets.prediction import evaluate
from mobilenets.search.timing import Clock
from mobilenets.table import Network, scale
from mobilenets.training import Training, execute, load_splits
from mobilenets.training.distill import ask_teachers
from mobilenets.training.run import open_data
from mobilenets.weights import inherit

GRAIN = 200
"""Widths are tried in steps of 1/200."""


def uniform(start: Network, wanted: float, clock: Clock) -> tuple[float, Network]:
    """(part of the start's latency, table) of the width multiplier whose latency is nearest to the wanted part.

    By bisection over measured latencies, then the nearest of its neighbours, all timed together.
    """
    low, high = GRAIN // 2, GRAIN
    while high - low > 1:
        middle = (low + high) // 2
        ((ratio, _),) = clock.ratios(start, [narrowed(start, middle)])
        low, high = (middle, high) if ratio <= wanted else (low, middle)
    tables = list(dict.fromkeys(narrowed(start, k) for k in range(max(1, low - 4), min(GRAIN, low + 5))))
    ratios = [ratio for ratio, _ in clock.ratios(start, tables)]
    nearest = min(range(len(tables)), key=lambda i: abs(ratios[i] - wanted))
    return ratios[nearest], tables[nearest]


def narrowed(start: Network, parts: int) -> Network:
    """The start by a width multiplier of so many two-hundredths; all of it, the last convolutions too."""
    return scale(replace(start, head="scaled"), parts / GRAIN)


def trained(start: MobileNet, table: Network, data: Path, run: Path, seconds: float, display: Display) -> MobileNet:
    """A network that inherits from the start and is fine-tuned as NetAdapt's is at its end."""
    folder = relabelled(open_data(data, start.network, seed=0), start.info.classes)
    train, val = load_splits(folder, start.network.resolution, display)
    teacher = run.parent / "steps" / "00.safetensors"
    assert isinstance(train, Squares)
    answers = ask_teachers([teacher], train, start.info.classes, note=display.note)
    run.mkdir(exist_ok=True)
    student = inherit(table, start, plain_batches(start, train, np.arange(len(train)), 0))
    return execute(Training(student, tuning_recipe(start, seconds, 0), train, val, teacher=answers), run, display)


def run(arguments: argparse.Namespace) -> None:
    """Adapt, find the width, train it, score both."""
    torch.manual_seed(0)
    start, out = load(arguments.start), Path(arguments.out)
    clock = Clock(device("local"), 1, "fp32", ending_of(start.info.task))
    latency, _ = clock.time(start.network)
    budget = f"{arguments.part * latency.median_ms:.4f}ms"
    if arguments.resume:
        (budget,) = State.read(out).budgets
    with Display() as display:
        adapted = adapt(
            arguments.start, arguments.data, budget, minutes=arguments.minutes, out=out, resume=arguments.resume,
            watcher=display,
        )  # fmt: skip
        ((part, _),) = clock.ratios(start.network, [adapted.model.network])
        found, table = uniform(start.network, part, clock)
        steps_s = sum(step["seconds"] for step in adapted.report["steps"])
        seconds = adapted.report["tuning_s"] + (steps_s if arguments.all_time else 0.0)
        display.note(f"width {table.width:g}: {found:.3f} of the start's latency, NetAdapt {part:.3f}; {seconds:.0f} s")
        baseline = trained(start, table, Path(arguments.data), out / "uniform", seconds, display)
        save(baseline, out / "uniform" / "model.safetensors")
        networks = [adapted.model.network, baseline.network]
        ratios = [ratio for ratio, _ in clock.ratios(start.network, networks)]
        files = [Path(arguments.start), out / "model.safetensors", out / "uniform" / "model.safetensors"]
        display.phase("scoring all three on the test images")
        scores = [evaluate(file, arguments.data, split="test").metric for file in files]
    told = Table(title=f"NetAdapt to {arguments.part:.0%} of {start.network.label}", caption=machine())
    for column in ("network", "latency", "test", "trained"):
        told.add_column(column, justify="left" if column == "network" else "right")
    rows = zip(
        ("start", "NetAdapt", f"width {table.width:g}"), (1.0, *ratios), scores,
        ("", f"{steps_s:.0f} + {adapted.report['tuning_s']:.0f} s", f"{seconds:.0f} s"), strict=True,
    )  # fmt: skip
    for name, ratio, score, time_s in rows:
        told.add_row(name, f"{ratio:.3f}", f"{score:.2%}", time_s)
    Console(width=110).print(told)
    result = {"latency": [1.0, *ratios], "test": scores, "width": table.width, "seconds": seconds}
    write_text(out / "benchmark.json", json.dumps(result, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start")
    parser.add_argument("data")
    parser.add_argument("--part", type=float, default=0.75)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", default="runs/netadapt")
    parser.add_argument("--all-time", action="store_true")
    parser.add_argument("--resume", action="store_true")
    run(parser.parse_args())
