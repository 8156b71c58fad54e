"""`mobilenets bench MODEL...`."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from mobilenets.cli.networks import expand, resolve
from mobilenets.cli.output import print_json, stderr, stdout
from mobilenets.errors import MisuseError
from mobilenets.latency import Latency
from mobilenets.latency import device as device_of
from mobilenets.latency.devices import Device
from mobilenets.latency.measure import ROUNDS, Model, Timing, interleave, loaded

SECONDS, SUSTAINED_S, TURN_S = 2.0, 60.0, 1.0
SPREAD, BUSY, WAITED = 0.15, 0.5, 0.05
"""Rounds that differ more, more waiting processes a core, or more of the time waited make numbers doubtful."""
INTERRUPTED = 130


def run(
    *models: str,
    device: str = "local",
    threads: int = 1,
    seconds: float | None = None,
    sustained: bool = False,
    runtime: str | None = None,
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    width: float = 1.0,
    resolution: int | None = None,
    runner: str | None = None,
    json: bool = False,
) -> int:
    """Measure the latency of one image through an artifact's runtime, preprocessing included, decoding not.

    Several models take turns, so that they can be compared. Ctrl-C ends early with what was measured.

    Args:
        models: exported files, checkpoints (.safetensors), or networks' names (random weights).
        device: local, ssh:user@host[:port], adb[:serial], browser, browser:webgpu.
        threads: threads inside an operator.
        seconds: how long each model is timed: 2, or 60 with --sustained.
        sustained: watch whether the device slows down as it warms up: the last tenth against the first.
        runtime: where a file has several: onnxruntime or openvino.
        precision: int8 for names (quantized with random weights); bf16 for files in OpenVINO.
        width: width multiplier, for names.
        resolution: height and width of the input in pixels, for names.
        runner: for phones (adb), the runtime's own benchmark program.
        json: one JSON object on stdout.
    """
    seconds = seconds if seconds is not None else (SUSTAINED_S if sustained else SECONDS)
    if threads < 1 or not (0 < seconds < math.inf):
        raise MisuseError(f"--threads (={threads}) must be at least 1 and --seconds (={seconds:g}) above 0.")
    where = device_of(device, runner=runner)
    chosen = [_model(name, width, resolution, runtime, precision) for name in expand(models)]
    if not chosen:
        raise MisuseError("name the models to time: exported files, checkpoints or networks.")
    rounds = max(ROUNDS, math.ceil(seconds / TURN_S))
    timings, complete = _measure(where, chosen, threads, rounds, seconds / rounds)
    if not timings:
        return INTERRUPTED
    results = [_result(timing, sustained) for timing in timings]
    doubts = _doubts(timings)
    if json:
        print_json({"device": where.text, "models": results, "doubts": doubts, "complete": complete})
    else:
        _print(where, timings, sustained)
    for doubt in (*doubts, *((where.remark,) if where.remark else ())):
        stderr().print(f"note: {doubt}", soft_wrap=True)
    return 0 if complete else INTERRUPTED


def _model(name: str, width: float, resolution: int | None, runtime: str | None, precision: str) -> Model:
    """What a word of the command line means."""
    match Path(name).suffix.lower():
        case ".safetensors":
            if precision == "int8":
                raise MisuseError(f"{name}: --precision int8 quantizes names; export the checkpoint in int8 first.")
            return _checkpoint(name, runtime, precision)
        case "" | ".json":
            if precision == "bf16":
                raise MisuseError(f"{name}: --precision bf16 is for files in OpenVINO.")
            network = resolve(name, width, resolution)
            return replace(Model.random(network, "int8" if precision == "int8" else "fp32"), runtime=runtime)
        case _:
            if precision == "int8":
                raise MisuseError(f"{name}: a file is as precise as it was exported; --precision int8 is for names.")
            return Model.of(name, runtime=runtime, precision=None if precision == "fp32" else precision)


def _checkpoint(name: str, runtime: str | None, precision: str) -> Model:
    from mobilenets.exports import export

    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / f"{Path(name).stem}.onnx"
        export(name, artifact)
        return Model.of(artifact, runtime=runtime, precision=None if precision == "fp32" else precision)


def _measure(
    where: Device, models: Sequence[Model], threads: int, rounds: int, turn_s: float
) -> tuple[list[Timing], bool]:
    """Models timed in turns, and whether nobody stopped it; stopped early, what every model has a round of."""
    from rich.progress import track

    err = stderr()
    timings: list[Timing] = []
    try:
        with where.connect() as link, loaded(link, models, threads=threads) as timings:
            turns = interleave(timings, rounds=rounds, limit_s=turn_s)
            for _ in track(turns, "timing", total=rounds, console=err, disable=not err.is_terminal, transient=True):
                pass
    except KeyboardInterrupt:
        # the device is in the middle of an answer: it was left, not asked to free its models
        whole = min((len(timing.rounds) for timing in timings), default=0)
        err.print(f"interrupted: {whole} of {rounds} rounds were measured.")
        return timings if whole else [], False
    return timings, True


def _result(timing: Timing, sustained: bool) -> dict[str, Any]:
    found = {"model": timing.model.name, **timing.latency().to_dict(), "spread": timing.latency().spread}
    return found | _slowdown(timing) if sustained else found


def _slowdown(timing: Timing) -> dict[str, Any]:
    """The last tenth of the rounds against the first."""
    tenth = max(1, len(timing.rounds) // 10)
    first, last = timing.rounds[:tenth], timing.rounds[-tenth:]
    before, after = (statistics.median(r.median_ms for r in part) for part in (first, last))
    ends = timing.rounds[0].readings, timing.rounds[-1].readings
    return {
        "first_tenth_ms": before,
        "last_tenth_ms": after,
        "slowdown": after / before - 1,
        **{f"{key}_{when}": r.get(key) for when, r in zip(("before", "after"), ends, strict=True)
           for key in ("temperature_c", "clock_mhz")},
    }  # fmt: skip


def _doubts(timings: Sequence[Timing]) -> list[str]:
    """What says that the machine was busy."""
    found = []
    load, cores = timings[0].rounds[0].readings.get("load_average"), timings[0].link.cores or 1
    if load is not None and load > BUSY * cores:
        found.append(
            f"the machine is busy: {load:.1f} processes ran or waited in the last minute, on {cores} cores. Close what "
            "else is running, or compare only what was timed together."
        )
    for timing in timings:
        waited, spread = timing.latency().waited, timing.latency().spread
        if waited is not None and waited > WAITED:
            found.append(f"{timing.model.name}: in {waited:.0%} of its time others had the processor.")
        if spread > SPREAD:
            found.append(
                f"{timing.model.name}: its rounds differ by {spread:.0%}; something else ran, or the clock changed."
            )
    return found


def _print(where: Device, timings: Sequence[Timing], sustained: bool) -> None:
    from rich.table import Table

    first = timings[0].latency()
    title = f"{where.text}: {first.device}, {first.threads} thread{'s' * (first.threads > 1)}; one image, milliseconds"
    table = Table(title=title, title_justify="left")
    for heading in (
        "model",
        "runtime",
        "precision",
        "median",
        "p90",
        "p99",
        "fastest",
        "runs",
        "rounds",
        "load",
        "first run",
        "peak MB",
    ):
        table.add_column(heading, justify="left" if heading in ("model", "runtime", "precision") else "right")
    for timing in timings:
        table.add_row(*_cells(timing.model.name, timing.latency()))
    stdout().print(table)
    if first.temperature_c is not None or first.clock_mhz is not None:
        last = timings[-1].latency()
        stdout().print(f"at the end: {_state(last.temperature_c, last.clock_mhz)}")
    if sustained:
        for timing in timings:
            stdout().print(_sustained(timing.model.name, _slowdown(timing)), soft_wrap=True)


def _cells(name: str, latency: Latency) -> tuple[str, ...]:
    def number(value: float | None, digits: int = 2) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    low, high = min(latency.rounds_ms), max(latency.rounds_ms)
    peak = None if latency.peak_bytes is None else latency.peak_bytes / 1e6
    return (
        name, latency.runtime, latency.precision, number(latency.median_ms), number(latency.p90_ms),
        number(latency.p99_ms), number(latency.min_ms), str(latency.runs), f"{low:.2f} - {high:.2f}",
        number(latency.load_ms, 0), number(latency.first_ms, 1), number(peak, 0),
    )  # fmt: skip


def _sustained(name: str, found: dict[str, Any]) -> str:
    return (
        f"{name}: {found['first_tenth_ms']:.2f} ms in the first tenth, {found['last_tenth_ms']:.2f} ms in the last: "
        f"{found['slowdown']:+.1%}; {_state(found['temperature_c_before'], found['clock_mhz_before'])} before, "
        f"{_state(found['temperature_c_after'], found['clock_mhz_after'])} after"
    )


def _state(temperature_c: float | None, clock_mhz: float | None) -> str:
    warm = "temperature not readable" if temperature_c is None else f"{temperature_c:.0f} °C"
    clock = "clock not readable" if clock_mhz is None else f"{clock_mhz:.0f} MHz"
    return f"{warm}, {clock}"
