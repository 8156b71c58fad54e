"""What a training is for: one class an image or several, boxes, masks. Batches, losses and scores, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from torch import Tensor

from mobilenets.data.cache import Squares
from mobilenets.data.stretched import Pictures
from mobilenets.model import MobileNet
from mobilenets.training.objectives.base import Data, Objective, Score
from mobilenets.training.objectives.boxes import DetectBoxes
from mobilenets.training.objectives.classes import NameClasses
from mobilenets.training.objectives.masks import PaintMasks
from mobilenets.training.recipe import Recipe

__all__ = ["Data", "Objective", "Score", "objective_for"]


def objective_for(
    model: MobileNet, recipe: Recipe, train: Data, *, answers: Tensor | None = None, teachers: Sequence[MobileNet] = ()
) -> Objective:
    """The objective of a model's task.

    Args:
        model: what is trained; its task, table and classes count.
        recipe: losses, smoothing, balance, the teacher's share.
        train: what is trained on.
        answers: a teacher's class probabilities of the training images, (n, classes); classifiers only.
        teachers: models that answer every batch anew; detectors and segmenters only.

    Raises:
        CheckpointError: a teacher that answers another question.
    """
    match model.info.task:
        case "classify" | "multi-label":
            assert isinstance(train, Squares)
            return NameClasses(model, recipe, train, answers)
        case "detect":
            assert isinstance(train, Pictures)
            return DetectBoxes(model, recipe, train, teachers)
        case "segment":
            assert isinstance(train, Pictures)
            return PaintMasks(model, recipe, train, teachers)
        case task:
            assert_never(task)
