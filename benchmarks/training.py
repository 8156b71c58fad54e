"""Training images/s: our loop with what it chooses by itself, against the plain float32 loop that most people write."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
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
    """Random images, so many that no epoch ends in a round: their content does not matter to speed."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH * (STEPS + 2), size, size, 3), dtype=np.uint8)
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


def our_loop(name: str, size: int, data: Squares) -> Callable[[], float]:
    """Images/s over some steps, augmentation included; prints what it chose and how long it waited for images."""
    torch.manual_seed(0)
    model = build(scale(INDEX[name], 1.0, size), 10)
    training = Training(model, Finetune(epochs=10**6, batch_size=BATCH), data, data)

    def run() -> float:
        seen: list[float] = []

        def tick(_: Tick) -> None:
            seen.append(time.perf_counter())
            if len(seen) == STEPS + 1:  # the first step comes after the measurements
                raise _EnoughError

        with contextlib.suppress(_EnoughError):
            training.run(on_tick=tick)
        print(f"{training.since['wait'] / training.since['s']:.4f} {training.precision}")
        return STEPS * BATCH / (seen[-1] - seen[0])

    return run


def once(which: str, name: str, size: int) -> tuple[float, float, str]:
    """(images/s, part spent waiting, arithmetic) of one round, in a process of its own.

    Ours tells the allocator to keep freed memory, which would help a plain loop in the same process.
    """
    command = [sys.executable, "-m", "benchmarks.training", which, name, str(size)]
    words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(words[-1]), float(words[0]) if which == "ours" else 0.0, words[1] if which == "ours" else "fp32"


def run() -> None:
    """Interleaved rounds: median and spread of both, and their ratio."""
    rows = []
    for name, size in CASES:
        found = {which: list[tuple[float, float, str]]() for which in ("plain", "ours")}
        for _ in range(ROUNDS):
            for which, taken in found.items():
                taken.append(once(which, name, size))
        speeds = {which: [speed for speed, _, _ in taken] for which, taken in found.items()}
        medians = {which: statistics.median(values) for which, values in speeds.items()}
        ratio, waited = medians["ours"] / medians["plain"], statistics.median(w for _, w, _ in found["ours"])
        spread = [f"{medians[k]:.0f} ({min(v):.0f} - {max(v):.0f})" for k, v in speeds.items()]
        marks = f"{ratio:.2f}{'' if ratio >= BAR else ' < ' + str(BAR)}"
        late = f"{waited:.1%}{'' if waited < WAITING_BAR else ' > 5 %'}"
        rows.append([f"{name} at {size}", *spread, marks, late, found["ours"][0][2], f"{ROUNDS} x {STEPS}"])
    heads = [
        "batch 64", "plain fp32, images/s", "ours, images/s", f"ratio (bar {BAR})", "waiting (bar 5 %)",
        "ours in", "steps",
    ]  # fmt: skip
    print_table("training throughput, median (least - most)", heads, rows)


if __name__ == "__main__":
    _, kind, network, side = sys.argv
    loop = (plain_loop if kind == "plain" else our_loop)(network, int(side), squares(round(1.15 * int(side))))
    if kind == "plain":
        loop()
    print(loop())
