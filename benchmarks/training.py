"""Training images/s: our loop with what it chooses by itself, against the plain float32 loop that most people write."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.tables import print_table
from mobilenets.data.augment import plain
from mobilenets.data.cache import Squares
from mobilenets.model import build, normalise
from mobilenets.table import scale
from mobilenets.training import Finetune, Training
from mobilenets.watching import Tick
from mobilenets.zoo import INDEX

NAME = "training"

CASES = (("mobilenet_v2", 96), ("mobilenet_v3_small", 224), ("mobilenet_v1", 96))
BATCH = 64
STEPS = 8
ROUNDS = 3
BAR = 1.3
WAITING_BAR = 0.05


def squares(size: int) -> Squares:
    """Random images: their content does not matter to speed."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH * 8, size, size, 3), dtype=np.uint8)
    return Squares(images, np.arange(len(images)) % 10, tuple(Path(f"{i}") for i in range(len(images))))


def plain_loop(name: str, size: int, data: Squares) -> Callable[[], float]:
    """Float32, channels first, AdamW, no augmentation, and its images/s over some steps."""
    torch.manual_seed(0)
    model = build(scale(INDEX[name], 1.0, size), 10).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for i in range(STEPS):
            part = slice(i * BATCH % len(data), i * BATCH % len(data) + BATCH)
            pixels = torch.from_numpy(data.images[part])
            images = normalise(plain(pixels, size), model.info.preprocessing)
            yield images.contiguous(memory_format=torch.contiguous_format), torch.from_numpy(data.labels[part])

    def run() -> float:
        begin = time.perf_counter()
        for images, labels in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return STEPS * BATCH / (time.perf_counter() - begin)

    return run


class _EnoughError(Exception):
    """The steps of a round are done."""


def our_loop(name: str, size: int, data: Squares) -> tuple[Callable[[], float], Callable[[], float]]:
    """(images/s over some steps, augmentation included; part of it spent waiting for images)."""
    torch.manual_seed(0)
    model = build(scale(INDEX[name], 1.0, size), 10)
    training = Training(model, Finetune(epochs=10**6, batch_size=BATCH), data, data)
    waiting = [0.0]

    def run() -> float:
        seen: list[float] = []

        def tick(_: Tick) -> None:
            seen.append(time.perf_counter())
            if len(seen) == STEPS + 1:  # the first step comes after the measurements
                raise _EnoughError

        training.since = dict.fromkeys(training.since, 0.0)
        try:
            training.run(on_tick=tick)
        except _EnoughError:
            waiting[0] = training.since["wait"] / training.since["s"]
        return STEPS * BATCH / (seen[-1] - seen[0])

    return run, lambda: waiting[0]


def run() -> None:
    """Interleaved rounds: best and spread of both, and their ratio."""
    torch.set_num_threads(torch.get_num_threads())
    rows = []
    for name, size in CASES:
        data = squares(round(1.15 * size))
        theirs, (ours, waited) = plain_loop(name, size, data), our_loop(name, size, data)
        taken: dict[str, list[float]] = {"plain": [], "ours": []}
        theirs()
        for _ in range(ROUNDS):
            taken["plain"].append(theirs())
            taken["ours"].append(ours())
        medians = {key: statistics.median(values) for key, values in taken.items()}
        ratio = medians["ours"] / medians["plain"]
        spread = [f"{medians[k]:.0f} ({min(v):.0f} - {max(v):.0f})" for k, v in taken.items()]
        marks = f"{ratio:.2f}{'' if ratio >= BAR else ' < ' + str(BAR)}"
        late = f"{waited():.1%}{'' if waited() < WAITING_BAR else ' > 5 %'}"
        rows.append([f"{name} at {size}", *spread, marks, late, f"{ROUNDS} x {STEPS}"])
    heads = ["batch 64", "plain fp32, images/s", "ours, images/s", f"ratio (bar {BAR})", "waiting (bar 5 %)", "steps"]
    print_table("training throughput, median (least - most)", heads, rows)
