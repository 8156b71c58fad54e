"""`mobilenets latency build|predict`: the latency table of a device."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App, Parameter

from mobilenets.cli.networks import resolve
from mobilenets.cli.output import print_json, stderr, stdout
from mobilenets.cli.progress import Display
from mobilenets.errors import MisuseError
from mobilenets.files import cache_folder
from mobilenets.latency import LatencyTable, build_table
from mobilenets.latency import device as device_of
from mobilenets.latency.building import keep, onnx_runtime
from mobilenets.latency.cache import cache_path
from mobilenets.latency.table import table_key

app = App(
    name="latency",
    help="The latency table of a device: built by timing, read to predict.",
    default_parameter=Parameter(negative=()),
)


@app.command
def build(
    *,
    task: Literal["classify", "detect", "segment"] = "classify",
    device: str = "local",
    threads: int = 1,
    precision: Literal["fp32", "int8"] = "fp32",
    out: Path | None = None,
    runner: str | None = None,
    json: bool = False,
) -> None:
    """Time networks and parts of them on a device and fit its table; a build that was stopped goes on when run again.

    Args:
        task: of the networks that it shall predict; heads for boxes and masks have kernels of their own.
        device: local, ssh:user@host[:port], adb[:serial], browser, browser:webgpu.
        threads: threads inside an operator.
        precision: fp32, or int8 (quantized with random weights).
        out: a file to share it as; it is kept in the cache in any case, where `fit` finds it.
        runner: for phones (adb), onnxruntime_perf_test.
        json: one JSON object on stdout.
    """
    if threads < 1:
        raise MisuseError(f"--threads (={threads}) must be at least 1.")
    where = device_of(device, runner=runner)
    with where.connect() as link, Display() as display:
        key = table_key(link.name, onnx_runtime(where, link), precision, threads, task)
        display.phase(f"latency table of {key}")
        table = build_table(where, link, task=task, threads=threads, precision=precision, on_progress=display.advance)
    keep(table)
    path = out or cache_path(cache_folder(), table.key)
    if out is not None:
        table.write(out)
    if json:
        print_json({**_about(table), "table": str(path)})
    else:
        stdout().print(_words(table), soft_wrap=True)
        stdout().print(f"wrote {path}", soft_wrap=True)
    if where.remark:
        stderr().print(f"note: {where.remark}", soft_wrap=True)


@app.command
def predict(
    network: str,
    /,
    *,
    table: Path,
    width: float = 1.0,
    resolution: int | None = None,
    classes: int | None = None,
    json: bool = False,
) -> None:
    """Latency of a network on a table's device, row by row, without running it.

    Args:
        network: name in the index, or a table file (.json).
        table: latency table that `latency build` wrote.
        width: width multiplier.
        resolution: height and width of the input, in pixels.
        classes: outputs of the classifier.
        json: one JSON object on stdout.
    """
    from rich.table import Table

    from mobilenets.costs import cost
    from mobilenets.costs.printed import operator

    found = LatencyTable.read(table)
    chosen = resolve(network, width, resolution, classes)
    rows, total = found.by_row(chosen), found.predict_ms(chosen)
    if json:
        lines = [{"row": row, "ms": value} for row, value in rows.items()]
        print_json({"network": chosen.label, "predicted_ms": total, "rows": lines, **_about(found)})
        return
    printed = Table(title=f"{chosen.label}: {total:.2f} ms predicted", title_justify="left")
    for heading in ("row", "operator", "output c h w", "ms", "share"):
        printed.add_column(heading, justify="left" if heading == "operator" else "right")
    printed.add_row("", "scaling of the pixels", "", f"{rows[0]:.3f}", f"{rows[0] / total:.0%}")
    for row in cost(chosen).rows:
        shape, ms = " ".join(map(str, row.output_shape)), rows[row.number]
        printed.add_row(str(row.number), operator(row.row, row.input_shape), shape, f"{ms:.3f}", f"{ms / total:.0%}")
    stdout().print(printed)
    stdout().print(_words(found), soft_wrap=True)


def _about(table: LatencyTable) -> dict[str, object]:
    error = table.error
    return {
        "device": table.device,
        "runtime": table.runtime,
        "threads": table.threads,
        "precision": table.precision,
        "task": table.task,
        "kernels": len(table.entries),
        "artifacts": len(table.measured),
        "error_median": error.median if error else None,
        "error_p90": error.p90 if error else None,
        "error_networks": len(error.networks) if error else 0,
    }


def _words(table: LatencyTable) -> str:
    error = f"its error: {table.error}" if table.error else "its error was not measured"
    return f"{table.key}: {len(table.entries)} kernels from {len(table.measured)} timed artifacts; {error}."
