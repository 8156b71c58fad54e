"""Random numbers of images, the same for an image whichever process draws them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

__all__ = ["Draws", "groups"]


@dataclass(frozen=True, slots=True)
class Draws:
    """Numbers for the images `start` to `stop` of a group of `whole`: drawn for all, so that parts agree.

    Attributes:
        generator: the only source of randomness.
        start: first image of the group that is wanted.
        stop: one beyond the last.
        whole: images in the group.
    """

    generator: Generator
    start: int
    stop: int
    whole: int

    def uniform(self, n: int, low: float, high: float) -> Tensor:
        """N numbers, as many for each wanted image."""
        each = n // (self.stop - self.start)
        drawn = torch.rand(self.whole, each, generator=self.generator)[self.start : self.stop]
        return low + (high - low) * drawn.flatten()

    def integers(self, high: int) -> Tensor:
        """One below `high` for each wanted image."""
        return torch.randint(high, (self.whole,), generator=self.generator)[self.start : self.stop]


def groups(n: int, first: int, whole: int, generator: Generator) -> Iterator[tuple[slice, Draws]]:
    """A batch by groups: which of its images are in a group, and their draws.

    Args:
        n: images of the batch.
        first: place of the first one in a larger batch that several processes share.
        whole: images in a group.
        generator: gives one number, whatever the batch.
    """
    base = int(torch.randint(2**62, (), generator=generator))
    for group in range(first // whole, -(-(first + n) // whole)):
        start, stop = max(group * whole, first), min((group + 1) * whole, first + n)
        draws = Draws(Generator().manual_seed(base + group), start - group * whole, stop - group * whole, whole)
        yield slice(start - first, stop - first), draws
