"""Batches of decoded squares. Augmentation and scaling to the resolution come after: see `augment`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mobilenets.data.cache import Squares

__all__ = ["eval_batches", "train_batches"]


def train_batches(squares: Squares, batch_size: int, *, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches of one epoch; the same seed and epoch give the same batches.

    The last, smaller batch is left out (other images miss out in each epoch), except where it is the only one.

    Yields:
        images uint8 n s s c and labels int64 n (multi-label: float32 n k).
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(squares))
    for start in range(0, max(1, len(order) - batch_size + 1), batch_size):
        # In file order, which is faster where the squares lie on a disk; within a batch order means nothing.
        chosen = np.sort(order[start : start + batch_size])
        yield torch.from_numpy(squares.images[chosen]), torch.from_numpy(squares.labels[chosen])


def eval_batches(squares: Squares, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in order, the last batch as small as it is.

    Yields:
        images uint8 n s s c and labels int64 n, copies both.
    """
    for start in range(0, len(squares), batch_size):
        part = slice(start, start + batch_size)
        yield torch.from_numpy(np.array(squares.images[part])), torch.from_numpy(squares.labels[part].copy())
