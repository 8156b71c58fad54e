"""Short fine-tunings: many small trainings after one another, over images that are decoded once."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.data.subset import subset
from mobilenets.model import MobileNet, normalise
from mobilenets.table import Network
from mobilenets.training import Recipe
from mobilenets.training.objectives import Data, Objective, Score, objective_for
from mobilenets.training.optimizers import optimizer_for, rate_at
from mobilenets.training.parallel import World
from mobilenets.training.recipe import Dense
from mobilenets.training.speed import fastest_precision, keep_freed_memory, reduced
from mobilenets.training.validation import evaluated
from mobilenets.weights import estimate_norm, inherit

SHORT_LR = 0.03
"""Of SGD at batch size 64: a tenth of a training's, for a network that has learned already."""
TUNING_LR = 0.05
"""Peak rate of the long fine-tuning of classifiers: SGD at batch size 64."""
SHORT_PART, TUNING_PART = 0.125, 0.25
"""The same for boxes and masks, as parts of their training's rate (AdamW)."""
NORM_BATCHES, NORM_BATCH = 4, 64
"""Images on which batch norm is estimated after the channels were chosen, and again after the short fine-tuning."""
HELD_PART, HELD_MOST = 0.15, 2000
"""Training images that are kept out of the short fine-tunings to score proposals on. The paper keeps 10,000 of
ImageNet's (arXiv 1804.03230, section 4.1)."""
VAL_MOST = 2000
"""Validation images that kept networks are scored on along the way."""
SCORING_SHARE = 0.3
"""Part of a proposal's time that its scoring may take."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a proposal takes.

    Attributes:
        step_s: seconds a training step.
        fixed_s: seconds for everything but steps: weights, batch norm, scoring.
    """

    step_s: float
    fixed_s: float

    def proposal_s(self, steps: int) -> float:
        """Seconds of a proposal that is trained for so many steps."""
        return self.fixed_s + steps * self.step_s

    def steps_in(self, seconds: float, *, least: int, most: int) -> int:
        """Training steps that a proposal has in so many seconds."""
        return min(most, max(least, int((seconds - self.fixed_s) / max(self.step_s, 1e-9))))


class Classroom:
    """Images to fine-tune proposals on, and others to score them on.

    Proposals are never chosen by validation images, on which networks are reported. The images that are kept out come
    from the training images: the short fine-tunings never see them, the long one at the end does.

    Args:
        start: the network to begin with; its task, classes and preprocessing are those of all proposals.
        train: decoded training images.
        val: decoded validation images.
        answers: the start's class probabilities of the training images, a classifier's lessons beside the labels.
        seed: of what is kept out, drawn and augmented.
        scored: images to score proposals on; 0 takes as many as there are, up to `HELD_MOST`.
    """

    def __init__(
        self, start: MobileNet, train: Data, val: Data, *, answers: Tensor | None, seed: int, scored: int = 0
    ) -> None:
        keep_freed_memory()
        self.train, self.seed, self.task, self.device = train, seed, start.info.task, World().device
        kind = Dense if self.task in ("detect", "segment") else Recipe
        plain = kind(epochs=1, warmup=0.0, seed=seed, layer_decay=1.0)
        self.recipe = replace(plain, lr=SHORT_LR if kind is Recipe else SHORT_PART * plain.lr)
        self.batch_size = min(self.recipe.batch_size, max(8, len(train) // 16))
        order = np.random.default_rng([seed, 1]).permutation(len(train))
        wanted = min(HELD_MOST, max(1, int(HELD_PART * len(train))))
        self.kept_out, self.learned = order[:wanted], np.sort(order[wanted:])
        self.held = subset(train, np.sort(self.kept_out[: scored or wanted]))
        self.val = subset(val, np.sort(np.random.default_rng([seed, 2]).permutation(len(val))[:VAL_MOST]))
        start.to(self.device)  # where the objective finds it are the images put
        self.objective: Objective = objective_for(start, self.recipe, train, answers=answers)
        self.plain = plain_batches(start, train, self.learned, seed)
        self.step_s = 0.0
        self.precision = fastest_precision(start, self.batch_size, self.device)

    def fewer(self, count: int) -> None:
        """Score proposals on so many of the images that are kept out."""
        self.held = subset(self.train, np.sort(self.kept_out[:count]))

    def taught(self, network: Network, source: MobileNet, *, steps: int, lesson: int) -> MobileNet:
        """A narrower network with the source's strongest channels, fine-tuned for some steps.

        Args:
            network: the table.
            source: where the weights come from.
            steps: of training; all proposals of one lesson see the same batches.
            lesson: number of the step; another one draws other batches.
        """
        model = inherit(network, source.cpu(), self.plain)
        self.tune(model, steps=steps, lesson=lesson)
        return model

    def tune(self, model: MobileNet, *, steps: int, lesson: int) -> None:
        """Train for some steps, the rate falling to zero, and estimate batch norm anew; in place."""
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer, peak = optimizer_for(model, self.recipe, self.batch_size)
        drawn = self.recipe.augmentation_for(1, self.task)
        draw = np.random.default_rng([self.seed, 4, lesson])
        preprocessing = model.info.preprocessing
        model.train()
        begin = time.perf_counter()
        for step in range(steps):
            chosen = np.sort(draw.choice(self.learned, min(self.batch_size, len(self.learned)), replace=False))
            generator = torch.Generator().manual_seed(int(draw.integers(2**31)))
            images, targets = self.objective.batch(chosen, preprocessing.resolution, drawn, generator, first=0)
            for group in optimizer.param_groups:
                group["lr"] = peak * group["scale"] * rate_at(self.recipe, step / steps, 1.0)
            with reduced(self.precision, self.device):
                loss = self.objective.loss(model(normalise(images, preprocessing)), images, targets)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        self.step_s = (time.perf_counter() - begin) / max(steps, 1)
        estimate_norm(model, (batch.to(self.device) for batch in self.plain))
        model.eval()

    def score(self, model: MobileNet) -> Score:
        """The task's metric and its loss on the images that are kept out."""
        return self.objective.score(model.to(self.device).eval(), self.held, World())

    def val_score(self, model: MobileNet) -> float:
        """The task's metric on validation images."""
        return float(self.objective.score(model.to(self.device).eval(), self.val, World()).metric)

    def speed(self, start: MobileNet, steps: int = 3) -> Speed:
        """What a proposal takes here, by the start itself."""
        self.taught(start.network, start, steps=1, lesson=0)  # the first one allocates
        begin = time.perf_counter()
        self.score(self.taught(start.network, start, steps=steps, lesson=0))
        return self.speed_of(time.perf_counter() - begin, steps)

    def speed_of(self, seconds: float, steps: int) -> Speed:
        """What the last proposal took, which was trained for so many steps."""
        return Speed(self.step_s, max(seconds - steps * self.step_s, 0.0))


def plain_batches(start: MobileNet, train: Data, chosen: NDArray[np.int64], seed: int) -> list[Tensor]:
    """Some of the chosen training images as evaluation sees them, normalised: batch norm is estimated on them."""
    drawn = np.sort(np.random.default_rng([seed, 3]).permutation(chosen)[: NORM_BATCHES * NORM_BATCH])
    parts = np.array_split(drawn, max(1, len(drawn) // NORM_BATCH))
    device = next(start.parameters()).device
    return [evaluated(start, torch.from_numpy(train.images[part]).to(device)).cpu() for part in parts]


def tuning_recipe(start: MobileNet, seconds: float, seed: int) -> Recipe:
    """The long fine-tuning's recipe: the task's own, at the rate of a network that has learned already."""
    if start.info.task in ("detect", "segment"):
        plain = Dense(minutes=seconds / 60, seed=seed, layer_decay=1.0)
        return replace(plain, lr=TUNING_PART * plain.lr)
    return Recipe(minutes=seconds / 60, lr=TUNING_LR, low_resolution=1.0, warmup=0.05, seed=seed)
