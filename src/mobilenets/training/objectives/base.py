"""What every objective answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor

from mobilenets.data.augment import Augmentation
from mobilenets.data.cache import Squares
from mobilenets.data.stretched import Pictures
from mobilenets.model import MobileNet
from mobilenets.training.parallel import World

Data = Squares | Pictures
"""Decoded images with what is known of them: classes, or boxes and masks."""


class Score(NamedTuple):
    """How good a model is on validation images.

    Attributes:
        metric: the task's, by which the best is kept.
        loss: as the training's, without teachers.
        beside: other metrics by name, such as AP50 beside AP.
    """

    metric: float
    loss: float
    beside: Mapping[str, float] = MappingProxyType({})


class Objective(ABC):
    """How a task's batches are made, what its loss is, and by what a model is scored."""

    @abstractmethod
    def batch(
        self, chosen: NDArray[np.int64], resolution: int, drawn: Augmentation, generator: Generator, *, first: int
    ) -> tuple[Tensor, Any]:
        """(images n c r r in [0, 1], targets) of training images, augmented.

        Args:
            chosen: which images.
            resolution: of the batch.
            drawn: the augmentation.
            generator: the only source of randomness.
            first: place of the first image in a larger batch that several processes share.
        """

    @abstractmethod
    def loss(self, out: Any, images: Tensor, targets: Any) -> Tensor:
        """Of what the model says of a batch; `images` are those of `batch`, for teachers."""

    @abstractmethod
    def imitation(self, out: Any, told: Any) -> Tensor:
        """Loss of answering as another model does, in the place of labels.

        Args:
            out: what the model says of a batch.
            told: what the other one says of it, without gradients; of the same shapes.
        """

    @abstractmethod
    def losses(self, out: Any, targets: Any) -> Tensor:
        """Each image's own (n,), without teachers: what tells a broken image."""

    @property
    @abstractmethod
    def guessing(self) -> float:
        """About the loss of one who guesses."""

    @abstractmethod
    def score(self, model: MobileNet, val: Data, world: World) -> Score:
        """On validation images, over the parts of all processes."""

    @abstractmethod
    def draw(self, model: MobileNet, val: Data, run: Path) -> None:
        """Pictures of how a model does on validation images, into a run folder."""


def some(count: int, most: int = 6) -> list[int]:
    """A few of many images, always the same ones."""
    return sorted(np.random.default_rng(0).permutation(count)[:most].tolist())
