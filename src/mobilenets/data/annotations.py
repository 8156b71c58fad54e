"""What is known of an image beside its classes: boxes around its objects, or a class for each of its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["IGNORED", "Boxes", "Corners", "Mask", "Objects", "Renumbered", "renumbered"]

IGNORED = 255
"""The class of a pixel that is neither learned nor counted."""

Objects = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]
"""Of an image: corners (k, 4) in parts of its width and height, labels (k,), and which are hard (k,)."""

Corners = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright image; x1 and y1 are exclusive."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """The objects of an image; there may be none.

    Attributes:
        corners: a box each.
        labels: index of each object's class.
        hard: objects that are neither learned nor counted (VOC's `difficult`, COCO's crowds); empty where none is.
        size: width and height of the image, in pixels, that the corners belong to.
    """

    corners: tuple[Corners, ...]
    labels: tuple[int, ...]
    hard: tuple[bool, ...]
    size: tuple[int, int]

    def arrays(self) -> Objects:
        """Corners (k, 4) in parts of the image's width and height, labels (k,), and which are hard (k,)."""
        sides = np.array([*self.size, *self.size], np.float64)
        corners = np.array(self.corners, np.float64).reshape(-1, 4) / sides
        hard = np.array(self.hard or (False,) * len(self.labels), np.bool_)
        return corners.astype(np.float32), np.array(self.labels, np.int64), hard


class Mask(Protocol):
    """The classes of an image's pixels, read when they are wanted. Masks are hashable and can be pickled.

    `labels` are the indices of the classes that are known to be in it; empty where that is not known before reading.
    """

    @property
    def labels(self) -> tuple[int, ...]:
        """Indices of classes."""

    def read(self) -> NDArray[np.uint8]:
        """Index of each pixel's class, or `IGNORED`: uint8 h w, upright.

        Raises:
            DataError: it cannot be read, or has a value that is no class.
        """


@dataclass(frozen=True, slots=True)
class Renumbered:
    """A mask with other indices for the same classes.

    Attributes:
        mask: it has indices of the data set's classes.
        where: the new index of each of these.
    """

    mask: Mask
    where: tuple[int, ...]

    @property
    def labels(self) -> tuple[int, ...]:
        """Indices of classes."""
        return tuple(sorted(self.where[label] for label in self.mask.labels))

    def read(self) -> NDArray[np.uint8]:
        """Index of each pixel's class, or `IGNORED`: uint8 h w, upright."""
        table = np.full(256, IGNORED, np.uint8)
        table[: len(self.where)] = self.where
        return table[self.mask.read()]


def renumbered(truth: Boxes | Mask, where: Sequence[int]) -> Boxes | Mask:
    """The same boxes or mask with new indices of classes: `where[old]` is the new one."""
    if isinstance(truth, Boxes):
        return replace(truth, labels=tuple(where[label] for label in truth.labels))
    return truth if list(where) == list(range(len(where))) else Renumbered(truth, tuple(where))
