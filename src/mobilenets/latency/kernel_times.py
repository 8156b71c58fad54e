"""How long each kernel of a network takes inside it, by the runtime's own profile."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.costs.roofline import PREPROCESS, kernel_of
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime.onnxruntime import raw_session
from mobilenets.table.lower import lower
from mobilenets.table.rows import Network

WARMING = 3
"""First runs that do not count."""


def kernel_times(network: Network, *, threads: int = 1, runs: int = 15) -> dict[str, float]:
    """Median milliseconds of each kernel in ONNX Runtime, random weights, by the name of the node that starts it.

    What the runtime inserts (layout changes) counts to the kernel that ran before it. A missing one was
    fused with another.
    """
    preprocessing = Preprocessing.of(network)
    model = to_onnx(network, random_weights(network), preprocessing).SerializeToString()
    image = np.zeros((1, network.resolution, network.resolution, network.in_channels), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        session = raw_session(model, threads=threads, profile=str(Path(folder) / "profile"))
        for _ in range(WARMING + runs):
            session.run(None, {session.get_inputs()[0].name: image})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found = _by_run(events, kernel_of(lower(network)))[WARMING:]
    names = dict.fromkeys(name for run in found for name in run)
    return {name: float(np.median([run.get(name, 0.0) for run in found])) for name in names}


def _by_run(events: list[dict[str, Any]], owners: Mapping[str, str]) -> list[dict[str, float]]:
    """Kernel -> milliseconds, run by run; a run begins where the image is turned to channels first."""
    timed = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    runs: list[dict[str, float]] = []
    current = PREPROCESS
    for event in sorted(timed, key=lambda e: e["ts"]):
        name = _node_name(event["name"], owners)
        if name == f"{PREPROCESS}.transpose":
            runs.append({})
        current = PREPROCESS if name.startswith(f"{PREPROCESS}.") else owners.get(name, current)
        if runs:
            runs[-1][current] = runs[-1].get(current, 0.0) + event["dur"] / 1e3
    return runs


def _node_name(event: str, owners: Mapping[str, str]) -> str:
    """The node that an event is of: the runtime appends how it is laid out, the writer what is a part of it."""
    name = event.removesuffix("_kernel_time").partition("/")[0].removesuffix("_nchwc").removesuffix("_bn")
    while name not in owners and "." in name and not name.startswith(f"{PREPROCESS}."):
        name = name.rpartition(".")[0]
    return name
