"""Images/s from photos on the disk to augmented batches at 224: what most people write, and what training does here."""

from __future__ import annotations

import io
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.decode import photos
from benchmarks.tables import print_table
from mobilenets.data.augment import Augmentation, augment
from mobilenets.data.batches import train_order
from mobilenets.data.cache import Squares, load_squares
from mobilenets.data.decode import decode
from mobilenets.data.folder import Sample
from mobilenets.training.run import MARGIN
from mobilenets.training.speed import keep_freed_memory

NAME = "loader"

ROUNDS = 7
REPEATS = 5
"""How often each photo is in the data set: a round of all photos alone would be too short to time."""
WORKERS = 2
BATCH = 64
RESOLUTION = 224
UNCACHED_BAR = 1.4
CACHED_BAR = 3.0
CROP_AND_FLIP = Augmentation(brightness=0.0, contrast=0.0, saturation=0.0)
LARGE_PX = 3000
KEEP_BYTES = 1 << 30


def random_resized_crop(width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """A box with the area and the aspect ratio of `CROP_AND_FLIP`."""
    area = width * height * random.uniform(*CROP_AND_FLIP.scale)
    ratio = math.exp(random.uniform(math.log(CROP_AND_FLIP.ratio[0]), math.log(CROP_AND_FLIP.ratio[1])))
    w, h = min(width, round(math.sqrt(area * ratio))), min(height, round(math.sqrt(area / ratio)))
    left, top = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
    return left, top, left + w, top + h


class Photos(Dataset[Tensor]):
    """What most people write: Pillow opens, converts, crops, resizes and flips; the pixels become floats."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        random = np.random.default_rng()
        with Image.open(self.files[index]) as opened:
            image = opened.convert("RGB")
        box = random_resized_crop(*image.size, random)
        image = image.resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR, box=box)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255.0)


def plain_loop(data: Photos) -> Iterable[Tensor]:
    for start in range(0, len(data), BATCH):
        yield torch.stack([data[i] for i in range(start, min(start + BATCH, len(data)))])


def ours(squares: Squares) -> Iterable[Tensor]:
    """An epoch as `training.loop` has it."""
    generator = torch.Generator().manual_seed(0)
    for chosen in train_order(squares, BATCH, seed=0, epoch=0):
        yield augment(torch.from_numpy(squares.images[chosen]), RESOLUTION, CROP_AND_FLIP, generator)


def rate(batches: Callable[[], Iterable[Tensor]]) -> float:
    """Images/s of one pass over all batches, from asking for them on."""
    start = time.perf_counter()
    images = sum(len(batch) for batch in batches())
    return images / (time.perf_counter() - start)


def run() -> None:
    """Print images/s, best and spread of interleaved rounds, and the ratios of the best held against the bars."""
    threads = torch.get_num_threads()
    torch.set_num_threads(WORKERS)
    keep_freed_memory()  # as a training does
    with photos() as (files, source), tempfile.TemporaryDirectory() as name:
        rates = _measured(list(files) * REPEATS, Path(name))
        large = _large_photos(files[:8], Path(name))
    torch.set_num_threads(threads)
    theirs = max(max(rates[name]) for name in list(rates)[:2])
    bars = {"ours, uncached": UNCACHED_BAR, "ours, from the cache": CACHED_BAR}
    rows = []
    for name, values in rates.items():
        middle = f"{min(values):,.0f} - {max(values):,.0f}"
        ratio, bar = f"{max(values) / theirs:.2f}", f"{bars[name]}" if name in bars else ""
        rows.append((name, f"{max(values):,.0f}", f"{statistics.median(values):,.0f}", middle, ratio, bar))
    title = (
        f"batches of {BATCH} at {RESOLUTION} from {REPEATS} x {source}, {WORKERS} threads or workers, {ROUNDS} rounds"
    )
    headings = ("what", "best images/s", "median", "range", "best / best of the first two", "bar")
    print_table(title, headings, rows)
    print()
    title = (
        f"a square of {round(RESOLUTION * MARGIN)} px from photos with a short side of {LARGE_PX} px, {ROUNDS} rounds"
    )
    print_table(title, ("what", "best images/s", "median"), large)


def _measured(files: list[Path], folder: Path) -> dict[str, list[float]]:
    samples, size = [Sample(file, 0) for file in files], round(RESOLUTION * MARGIN)
    data = Photos(files)
    workers = DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)

    def loaded(*, exact: bool = False, keep: int = 0) -> Iterable[Tensor]:
        options = {"cache_folder": folder, "workers": WORKERS, "exact": exact, "keep_bytes": keep}
        return ours(load_squares(samples, size, **options))  # type: ignore[arg-type]

    jobs: dict[str, Callable[[], Iterable[Tensor]]] = {
        "Pillow in a DataLoader": lambda: workers,
        "Pillow in a loop": lambda: plain_loop(data),
        "ours, uncached": loaded,
        "ours, uncached, exact squares": lambda: loaded(exact=True),
        "ours, from the cache": lambda: loaded(keep=KEEP_BYTES),
    }
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for i in range(-1, ROUNDS):  # interleaved, so that a busy moment hits all of them; the first fills the caches
        for name, job in jobs.items():
            measured = rate(job)
            if i >= 0:
                rates[name].append(measured)
    return rates


def _large_photos(files: Sequence[Path], folder: Path) -> list[tuple[str, str, str]]:
    samples = []
    for i, file in enumerate(files):
        image = Image.fromarray(decode(file))
        scale = LARGE_PX / min(image.size)
        buffer = io.BytesIO()
        image.resize((round(image.width * scale), round(image.height * scale))).save(buffer, "JPEG", quality=90)
        (folder / f"{i}.jpg").write_bytes(buffer.getvalue())
        samples.append(Sample(folder / f"{i}.jpg", 0))
    size = round(RESOLUTION * MARGIN)
    rates: dict[str, list[float]] = {"exact": [], "draft": []}
    for _ in range(ROUNDS):
        for name, values in rates.items():
            start = time.perf_counter()
            load_squares(samples, size, workers=WORKERS, exact=name == "exact", keep_bytes=0)
            values.append(len(samples) / (time.perf_counter() - start))
    return [(name, f"{max(values):,.1f}", f"{statistics.median(values):,.1f}") for name, values in rates.items()]
