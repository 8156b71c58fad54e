"""Boxes: anchors learn the objects that they overlap, the others that nothing is there."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from mobilenets.data.annotations import Boxes, Objects
from mobilenets.data.augment import Augmentation
from mobilenets.data.augment_boxes import augment_boxes
from mobilenets.data.stretched import Pictures
from mobilenets.errors import CheckpointError
from mobilenets.heads import BACKGROUND, Detections, anchors, corners, detections, encode, iou, match
from mobilenets.metrics.detection import scores
from mobilenets.model import AnchorOutputs, MobileNet, normalise
from mobilenets.table.nodes import predictors
from mobilenets.training import pictures
from mobilenets.training.objectives.base import Data, Objective, Score, some
from mobilenets.training.parallel import World
from mobilenets.training.recipe import Recipe
from mobilenets.training.validation import evaluated

NEGATIVES = 3
"""Anchors without an object for each with one, the hardest ones (SSD, arXiv 1512.02325, section 2.2)."""
ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss (arXiv 1708.02002, section 5.1)."""
LEAST = 0.01
"""Score from which a detection counts in validation: average precision looks at the whole curve."""
SURE = 0.5
"""Score from which a box is drawn."""
HARD = 0.5
"""Overlap with an object that is not to be learned from which an anchor learns nothing."""


class Targets(NamedTuple):
    """What the anchors of a batch learn.

    Attributes:
        labels: class (n, anchors), or `BACKGROUND`.
        codes: encoded boxes (n, anchors, 4); meaningless without a class.
        counted: (n, anchors), false where nothing is learned.
    """

    labels: Tensor
    codes: Tensor
    counted: Tensor


class DetectBoxes(Objective):
    """SSD's loss: smooth L1 of the boxes of anchors that have an object, and a loss of all classes' sigmoids.

    The latter is focal (arXiv 1708.02002), or cross-entropy over the hardest negatives (SSD), as the recipe says.
    """

    def __init__(self, model: MobileNet, recipe: Recipe, train: Pictures, teachers: Sequence[MobileNet]) -> None:
        self.recipe, self.train, self.classes = recipe, train, model.network.classes
        self.device = next(model.parameters()).device
        self.anchors = torch.from_numpy(anchors(model.network)).to(self.device)
        self.teachers = [self._fitting(teacher, model) for teacher in teachers]

    def _fitting(self, teacher: MobileNet, student: MobileNet) -> MobileNet:
        """A teacher whose answers can be compared: of the same anchors and classes."""
        same = teacher.info.task == "detect" and teacher.info.classes == student.info.classes
        if not same or not np.array_equal(anchors(teacher.network), anchors(student.network)):
            raise CheckpointError(
                f"{teacher.network.label} cannot teach {student.network.label}: a detector's teacher needs the same "
                f"classes, resolution and anchors. It has {teacher.network.classes} classes at "
                f"{teacher.network.resolution} px, the student {student.network.classes} at "
                f"{student.network.resolution}."
            )
        return teacher.to(self.device).eval().requires_grad_(False)

    def batch(
        self, chosen: NDArray[np.int64], resolution: int, drawn: Augmentation, generator: Generator, *, first: int
    ) -> tuple[Tensor, Targets]:
        """See the base."""
        pixels = torch.from_numpy(self.train.images[chosen]).to(self.device, non_blocking=True)
        truth = [self.train.truth[i] for i in chosen]
        images, moved = augment_boxes(pixels, truth, resolution, drawn, generator, first=first)
        return images, self.targets(moved)

    def targets(self, truth: Sequence[Objects]) -> Targets:
        """What each anchor learns of some images' objects."""
        parts = [self._targets_of(*[torch.from_numpy(part).to(self.device) for part in image]) for image in truth]
        return Targets(*[torch.stack(part) for part in zip(*parts, strict=True)])

    def _targets_of(self, boxes: Tensor, labels: Tensor, hard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        learned = match(self.anchors, boxes[~hard])  # anchors
        chosen, found = learned.clamp(min=0), learned != BACKGROUND
        if not bool(found.any()):
            classes, codes = torch.full_like(learned, BACKGROUND), torch.zeros_like(self.anchors)
        else:
            classes = torch.where(found, labels[~hard][chosen], BACKGROUND)
            codes = encode(boxes[~hard][chosen], self.anchors)
        counted = torch.ones_like(found)
        if bool(hard.any()):
            counted = found | (iou(corners(self.anchors), boxes[hard]).amax(1) < HARD)
        return classes, codes, counted

    def loss(self, out: AnchorOutputs, images: Tensor, targets: Targets) -> Tensor:
        """See the base."""
        objects = (targets.labels != BACKGROUND).sum().clamp(min=1)
        loss = self._sums(out, targets).sum() / objects
        if self.teachers:
            share = self.recipe.teacher_share
            loss = (1 - share) * loss + share * self._taught(out, images) / objects
        return loss

    def losses(self, out: AnchorOutputs, targets: Targets) -> Tensor:
        """See the base."""
        return self._sums(out, targets) / (targets.labels != BACKGROUND).sum(1).clamp(min=1)

    def _sums(self, out: AnchorOutputs, targets: Targets) -> Tensor:
        """Each image's loss, summed over its anchors: (n,)."""
        logits, found = out.classes.float(), targets.labels != BACKGROUND
        wanted = torch.zeros_like(logits)
        wanted[found] = F.one_hot(targets.labels[found], self.classes).to(logits.dtype)
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")  # n a k
        if self.recipe.negatives == "focal":
            entropy = _focal(entropy, logits, wanted).sum(2) * targets.counted
        else:
            entropy = _mined(entropy.sum(2) * targets.counted, found)
        places = F.smooth_l1_loss(out.boxes.float(), targets.codes, reduction="none").sum(2)
        return entropy.sum(1) + torch.where(found, places, 0.0).sum(1)

    def imitation(self, out: AnchorOutputs, told: AnchorOutputs) -> Tensor:
        """See the base."""
        classes = told.classes.float().sigmoid()
        # a count of sure anchors would leap: one at 0.49 is none, and divides by as good as nothing
        objects = classes.amax(2).sum().clamp(min=1)
        return _distance(out, classes, told.boxes.float()) / objects

    def _taught(self, out: AnchorOutputs, images: Tensor) -> Tensor:
        """Distance from the mean of what the teachers say."""
        with torch.no_grad():
            said = [teacher(normalise(images, teacher.info.preprocessing)) for teacher in self.teachers]
            classes = torch.stack([answer.classes.float().sigmoid() for answer in said]).mean(0)
            boxes = torch.stack([answer.boxes.float() for answer in said]).mean(0)
        return _distance(out, classes, boxes)

    @property
    def guessing(self) -> float:
        """See the base: at the start every anchor says nothing, and no box is in its place."""
        return 20.0

    def score(self, model: MobileNet, val: Data, world: World) -> Score:
        """COCO's AP, and AP50 beside it."""
        found, losses, truth = self.found(model, cast(Pictures, val), world)
        judged = scores(truth, found, model.info.classes)
        return Score(judged.ap, float(np.mean(losses)), {"ap50": judged.ap50})

    def found(
        self, model: MobileNet, val: Pictures, world: World, batch_size: int = 32
    ) -> tuple[list[Detections], list[float], list[Boxes]]:
        """What a model finds in validation images, its loss of each, and their true boxes."""
        told: list[tuple[Detections, float, Boxes]] = []
        with torch.inference_mode():
            for i, start in enumerate(range(0, len(val), batch_size)):
                if i % world.size == world.rank:
                    told += self._judged(model, val, range(start, min(start + batch_size, len(val))))
        told = world.listed(told)
        return [t[0] for t in told], [t[1] for t in told], [t[2] for t in told]

    def draw(self, model: MobileNet, val: Data, run: Path) -> None:
        """Each class's precision; the truth beside what was found."""
        val = cast(Pictures, val)
        found, _, truth = self.found(model, val, World())
        judged = scores(truth, found, model.info.classes)
        pictures.by_class(
            judged.class_ap50, judged.classes, run / "precision.png", metric="average precision at IoU 0.5"
        )
        rows = []
        for i in some(len(val)):
            image = np.asarray(val.images[i])
            corners, labels, _ = val.truth[i]
            sure = found[i].scores >= SURE
            said = [f"{score:.2f}" for score in found[i].scores[sure]]
            wanted = _drawn(corners, labels, [""] * len(labels), image)
            drawn = _drawn(found[i].boxes[sure], found[i].classes[sure], said, image)
            rows.append(
                (
                    pictures.Pane(image, f"{val.paths[i].name}: the truth", wanted),
                    pictures.Pane(image, f"found, score {SURE:.1f} or more", drawn),
                )
            )
        title = f"validation images: AP {judged.ap:.3f}, AP50 {judged.ap50:.3f}"
        pictures.panes(rows, run / "samples.png", title, model.info.classes)

    def _judged(self, model: MobileNet, val: Pictures, part: range) -> list[tuple[Detections, float, Boxes]]:
        pixels = torch.from_numpy(np.array(val.images[part.start : part.stop])).to(self.device)
        out = model(evaluated(model, pixels))
        said = model.probabilities(out.classes.float())
        found = detections(out.boxes.float(), said, self.anchors, score=LEAST)
        losses = self.losses(out, self.targets([val.truth[i] for i in part])).tolist()
        truth = [cast(Boxes, val.samples[i].label) for i in part]
        plain = [Detections(*[value.cpu().numpy() for value in one]) for one in found]
        return list(zip(plain, losses, truth, strict=True))


def begin_rare(model: MobileNet, fresh: Set[str], prior: float = 0.01) -> None:
    """Let class predictors that start anew say at first that objects are rare (focal loss, arXiv 1708.02002, 4.1)."""
    for name in set(predictors(model.nodes, model.ends[1])) & fresh:
        bias: Any = model.get_submodule(name).bias
        torch.nn.init.constant_(bias, -math.log((1 - prior) / prior))


def _drawn(
    corners: NDArray[np.float32], labels: NDArray[np.int64], texts: Sequence[str], image: NDArray[np.uint8]
) -> tuple[tuple[tuple[float, ...], int, str], ...]:
    places = (corners * image.shape[0]).tolist()
    return tuple((tuple(place), int(label), text) for place, label, text in zip(places, labels, texts, strict=True))


def _distance(out: AnchorOutputs, classes: Tensor, boxes: Tensor) -> Tensor:
    """From another's answers: cross-entropy of all classes' probabilities; boxes where the other sees an object."""
    entropy = F.binary_cross_entropy_with_logits(out.classes.float(), classes, reduction="none")
    # as in the focal loss, anchors on which both agree that nothing is there do not count
    entropy = ((out.classes.float().sigmoid() - classes).abs().detach() ** GAMMA * entropy).sum()
    places = F.smooth_l1_loss(out.boxes.float(), boxes, reduction="none").sum(2)
    return entropy + (places * classes.amax(2)).sum()


def _focal(entropy: Tensor, logits: Tensor, wanted: Tensor) -> Tensor:
    said = logits.sigmoid()
    missed = wanted * (1 - said) + (1 - wanted) * said
    return (wanted * ALPHA + (1 - wanted) * (1 - ALPHA)) * missed**GAMMA * entropy


def _mined(entropy: Tensor, found: Tensor) -> Tensor:
    """Losses (n, a) of anchors with an object and of the hardest others, three for each."""
    others = entropy.detach().masked_fill(found, -1.0)
    rank = others.argsort(1, descending=True).argsort(1)
    kept = found | (rank < NEGATIVES * found.sum(1, keepdim=True).clamp(min=1))
    return entropy * kept
