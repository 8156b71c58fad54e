"""`--runtime auto` against every runtime alone and against PyTorch eager: one image, one thread, interleaved rounds."""

from __future__ import annotations

import os
import statistics
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.tables import machine
from mobilenets.errors import MobileNetsError
from mobilenets.exports import export, sample_images
from mobilenets.latency.runner import time_call
from mobilenets.model import MobileNet, build, normalise
from mobilenets.prediction.auto import Option, choose, options
from mobilenets.runtime import Session, open_artifact
from mobilenets.weights import pretrained
from mobilenets.zoo import INDEX

NAME = "auto"

ROUNDS = 15
BAR_EAGER, BAR_SINGLE = 4.0, 1.03


def models() -> dict[str, MobileNet]:
    """V2 with published weights where the shared folder is there, V3-Large with random ones."""
    shared = Path(os.environ.get("MOBILENETS_SHARED", "../shared")).resolve()
    file = shared / "weights" / "timm_mobilenetv2_100_224_imagenet.safetensors"
    start = pretrained(INDEX["mobilenet_v2"], file) if file.is_file() else None
    v2 = start or build("mobilenet_v2")
    return {"mobilenet_v2": v2.eval(), "mobilenet_v3_large": build("mobilenet_v3_large").eval()}


def unpacked(name: str, folder: Path) -> Path | None:
    """A folder of the shared archive's photos, where there is one."""
    tar = Path(os.environ.get("MOBILENETS_SHARED", "../shared")).resolve() / "data" / name
    if not tar.is_file():
        return None
    with tarfile.open(tar) as archive:
        archive.extractall(folder, filter="data")
    return folder / tar.stem


def run() -> None:
    """Print the medians of all, and the two ratios that the bars are about."""
    torch.set_num_threads(1)
    table = Table(title=f"one image at 224, 1 thread, median of {ROUNDS} interleaved rounds", caption=machine())
    for column in ("network", "how", "median ms", "middle half", "against eager"):
        table.add_column(column, justify="left" if column in ("network", "how") else "right")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models().items():
            lines += _one(name, model, Path(folder), table)
    console = Console(width=120)
    console.print(table)
    for line in lines:
        console.print(line)


def _one(name: str, model: MobileNet, folder: Path, table: Table) -> list[str]:
    file = folder / f"{name}.onnx"
    photos = unpacked("photos_80.tar", folder)
    images = sample_images(model, [photos] if photos else (), limit=16)
    export(model, file, images=images)
    choice, chosen = choose(file, images, fresh=True)
    sessions: dict[str, Session] = {}
    for option in options(file):
        try:
            sessions[option.label] = _open(option)
        except MobileNetsError as error:
            table.add_row(name, option.label, "-", str(error).splitlines()[0][:60], "")
    one = images[:1]
    times: dict[str, list[float]] = {label: [] for label in ("PyTorch eager", "auto", *sessions)}
    with torch.inference_mode():
        for _ in range(ROUNDS):
            calls: dict[str, Callable[[], object]] = {"PyTorch eager": partial(_eager, model, one)}
            calls["auto"] = partial(chosen.run, one)
            calls |= {label: partial(session.run, one) for label, session in sessions.items()}
            for label, call in calls.items():
                times[label].append(statistics.median(time_call(call, runs=20, warmup_s=0.02, limit_s=0.5)))
    median = {label: statistics.median(values) for label, values in times.items()}
    for label, values in times.items():
        low, high = np.percentile(values, [25, 75])
        against = median["PyTorch eager"] / median[label]
        table.add_row(name, label, f"{median[label]:.2f}", f"{low:.2f} to {high:.2f}", f"{against:.2f}")
    passed = {t.label for t in choice.tried if t.median_ms is not None}
    best = min(median[label] for label in passed)
    faster, slower = median["PyTorch eager"] / median["auto"], median["auto"] / best
    return [
        f"{name}: {choice}",
        f"{name}: auto {faster:.2f} times as fast as eager (bar {BAR_EAGER}), "
        f"{slower:.3f} of the fastest single runtime whose answers pass (bar {BAR_SINGLE})",
    ]


def _eager(model: MobileNet, image: np.ndarray) -> torch.Tensor:
    probabilities: torch.Tensor = model.probabilities(
        model(normalise(torch.from_numpy(image), model.info.preprocessing))
    )
    return probabilities


def _open(option: Option) -> Session:
    return open_artifact(option.path, runtime=option.runtime, precision=option.arithmetic)


if __name__ == "__main__":
    run()
