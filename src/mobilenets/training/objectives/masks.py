"""Masks: the class of every pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from mobilenets.data.annotations import IGNORED, Mask
from mobilenets.data.augment import Augmentation
from mobilenets.data.augment_masks import augment_masks
from mobilenets.data.stretched import Pictures
from mobilenets.drawing import colour
from mobilenets.errors import CheckpointError
from mobilenets.metrics.segmentation import Confusion
from mobilenets.model import MobileNet, normalise
from mobilenets.training import pictures
from mobilenets.training.objectives.base import Data, Objective, Score, some
from mobilenets.training.parallel import World
from mobilenets.training.recipe import Recipe
from mobilenets.training.validation import evaluated


class PaintMasks(Objective):
    """Cross-entropy of every pixel that has a class, and with a teacher's answers."""

    def __init__(self, model: MobileNet, recipe: Recipe, train: Pictures, teachers: Sequence[MobileNet]) -> None:
        self.recipe, self.train, self.classes = recipe, train, model.network.classes
        self.device = next(model.parameters()).device
        self.weights = self._class_weights() if recipe.balance == "loss" else None
        for teacher in teachers:
            if teacher.info.task != "segment" or teacher.info.classes != model.info.classes:
                raise CheckpointError(
                    f"{teacher.network.label} cannot teach {model.network.label}: a segmenter's teacher needs the same "
                    f"classes in the same order. Train it on these classes first."
                )
        self.teachers = [teacher.to(self.device).eval().requires_grad_(False) for teacher in teachers]

    def batch(
        self, chosen: NDArray[np.int64], resolution: int, drawn: Augmentation, generator: Generator, *, first: int
    ) -> tuple[Tensor, Tensor]:
        """See the base."""
        pixels = torch.from_numpy(self.train.images[chosen]).to(self.device, non_blocking=True)
        masks = torch.from_numpy(self.masks(chosen)).to(self.device)
        return augment_masks(pixels, masks, resolution, drawn, generator, first=first)

    def masks(self, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Training masks, n s s."""
        return cast(NDArray[np.uint8], self.train.truth)[chosen]

    def loss(self, out: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        """See the base."""
        logits = out.float()
        loss = F.cross_entropy(
            logits, targets, weight=self.weights, ignore_index=IGNORED, label_smoothing=self.recipe.label_smoothing
        )
        if not bool((targets != IGNORED).any()):
            loss = logits.sum() * 0.0  # the mean over no pixel is no number
        if self.teachers:
            share = self.recipe.teacher_share
            loss = (1 - share) * loss + share * self._taught(logits, images)
        return loss

    def _taught(self, logits: Tensor, images: Tensor) -> Tensor:
        """Cross-entropy with the teachers' softened answers, times T squared."""
        t = self.recipe.temperature
        with torch.no_grad():
            said = []
            for teacher in self.teachers:
                size = teacher.network.resolution
                seen = images if images.shape[-1] == size else F.interpolate(images, (size, size), mode="bilinear")
                answer = teacher(normalise(seen, teacher.info.preprocessing)).float()
                said.append(F.interpolate(answer, logits.shape[-2:], mode="bilinear").div(t).softmax(1))
            wanted = torch.stack(said).mean(0)
        return t**2 * F.cross_entropy(logits / t, wanted)

    def imitation(self, out: Tensor, told: Tensor) -> Tensor:
        """See the base: cross-entropy of all pixels with the other's probabilities."""
        return F.cross_entropy(out.float(), told.float().softmax(1))

    def losses(self, out: Tensor, targets: Tensor) -> Tensor:
        """See the base."""
        each = F.cross_entropy(out.float(), targets, ignore_index=IGNORED, reduction="none").flatten(1).sum(1)
        return each / (targets != IGNORED).flatten(1).sum(1).clamp(min=1)

    @property
    def guessing(self) -> float:
        """See the base."""
        loss = math.log(max(2, self.classes))
        if self.teachers:
            loss *= 1 + self.recipe.teacher_share * (self.recipe.temperature**2 - 1)
        return loss

    def score(self, model: MobileNet, val: Data, world: World) -> Score:
        """Mean intersection over union at the masks' own sizes, the pixels' accuracy, and the mean loss of a pixel."""
        counted, loss = self.judged(model, cast(Pictures, val), world)
        judged = counted.scores()
        return Score(judged.miou, loss, {"pixel_accuracy": judged.accuracy})

    def judged(self, model: MobileNet, val: Pictures, world: World, batch_size: int = 16) -> tuple[Confusion, float]:
        """(pixels counted by true class and answer, mean loss of a pixel) of validation images."""
        counted, lost, pixels = Confusion(model.info.classes), 0.0, 0.0
        with torch.inference_mode():
            for i, start in enumerate(range(0, len(val), batch_size)):
                if i % world.size != world.rank:
                    continue
                part = range(start, min(start + batch_size, len(val)))
                images = torch.from_numpy(np.array(val.images[start : part.stop])).to(self.device)
                said = model(evaluated(model, images)).float()
                for logits, which in zip(said, part, strict=True):
                    truth = cast(Mask, val.samples[which].label).read()
                    own = F.interpolate(logits.softmax(0)[None], truth.shape, mode="bilinear")
                    wanted = torch.from_numpy(truth).long().to(self.device)[None]
                    counted.add(truth, own.argmax(1)[0].to(torch.uint8).cpu().numpy())
                    lost += float(F.nll_loss(own.clamp_min(1e-12).log(), wanted, ignore_index=IGNORED, reduction="sum"))
                    pixels += int((wanted != IGNORED).sum())
        if world.size > 1:
            counted.counts[:] = np.array(world.total(*counted.counts.ravel().tolist())).reshape(counted.counts.shape)
            lost, pixels = world.total(lost, pixels)
        return counted, lost / max(1, pixels)

    def draw(self, model: MobileNet, val: Data, run: Path) -> None:
        """Each class's intersection over union; photo, truth and what was found."""
        val = cast(Pictures, val)
        judged = self.judged(model, val, World())[0].scores()
        pictures.by_class(judged.iou, judged.classes, run / "precision.png", metric="intersection over union")
        rows = []
        for i in some(len(val)):
            image = np.array(val.images[i])[None]
            with torch.inference_mode():
                said = model(evaluated(model, torch.from_numpy(image).to(self.device)))
            wide = F.interpolate(said.float(), image.shape[1:3], mode="bilinear").argmax(1)[0].cpu().numpy()
            truth = cast(NDArray[np.uint8], val.truth)[i]
            missing = np.where(truth == IGNORED, IGNORED, wide).astype(np.uint8)
            rows.append(
                (
                    pictures.Pane(image[0], val.paths[i].name),
                    pictures.Pane(_painted(truth), "the truth (black: ignored)"),
                    pictures.Pane(_painted(missing), "found"),
                )
            )
        title = f"validation images: mIoU {judged.miou:.3f}, {judged.accuracy:.1%} of the pixels right"
        pictures.panes(rows, run / "samples.png", title, model.info.classes)

    def _class_weights(self) -> Tensor:
        """Of each class: the inverse of its share of the pixels, tempered by the root, the mean over all pixels 1."""
        masks = cast(NDArray[np.uint8], self.train.truth)
        counts = np.bincount(masks.ravel(), minlength=256)[: self.classes].clip(min=1).astype(np.float64)
        weights = np.sqrt(counts.sum() / counts)
        return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32, device=self.device)


def _painted(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classes by their colours, h w 3; ignored pixels are black."""
    palette = np.array([colour(i) for i in range(IGNORED)] + [(0, 0, 0)], np.uint8)
    return palette[mask]
