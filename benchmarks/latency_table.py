"""How well the latency table predicts: random candidates of the grid, predicted and then measured."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.tables import machine
from mobilenets.fitting.candidates import grid
from mobilenets.latency import LatencyTable, build_set, build_table, time_session
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession
from mobilenets.table import Network

NAME = "latency_table"

CANDIDATES = 30
ROUNDS = 5
BAR = 0.15


def run() -> None:
    """Print the time to build the table and the errors of its predictions, held against the bar."""
    start = time.perf_counter()
    table = build_table(threads=1)
    seconds = time.perf_counter() - start
    built = {network.label for network in build_set()}
    networks = [c.network for classes in (10, 1000) for c in grid(classes) if c.network.label not in built]
    chosen = random.Random(0).sample(networks, CANDIDATES)
    rows = _errors(table, chosen)
    errors = sorted(abs(error) for *_, error in rows)
    shown = Table(
        title=f"latency predicted and measured: {CANDIDATES} candidates that the table was not built from",
        caption=(
            f"{machine()}\n1 thread; measured: median of {ROUNDS} interleaved rounds; table of {len(table.entries)} "
            f"kernels of {len(build_set())} networks built in {seconds:.1f} s"
        ),
    )
    for column in ("network", "classes", "measured ms", "rounds", "predicted ms", "error"):
        shown.add_column(column, justify="left" if column == "network" else "right")
    for network, times, predicted, error in rows:
        low, high = min(times), max(times)
        spread = f"{low:.2f} - {high:.2f}"
        median = f"{statistics.median(times):.2f}"
        shown.add_row(network.label, str(network.classes), median, spread, f"{predicted:.2f}", f"{error:+.1%}")
    shown.add_section()
    for label, value in (
        ("median error", statistics.median(errors)),
        ("90th percentile", float(np.percentile(errors, 90))),
        ("largest", errors[-1]),
    ):
        mark = "" if value <= BAR else f" (above {BAR:.0%})"
        shown.add_row(label, "", "", "", "", f"{value:.1%}{mark}")
    shown.add_row("mean, with its sign", "", "", "", "", f"{statistics.mean(row[3] for row in rows):+.1%}")
    Console(width=120).print(shown)


def _errors(table: LatencyTable, networks: list[Network]) -> list[tuple[Network, list[float], float, float]]:
    """(network, medians of the rounds, predicted ms, relative error)."""
    runs = [_runner(network) for network in networks]
    times: list[list[float]] = [[] for _ in networks]
    for _ in range(ROUNDS):  # interleaved, so that a busy moment hits all of them
        for taken, measure in zip(times, runs, strict=True):
            taken.append(measure())
    predicted = [table.predict_ms(network) for network in networks]
    return [
        (network, taken, guess, guess / statistics.median(taken) - 1)
        for network, taken, guess in zip(networks, times, predicted, strict=True)
    ]


def _runner(network: Network) -> Callable[[], float]:
    model = to_onnx(network, random_weights(network), Preprocessing(network.resolution))
    session = OnnxRuntimeSession.open(model.SerializeToString(), threads=1)
    return lambda: time_session(session, runs=20, limit_s=0.5).median_ms


if __name__ == "__main__":
    run()
