"""Every format and precision of one network with published weights in every runtime: size, parity, top-1, latency."""

from __future__ import annotations

import csv
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.tables import print_table, spread
from mobilenets.errors import MobileNetsError
from mobilenets.exports import census, planned, sample_images, size_bytes, write
from mobilenets.exports.fresh import run_c
from mobilenets.exports.verify import probabilities
from mobilenets.model import MobileNet
from mobilenets.runtime import SUFFIXES, open_artifact
from mobilenets.runtime.session import Images
from mobilenets.weights import pretrained
from mobilenets.zoo import INDEX

NAME = "formats"
WEIGHTS = "timm_mobilenetv2_100_224_imagenet.safetensors"
ROUNDS, RUNS = 5, 10
COLUMNS = [
    "file",
    "runtime",
    "MB",
    "difference",
    "top-1",
    "images",
    "median_ms",
    "best_ms",
    "middle_half_ms",
    "n",
    "operators",
]
IN_C = 100
"""Images that the compiled C is scored on: its plain loops take about a second each."""


@dataclass
class _Row:
    """One file in one runtime."""

    file: str
    runtime: str
    mb: float
    difference: float
    top1: float
    images: int
    times_ms: list[float]
    census: str


def run() -> None:
    """Print the table."""
    shared = Path(os.environ.get("MOBILENETS_SHARED", Path(__file__).resolve().parents[1] / "../shared"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = pretrained(INDEX["mobilenet_v2"], shared / "weights" / WEIGHTS)
        assert model is not None
        photos = sample_images(model, [_unpacked(shared / "data" / "photos_80.tar", folder)])
        images, labels = _sample(model, _unpacked(shared / "data" / "imagenet_sample_500.tar", folder))
        start = time.perf_counter()
        rows = list(_rows(model, folder / "files", photos, images, labels))
    print_table(
        f"mobilenet_v2 {WEIGHTS}: int8 calibrated on the {len(photos)} photos that the difference is measured on; one "
        f"thread, one image, {ROUNDS} interleaved rounds; {time.perf_counter() - start:.0f} s",
        (
            "file",
            "runtime",
            "MB",
            "difference",
            "top-1",
            "images",
            "median ms",
            "best",
            "middle half",
            "n",
            "operators",
        ),
        [_cells(row) for row in rows],
    )


def _rows(model: MobileNet, folder: Path, photos: Images, images: Images, labels: Sequence[int]) -> Iterator[_Row]:
    """Rows of all files, latencies measured in turns at the end, so that all have the same neighbours."""
    expected = probabilities(model, photos)
    found = probabilities(model, images)
    rows = [_Row("checkpoint", "pytorch eager", 14.0, 0.0, _top1(found, labels), len(labels), [], "")]
    calls: list[Any] = [lambda: probabilities(model, photos[:1])]
    for format, precision in planned(["all"], ["fp32", "fp16", "int8"], has_images=True):
        path = folder / f"v2_{precision}{format.suffix}"
        try:
            write(model, path, precision=precision, calibration=photos)
        except MobileNetsError as error:
            print(f"{path.name}: {error}")
            continue
        mb, operators = size_bytes(path) / 1e6, str(census(model, path))
        if format.name == "c":
            out = run_c(path, np.concatenate([photos, images[:IN_C]])).probabilities
            if out is not None:
                difference = float(np.abs(out[: len(photos)] - expected).max())
                top1 = _top1(out[len(photos) :], labels[:IN_C])
                rows.append(_Row(path.name, "compiled", mb, difference, top1, IN_C, [], operators))
                calls.append(None)
        for runtime, arithmetic in _runtimes(path):
            session = open_artifact(path, runtime=runtime, precision=arithmetic)
            difference = float(np.abs(_in_parts(session, photos) - expected).max())
            top1 = _top1(_in_parts(session, images), labels)
            label = f"{runtime}{' bf16' if arithmetic == 'bf16' else ''}"
            rows.append(_Row(path.name, label, mb, difference, top1, len(labels), [], operators))
            calls.append(lambda session=session: session.run(photos[:1]))
            print(*_cells(rows[-1])[:6], file=sys.stderr, flush=True)
        if path.suffix not in SUFFIXES and format.name != "c":
            rows.append(_Row(path.name, "not run here", mb, float("nan"), float("nan"), 0, [], operators))
            calls.append(None)
    with _one_thread():
        for _ in range(ROUNDS):
            for row, call in zip(rows, calls, strict=True):
                if call is not None:
                    row.times_ms += _timed(call)
    yield from rows


def _runtimes(path: Path) -> list[tuple[str, str]]:
    found = [(runtime, "fp32") for runtime in SUFFIXES.get(path.suffix, ())]
    return found + [("openvino", "bf16")] * (path.suffix == ".xml")


def _timed(call: Any) -> list[float]:
    for _ in range(3):
        call()
    times = []
    for _ in range(RUNS):
        before = time.perf_counter()
        call()
        times.append((time.perf_counter() - before) * 1e3)
    return times


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _in_parts(session: Any, images: Images) -> np.ndarray[Any, Any]:
    return np.concatenate([session.run(images[i : i + 16]) for i in range(0, len(images), 16)])


def _top1(found: np.ndarray[Any, Any], labels: Sequence[int]) -> float:
    return float((found.argmax(1) == np.asarray(labels)).mean())


def _unpacked(tar: Path, folder: Path) -> Path:
    with tarfile.open(tar) as archive:
        archive.extractall(folder, filter="data")
    return folder / tar.name.removesuffix(".tar")


def _sample(model: MobileNet, folder: Path) -> tuple[Images, list[int]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [(folder / row["filename"], int(row["class_index"])) for row in csv.DictReader(file)]
    images = sample_images(model, [path for path, _ in rows], limit=len(rows))
    return images, [label for _, label in rows]


def _cells(row: _Row) -> list[str]:
    times = spread(sorted(row.times_ms)) if row.times_ms else [""] * 4
    difference = "" if np.isnan(row.difference) else f"{row.difference:.1e}"
    top1 = "" if np.isnan(row.top1) else f"{row.top1:.1%}"
    return [row.file, row.runtime, f"{row.mb:.2f}", difference, top1, str(row.images), *times, row.census]


if __name__ == "__main__":
    run()
