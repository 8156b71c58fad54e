"""Images/s of decoding photos, alone and with resizing, by one thread and by all."""

from __future__ import annotations

import os
import platform
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from mobilenets.data.cache import load_squares
from mobilenets.data.decode import decode, find_images, load_image
from mobilenets.data.folder import Sample
from mobilenets.preprocessing import Preprocessing

NAME = "decode"

ROUNDS = 5


def run() -> None:
    """Print images/s, median and range of several rounds."""
    threads = os.cpu_count() or 1
    with photos() as (files, source):
        jobs: dict[str, Callable[[], object]] = {
            "decode, Pillow, 1 thread": lambda: [_pillow(f) for f in files],
            "decode, 1 thread": lambda: [decode(f) for f in files],
            f"decode, {threads} threads": lambda: _threaded(decode, files, threads),
            "decode + resize to 160, 1 thread": lambda: [load_image(f, Preprocessing(160)) for f in files],
            "decode + resize to 224, 1 thread": lambda: [load_image(f, Preprocessing(224)) for f in files],
            f"load_squares at 160, {threads} threads": lambda: load_squares([Sample(f, 0) for f in files], 160),
        }
        rates: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(ROUNDS):  # interleaved, so that a busy moment hits all of them
            for name, job in jobs.items():
                start = time.perf_counter()
                job()
                rates[name].append(len(files) / (time.perf_counter() - start))
        _print(rates, f"n = {len(files)} {source}, {ROUNDS} rounds")


def _print(rates: dict[str, list[float]], what: str) -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("simplejpeg", "pillow", "numpy"))
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    machine = f"{platform.machine()}, {os.cpu_count()} processors{load}, Python {platform.python_version()}"
    table = Table(title="Decoding", caption=f"{what}\n{machine}\n{versions}")
    table.add_column("what")
    for column in ("images/s", "least", "most"):
        table.add_column(column, justify="right")
    for name, values in rates.items():
        table.add_row(name, *(f"{v:,.0f}" for v in (statistics.median(values), min(values), max(values))))
    Console().print(table)


def _pillow(path: Path) -> object:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _threaded(job: Callable[[Path], object], files: list[Path], threads: int) -> object:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(job, files))


@contextmanager
def photos() -> Iterator[tuple[list[Path], str]]:
    """Photos from the shared folder, else drawn ones, in a temporary folder."""
    root = Path(__file__).resolve().parents[1]
    tar = root / os.environ.get("MOBILENETS_SHARED", "../shared") / "data" / "photos_80.tar"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if tar.exists():
            with tarfile.open(tar) as archive:
                archive.extractall(folder, filter="data")
            yield find_images([folder]), "photos of photos_80.tar"
        else:
            _draw(folder, 40)
            yield find_images([folder]), "drawn photos of 500x375 pixels"


def _draw(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for i in range(count):
        small = Image.fromarray(random.integers(0, 256, (47, 63, 3), dtype=np.uint8))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=92)
