"""One class an image (softmax), or any number of them (sigmoids)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from mobilenets.data.augment import Augmentation, augment, mix
from mobilenets.data.cache import Squares
from mobilenets.metrics import average_precision
from mobilenets.model import MobileNet
from mobilenets.training import pictures
from mobilenets.training.distill import distillation_loss, softened
from mobilenets.training.objectives.base import Data, Objective, Score
from mobilenets.training.parallel import World
from mobilenets.training.recipe import Recipe
from mobilenets.training.validation import predict_squares, score


class NameClasses(Objective):
    """Cross-entropy with the labels, and with a teacher's answers; with several labels an image, of each class alone.

    Targets are (n, k), or (n, 2k) where a teacher answers too: the labels', then the teacher's.
    """

    def __init__(self, model: MobileNet, recipe: Recipe, train: Squares, answers: Tensor | None) -> None:
        self.recipe, self.train, self.task, self.classes = recipe, train, model.info.task, model.network.classes
        self.device = next(model.parameters()).device
        self.weights = self._class_weights() if recipe.balance == "loss" else None
        self.soft = None if answers is None else softened(answers, recipe.temperature, self.task)

    def batch(
        self, chosen: NDArray[np.int64], resolution: int, drawn: Augmentation, generator: Generator, *, first: int
    ) -> tuple[Tensor, Tensor]:
        """See the base."""
        pixels = torch.from_numpy(self.train.images[chosen]).to(self.device, non_blocking=True)
        images = augment(pixels, resolution, drawn, generator, first=first)
        labels = torch.from_numpy(self.train.labels[chosen])
        targets = labels if self.task == "multi-label" else F.one_hot(labels, self.classes).float()
        if self.soft is not None:
            targets = torch.cat([targets, self.soft[torch.from_numpy(chosen)]], 1)
        if self.recipe.mixup:
            images, targets = mix(images, targets.to(self.device), self.recipe.mixup, generator)
        return images, targets.to(self.device)

    def loss(self, out: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """See the base."""
        logits, share = out.float(), self.recipe.teacher_share
        labels, soft = targets[:, : self.classes], targets[:, self.classes :]
        loss = self._answer_loss(logits, labels)
        if self.soft is not None:
            told = distillation_loss(logits, soft, self.recipe.temperature, self.task)
            loss = (1 - share) * loss + share * told
        return loss

    def _answer_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.recipe.label_smoothing
        if self.task == "multi-label":
            smooth = labels * (1 - smoothing) + smoothing / 2
            return F.binary_cross_entropy_with_logits(logits, smooth, weight=self.weights)
        return F.cross_entropy(logits, labels, weight=self.weights, label_smoothing=smoothing)

    def imitation(self, out: Tensor, told: Tensor) -> Tensor:
        """See the base: cross-entropy with the other's probabilities."""
        if self.task == "multi-label":
            return F.binary_cross_entropy_with_logits(out.float(), told.float().sigmoid())
        return F.cross_entropy(out.float(), told.float().softmax(1))

    def losses(self, out: Tensor, targets: Tensor) -> Tensor:
        """See the base."""
        logits, labels = out.float(), targets[:, : self.classes]
        if self.task == "multi-label":
            return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1)
        return F.cross_entropy(logits, labels, reduction="none")

    @property
    def guessing(self) -> float:
        """See the base."""
        loss = math.log(2 if self.task == "multi-label" else max(2, self.classes))
        if self.soft is not None:  # the teacher's part is multiplied by the temperature's square
            loss *= 1 + self.recipe.teacher_share * (self.recipe.temperature**2 - 1)
        return loss

    def score(self, model: MobileNet, val: Data, world: World) -> Score:
        """Top-1 accuracy or mean average precision, and cross-entropy."""
        return Score(*score(model, cast(Squares, val), world))

    def draw(self, model: MobileNet, val: Data, run: Path) -> None:
        """Confusion, or each class's precision; samples."""
        val, classes = cast(Squares, val), model.info.classes
        probabilities, labels = (t.numpy() for t in predict_squares(model, val))
        if self.task == "multi-label":
            found = average_precision(labels, probabilities)
            pictures.by_class(found, classes, run / "precision.png", metric="average precision")
        else:
            counts = np.zeros((len(classes), len(classes)), np.int64)
            np.add.at(counts, (labels, probabilities.argmax(1)), 1)
            pictures.confusion(counts, classes, run / "confusion.png")
        pictures.samples(np.asarray(val.images), labels, probabilities, classes, run / "samples.png")

    def _class_weights(self) -> Tensor:
        """Of each class: the inverse of its share, the mean over all images 1."""
        labels = self.train.labels
        counts = (labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=self.classes)).clip(min=1)
        return torch.tensor(len(labels) / (len(counts) * counts), dtype=torch.float32, device=self.device)
