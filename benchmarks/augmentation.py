"""How fast batches are augmented: classes, boxes and masks, from squares a little larger than the network's input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.tables import print_table, spread, times_ms
from mobilenets.data.annotations import Objects
from mobilenets.data.augment import BOXES, DEFAULT, MASKS, augment
from mobilenets.data.augment_boxes import augment_boxes
from mobilenets.data.augment_masks import augment_masks
from mobilenets.training.speed import keep_freed_memory

NAME = "augmentation"
RUNS = 30
BATCH, SIDE_PX, RESOLUTION = 16, 368, 320
OBJECTS = 12
BAR = 300


def run() -> None:
    """Print the time of a batch and images/s."""
    keep_freed_memory()
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 256, (BATCH, SIDE_PX, SIDE_PX, 3), np.uint8))
    masks = torch.from_numpy(random.integers(0, 12, (BATCH, SIDE_PX, SIDE_PX), np.uint8))
    rows = []
    for name, work in _works(images, masks, [_objects(random) for _ in range(BATCH)]).items():
        work()
        taken = times_ms(work, RUNS)
        cells = spread(taken)
        rows.append((name, *cells, f"{BATCH / float(cells[0]) * 1e3:,.0f}"))
    title = f"{BATCH} squares of {SIDE_PX} px to {RESOLUTION} px, ms, {torch.get_num_threads()} threads"
    print_table(f"{title}; bar {BAR} images/s", ("what", "median", "best", "middle half", "n", "images/s"), rows)


def _works(images: Tensor, masks: Tensor, truth: list[Objects]) -> dict[str, Callable[[], object]]:
    generator = torch.Generator().manual_seed(0)
    return {
        "classes": lambda: augment(images, RESOLUTION, DEFAULT, generator),
        f"boxes, {OBJECTS} an image": lambda: augment_boxes(images, truth, RESOLUTION, BOXES, generator),
        "masks": lambda: augment_masks(images, masks, RESOLUTION, MASKS, generator),
    }


def _objects(random: np.random.Generator) -> Objects:
    low = random.random((OBJECTS, 2)) * 0.7
    corners = np.concatenate([low, low + 0.05 + random.random((OBJECTS, 2)) * 0.25], 1).astype(np.float32)
    return corners, random.integers(0, 3, OBJECTS), np.zeros(OBJECTS, np.bool_)
