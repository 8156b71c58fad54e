"""Batches of decoded squares. Augmentation and scaling to the resolution come after: see `augment`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.data.cache import Squares
from mobilenets.data.stretched import Pictures

__all__ = ["eval_batches", "train_order"]


def train_order(
    squares: Squares | Pictures, batch_size: int, *, seed: int, epoch: int, alike: bool = False
) -> Iterator[NDArray[np.int64]]:
    """Which images each batch of one epoch has; the same seed and epoch give the same batches.

    The last, smaller batch is left out (other images miss out in each epoch), except where it is the only one.

    Args:
        squares: the training images.
        batch_size: images a batch.
        seed: of the order.
        epoch: its number.
        alike: draw all classes alike, images of rare ones several times an epoch.

    Yields:
        indices int64 n, in file order, which is faster where the squares lie on a disk; within a batch order means
        nothing.
    """
    random, n = np.random.default_rng((seed, epoch)), len(squares)
    order = random.choice(n, n, p=_chances(squares.labels)) if alike else random.permutation(n)
    for start in range(0, max(1, n - batch_size + 1), batch_size):
        yield np.sort(order[start : start + batch_size])


def _chances(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Of each image, so that all classes are drawn alike; an image of several classes counts as its rarest."""
    if labels.ndim == 2:
        rarity = 1.0 / labels.sum(0).clip(min=1)
        chances = np.maximum((labels * rarity).max(1), rarity.min())
    else:
        chances = 1.0 / np.bincount(labels)[labels]
    return np.asarray(chances / chances.sum(), np.float64)


def eval_batches(squares: Squares, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in order, the last batch as small as it is.

    Yields:
        images uint8 n s s c and labels int64 n, copies both.
    """
    for start in range(0, len(squares), batch_size):
        part = slice(start, start + batch_size)
        yield torch.from_numpy(np.array(squares.images[part])), torch.from_numpy(squares.labels[part].copy())
