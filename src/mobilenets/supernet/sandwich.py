"""Training shared weights: in every step the largest network, the smallest and some between learn the same batch.

Source: sandwich rule and in-place distillation of universally slimmable networks (arXiv 1903.05134, section 3), as
BigNAS has them for a whole space (arXiv 2003.11142, section 3.1).
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from mobilenets.data.batches import train_order
from mobilenets.errors import CheckpointError, DivergedError
from mobilenets.files import write_bytes
from mobilenets.model import normalise
from mobilenets.preprocessing import Preprocessing
from mobilenets.search.points import Point
from mobilenets.supernet.shared import SharedWeights
from mobilenets.training import Recipe
from mobilenets.training.interrupt import interruptible
from mobilenets.training.objectives import Data, Objective, objective_for
from mobilenets.training.optimizers import optimizer_of, rate_at
from mobilenets.training.speed import fastest_precision, keep_freed_memory, reduced
from mobilenets.watching import Tick

ALONE = 0.15
"""Part of the training in which the largest network is alone: the others shrink from one that has learned something
(progressive shrinking, arXiv 1908.09791, section 3.3)."""
BETWEEN = 2
"""Networks between the largest and the smallest in each step."""
SEPARABLE_TURN = 3
"""Every so manyth step is of separable blocks, which learn faster."""
TOLD = 0.5
"""Part of the others' loss that answers the largest network, the rest answers the labels. In short trainings the
largest is wrong for long: on coloured squares the smallest was right on 50 % after 30 steps without labels."""
DRAWS = 50
"""Points that are drawn at most for one that is wanted."""


class Sandwich:
    """A training of shared weights by the clock. It can be stopped between any two steps and gone on with.

    Attributes:
        shared: the weights.
        recipe: its `minutes` end the training; images are not mixed, nothing is dropped out.
        steps: done.
        seconds: of training so far.
        largest_s, others_s: of the steps with all networks, for the largest one and for the others.
        loss: of the largest network, smoothed.
    """

    def __init__(
        self, shared: SharedWeights, recipe: Recipe, train: Data, *, wanted: Callable[[Point], bool] = lambda _: True
    ) -> None:
        """Before the first step.

        Args:
            shared: the weights.
            recipe: rate, batch size, decay, warm-up, seed; `minutes` must be given.
            train: decoded training images.
            wanted: of which networks those between are drawn: the ones that the search is about.
        """
        assert recipe.minutes is not None
        self.shared, self.recipe, self.train, self.wanted = shared, recipe, train, wanted
        self.batch_size = min(recipe.batch_size, max(8, len(train) // 8))
        groups = shared.groups(recipe.weight_decay)
        self.optimizer, self.peak_lr = optimizer_of(groups, recipe, self.batch_size)
        self.objectives: dict[int, Objective] = {}
        self.precision = "fp32"
        self.steps, self.seconds, self.loss = 0, 0.0, 0.0
        self.largest_s, self.others_s = 0.0, 0.0

    @property
    def fraction(self) -> float:
        """Part of the training that is done, from 0 to 1."""
        return min(1.0, self.seconds / (60 * (self.recipe.minutes or 0.0)))

    @property
    def epochs(self) -> float:
        """Passes over the training images so far."""
        return self.steps * self.batch_size / len(self.train)

    @property
    def ratio(self) -> float:
        """Time of a step with all networks, as a multiple of the largest network's part of it."""
        return (self.largest_s + self.others_s) / self.largest_s if self.largest_s else 1.0

    def run(
        self, path: Path | None = None, *, on_tick: Callable[[Tick], None] | None = None, checkpoint_s: float = 60.0
    ) -> None:
        """Train to the end.

        Args:
            path: where the state is kept, every `checkpoint_s` seconds and when it is stopped.
            on_tick: called after each step.
            checkpoint_s: seconds between two states.

        Raises:
            KeyboardInterrupt: Ctrl-C, after the step it fell into.
            DivergedError: the loss is no number.
        """
        keep_freed_memory()
        if self.recipe.precision == "auto":
            self.precision = fastest_precision(
                self.shared.model(self.shared.space.largest()), self.batch_size, torch.device("cpu")
            )
        saved = time.perf_counter()
        with interruptible() as stop:
            while self.fraction < 1.0:
                begin = time.perf_counter()
                self.step()
                self.seconds += time.perf_counter() - begin
                if on_tick is not None:
                    on_tick(self._tick(time.perf_counter() - begin))
                if path is not None and (stop.is_set() or time.perf_counter() - saved > checkpoint_s):
                    self.save(path)
                    saved = time.perf_counter()
                if stop.is_set():
                    raise KeyboardInterrupt
        if path is not None:
            self.save(path)

    def step(self) -> None:
        """The largest network learns the labels; the others these and what the largest says.

        Networks of one kind of block: those of the other share next to nothing with them, and have their own steps.
        """
        start, together = time.perf_counter(), self.fraction >= ALONE
        rng = random.Random(f"{self.recipe.seed} {self.steps}")
        resolution = int(rng.choice(self.shared.space.choices["resolution"]))
        objective = self._objective(resolution)
        kinds = self.shared.space.choices["blocks"]
        fixed: Point = {"resolution": resolution, "blocks": kinds[0] if self.steps % SEPARABLE_TURN == 0 else kinds[-1]}
        drawn = self.recipe.augmentation_for(self.epochs / max(self.fraction, 1e-6), self.shared.task)
        generator = torch.Generator().manual_seed(rng.getrandbits(60))
        images, targets = objective.batch(self._chosen(), resolution, drawn, generator, first=0)
        normed = normalise(images, self.shared.preprocessing)
        rate = self.peak_lr * rate_at(self.recipe, self.fraction, self.epochs / max(self.fraction, 1e-6))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        with reduced(self.precision, torch.device("cpu")):
            said = self.shared.forward(self.shared.space.largest() | fixed, normed)
            first = objective.loss(said, images, targets)
            first.backward()  # type: ignore[no-untyped-call]
            told, begin = _detached(said), time.perf_counter()
            for point in self._others(rng, fixed) if together else ():
                said = self.shared.forward(point, normed)
                loss = (1 - TOLD) * objective.loss(said, images, targets) + TOLD * objective.imitation(said, told)
                loss.backward()  # type: ignore[no-untyped-call]
        others_s = time.perf_counter() - begin
        self._check(float(first.detach()))
        nn.utils.clip_grad_norm_([p for p in self.shared.parameters() if p.grad is not None], 5.0)
        self.optimizer.step()
        self.steps += 1
        if together:
            self.others_s += others_s
            self.largest_s += time.perf_counter() - start - others_s

    def _others(self, rng: random.Random, fixed: Point) -> list[Point]:
        """The smallest, and some that are wanted."""
        found: list[Point] = [self.shared.space.smallest() | fixed]
        for _ in range(BETWEEN):
            points = (self.shared.space.draw(rng, fixed) for _ in range(DRAWS))
            point = next((p for p in points if self.wanted(p)), None)
            found += [] if point is None else [point]
        return found

    def _chosen(self) -> NDArray[np.int64]:
        per_epoch = max(1, len(self.train) // self.batch_size)
        epoch, at = divmod(self.steps, per_epoch)
        order = train_order(self.train, self.batch_size, seed=self.recipe.seed, epoch=epoch)
        return next(islice(order, at, None))

    def _objective(self, resolution: int) -> Objective:
        if resolution not in self.objectives:
            model = self.shared.model(self.shared.space.smallest() | {"resolution": resolution})
            self.objectives[resolution] = objective_for(model, self.recipe, self.train)
        return self.objectives[resolution]

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss of the shared weights is {loss} after {self.steps} steps: the training diverged. Look at "
                "the images with `mobilenets check`, or try another --seed."
            )
        self.loss = loss if not self.steps else 0.95 * self.loss + 0.05 * loss

    def _tick(self, step_s: float) -> Tick:
        left = 60 * (self.recipe.minutes or 0.0) - self.seconds
        return Tick(self.fraction, self.epochs, self.loss, self.batch_size / step_s, max(0.0, left))

    def save(self, path: Path) -> None:
        """Weights, what the optimiser remembers of each, and where the training stands, whole or not at all."""
        tensors = {f"weights/{key}": value.detach().contiguous() for key, value in self.shared.tensors.items()}
        for key, value in self.shared.tensors.items():
            remembered = self.optimizer.state.get(value, {})
            tensors |= {f"{part}/{key}": kept.contiguous() for part, kept in remembered.items() if kept is not None}
        about: dict[str, Any] = {"preprocessing": self.shared.preprocessing.to_dict()}
        about |= {"steps": self.steps, "seconds": self.seconds, "loss": self.loss}
        about |= {"largest_s": self.largest_s, "others_s": self.others_s}
        write_bytes(path, to_safetensors(tensors, metadata={"state": json.dumps(about)}))

    def restore(self, path: Path) -> None:
        """Go on from where `save` left it.

        Raises:
            CheckpointError: no such file, a damaged one, or one of another space.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["state"])
                kept = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            with torch.no_grad():
                for key, value in self.shared.tensors.items():
                    value.copy_(kept.pop(f"weights/{key}"))
            for name, remembered in kept.items():
                part, _, key = name.partition("/")
                self.optimizer.state[self.shared.tensors[key]][part] = remembered
            self.steps, self.seconds, self.loss = about["steps"], about["seconds"], about["loss"]
            self.largest_s, self.others_s = about["largest_s"], about["others_s"]
            self.shared.preprocessing = Preprocessing.from_dict(about["preprocessing"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: the shared weights cannot be gone on with: {error}.") from error


def _detached(said: Any) -> Any:
    if isinstance(said, Tensor):
        return said.detach()
    return type(said)(*[part.detach() for part in said])
