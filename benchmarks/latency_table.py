"""How well a latency table predicts: networks that it was not built from, predicted and then measured.

`python -m benchmarks.latency_table [DEVICE] [PRECISION]`: this machine in fp32 unless told otherwise.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.tables import machine
from mobilenets.errors import MisuseError
from mobilenets.latency import LatencyTable, build_set, build_table
from mobilenets.latency import device as device_of
from mobilenets.latency.artifacts import held_out
from mobilenets.latency.devices import Link
from mobilenets.latency.measure import Model, Timing, interleave, loaded
from mobilenets.precision import Precision
from mobilenets.table import Network
from mobilenets.zoo import INDEX

NAME = "latency_table"

ROUNDS = 5
BAR = 0.10
FOREIGN = (
    "mobile_one_s0",
    "mobile_one_s1",
    "mobilenet_edgetpu_v1",
    "mobilenet_edgetpu_v2_s",
    "mobilenet_v4_conv_large",
)
"""Networks of families that no table is built from."""


def run(device: str = "local", precision: Precision = "fp32") -> None:
    """Print the time to build the table and the errors of its predictions, held against the bar."""
    where = device_of(device)
    networks = held_out(build_set())
    with where.connect() as link:
        start = time.perf_counter()
        table = build_table(where, link, precision=precision, check=[])
        seconds = time.perf_counter() - start
        timings = _measured(link, [*networks, *(INDEX[name] for name in FOREIGN)], precision)
    unseen, foreign = (_errors(table, part) for part in (timings[: len(networks)], timings[len(networks) :]))
    shown = Table(
        title=f"latency predicted and measured: {len(unseen)} networks that the table was not built from",
        caption=(
            f"{machine()}\n{table.key}; measured: best of {ROUNDS} interleaved rounds, without the time in which others"
            f" had\nthe processor; {len(table.entries)} kernels from {len(table.measured)} artifacts, built in "
            f"{seconds:.0f} s"
        ),
    )
    for column in ("network", "classes", "rounds ms", "measured ms", "predicted ms", "error"):
        shown.add_column(column, justify="left" if column == "network" else "right")
    for rows in (unseen, foreign):
        for network, timing, measured, predicted, error in rows:
            medians = [r.median_ms for r in timing.rounds]
            spread = f"{min(medians):.2f} - {max(medians):.2f}"
            shown.add_row(
                network.label, str(network.classes), spread, f"{measured:.2f}", f"{predicted:.2f}", f"{error:+.1%}"
            )
        _summary(shown, [error for *_, error in rows])
    Console(width=120).print(shown)


Row = tuple[Network, Timing, float, float, float]


def _measured(link: Link, networks: list[Network], precision: Precision) -> list[tuple[Network, Timing]]:
    """Each network's rounds, six networks at a time by turns."""
    found: list[tuple[Network, Timing]] = []
    for start in range(0, len(networks), 6):
        group = networks[start : start + 6]
        models = [Model.random(network, precision) for network in group]
        with loaded(link, models, threads=1, own_process=False) as timings:
            for _ in interleave(timings, rounds=ROUNDS, limit_s=0.2):
                pass
        found += zip(group, timings, strict=True)
    return found


def _errors(table: LatencyTable, timings: list[tuple[Network, Timing]]) -> list[Row]:
    """(network, its rounds, measured ms, predicted ms, relative error); not those of kernels that it does not know."""
    rows: list[Row] = []
    for network, timing in timings:
        try:
            predicted = table.predict_ms(network)
        except MisuseError:
            continue
        measured = min(r.undisturbed_ms for r in timing.rounds)
        rows.append((network, timing, measured, predicted, predicted / measured - 1))
    return rows


def _summary(shown: Table, errors: list[float]) -> None:
    sizes = [abs(error) for error in errors]
    shown.add_section()
    for label, value in (
        ("median error", statistics.median(sizes)),
        ("90th percentile", float(np.percentile(sizes, 90))),
        ("largest", max(sizes)),
    ):
        mark = f" (above {BAR:.0%})" if label.startswith("median") and value > BAR else ""
        shown.add_row(label, "", "", "", "", f"{value:.1%}{mark}")
    shown.add_row("mean, with its sign", "", "", "", "", f"{statistics.mean(errors):+.1%}")
    shown.add_section()


if __name__ == "__main__":
    run(*sys.argv[1:])  # type: ignore[arg-type]
