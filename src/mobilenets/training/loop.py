"""The training loop: in memory, by epochs or by the clock, exact to the bit wherever it is stopped and resumed."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenets.data.batches import train_order
from mobilenets.errors import DivergedError
from mobilenets.model import MobileNet, normalise
from mobilenets.model.synced import synchronise
from mobilenets.training import rescue
from mobilenets.training.interrupt import interruptible
from mobilenets.training.matching import Matching
from mobilenets.training.objectives import Data, objective_for
from mobilenets.training.optimizers import head_only, optimizer_for, rate_at
from mobilenets.training.parallel import World
from mobilenets.training.recipe import Recipe
from mobilenets.training.schedule import move_average, resolution_at
from mobilenets.training.speed import fastest_precision, keep_freed_memory, reduced
from mobilenets.training.state import State, capture, restore, silent
from mobilenets.training.validation import plain_images
from mobilenets.watching import Epoch, Tick
from mobilenets.weights import estimate_norm

RUNAWAY = 3.0
"""A smoothed loss this many times that of guessing is a training that diverges."""

_SINCE = ("loss", "steps", "images", "s", "wait")
"""What is summed up between two validations."""


@dataclass
class Training:
    """A training in progress: everything that a resume needs is an attribute that `state.capture` keeps.

    `model` is what the optimiser moves; `average` is the exponential moving average of its weights, which is validated,
    kept and deployed. All that is drawn at random follows from the recipe's seed and the number of the step, so that a
    training that was killed at any moment goes on from its last checkpoint as if it had not been.

    Attributes:
        model: what is trained.
        recipe: how.
        train: decoded training images.
        val: decoded validation images.
        fresh: nodes that start anew; the recipe may train them first.
        teacher: class probabilities of the training images, (n, classes), as a teacher gives them; None trains by the
            labels alone.
        teachers: models that answer every batch anew: how detectors and segmenters are taught.
        matching: features to be compared with a teacher's; its student is `model`.
        stand_in: what batches go through in the model's place, with its parameters: its int8 to be, for example.
        world: the processes that train together.
        spent_s: of the recipe's minutes, used up before the first step.
    """

    model: MobileNet
    recipe: Recipe
    train: Data
    val: Data
    fresh: tuple[str, ...] = ()
    teacher: Tensor | None = None
    teachers: tuple[MobileNet, ...] = ()
    matching: Matching | None = None
    stand_in: nn.Module | None = None
    world: World = field(default_factory=World)
    spent_s: float = 0.0
    average: MobileNet = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    history: list[Epoch] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    validation_s: float = 0.0
    best_score: float = -1.0
    rate_factor: float = 1.0
    precision: str | None = None
    smooth_loss: float | None = None
    since: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_SINCE, 0.0))

    def __post_init__(self) -> None:
        if not self.fresh:  # no layer starts anew: nothing to train first
            self.recipe = replace(self.recipe, head_first=0.0)
        recipe = self.recipe
        self.device = self.world.device
        self.model.dropout = recipe.dropout
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = recipe.bn_momentum
        self.average = copy.deepcopy(self.model).eval()
        self.images = len(self.train)
        wanted = min(recipe.batch_size, max(8, self.images // 8))
        self.batch_size = wanted if wanted == recipe.batch_size else -(-wanted // self.world.size) * self.world.size
        self.local_batch = self.world.share_of(self.batch_size)
        self.optimizer, self.peak_lr = optimizer_for(self.model, recipe, self.batch_size, self.fresh)
        if self.matching is not None:
            self.matching.to(self.device)
            self.optimizer.add_param_group(
                {"params": list(self.matching.adapters.parameters()), "weight_decay": 0.0, "scale": 1.0}
            )
        self.steps_per_epoch = max(1, self.images // self.batch_size)
        self.task = self.model.info.task
        self.objective = objective_for(self.model, recipe, self.train, answers=self.teacher, teachers=self.teachers)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=False)
        self.whole = True  # False inside a step: such a state must not be saved
        self.beside: Mapping[str, float] = {}
        self._good: State | None = None
        self._frozen: bool | None = None
        self._forward: Callable[[Tensor], Any] = self.model
        synchronise(self.model, self.world.size > 1)

    @property
    def fraction(self) -> float:
        """Part of the training that is done, from 0 to 1; under a clock, the last validation has its time kept."""
        if self.recipe.minutes is not None:
            clock_s = 60 * self.recipe.minutes - self.spent_s - self.validation_s
            return min(1.0, self.seconds / max(clock_s, 1e-3))
        assert self.recipe.epochs is not None
        return min(1.0, self.step / (self.recipe.epochs * self.steps_per_epoch))

    @property
    def expected_epochs(self) -> float:
        """Passes over the training images by the end; under a clock, at the speed so far."""
        if self.recipe.epochs is not None:
            return self.recipe.epochs
        return self.step / max(self.fraction, 1e-6) / self.steps_per_epoch

    @property
    def stale(self) -> int:
        """Validations since one was better than all before it; one as good as the best is not better."""
        best = next((i for i, line in enumerate(self.history) if line.val_score >= self.best_score), 0)
        return max(0, len(self.history) - 1 - best)

    @property
    def done(self) -> bool:
        """Whether the training is at its end, or stopped early."""
        patience = self.recipe.patience
        return self.fraction >= 1.0 or (patience is not None and self.stale >= patience)

    def run(
        self,
        *,
        on_tick: Callable[[Tick], None] | None = None,
        on_epoch: Callable[[Epoch, bool], None] | None = None,
        on_checkpoint: Callable[[], None] | None = None,
        on_note: Callable[[str], None] = silent,
        checkpoint_s: float = 60.0,
    ) -> MobileNet:
        """Train to the end; returns the averaged model in evaluation mode.

        A loss that is no number, or runs away, is told with its cause; the training then goes on, once, from the last
        validation at half the rate.

        Args:
            on_tick: called after each step.
            on_epoch: called after each validation with the new line and whether it is the best so far.
            on_checkpoint: called every `checkpoint_s` seconds, between two steps.
            on_note: told what the user should know.
            checkpoint_s: seconds between checkpoints.

        Raises:
            DivergedError: it diverged a second time.
            KeyboardInterrupt: Ctrl-C, after the step it fell into: the state is whole.
        """
        keep_freed_memory()
        if self.precision is None:
            self.precision = str(self.recipe.precision)
            if self.precision == "auto":
                self.precision = self.world.told(fastest_precision(self.model, self.local_batch, self.device))
        if self.precision == "fp16":
            self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.device.type == "cuda")
        self._good = capture(self)
        if on_checkpoint is not None:
            on_checkpoint()  # what was measured is a choice: a resume must not measure it again
        with interruptible() as stop:
            while not self.done:
                try:
                    self._until_validation(on_tick, on_checkpoint, checkpoint_s, stop)
                except rescue.NotANumberError as error:
                    self._rescue(error, on_note)
                    continue
                self._validate(on_epoch)
                self._good = capture(self)
        if not self._validated:  # it was interrupted in its last validation
            self._validate(on_epoch)
        return self.average

    @property
    def _validated(self) -> bool:
        return bool(self.history) and self.history[-1].step == self.step

    def _until_validation(
        self, on_tick: Callable[[Tick], None] | None, on_checkpoint: Callable[[], None] | None, checkpoint_s: float,
        stop: threading.Event,
    ) -> None:  # fmt: skip
        """Steps to the next validation: an epoch's end, or the clock's; a clock's short epochs validate together."""
        if self.step and not self._validated and self._validation_is_due():
            return  # it was interrupted between the step and the validation
        saved = last = time.perf_counter()
        for chosen in self._batches():
            loss, asked = self._step(chosen, float(stop.is_set()))
            now = time.perf_counter()
            self._count(loss, now - last)
            last = now
            if on_tick is not None:
                on_tick(self._tick())
            if asked:
                raise KeyboardInterrupt
            if self._validation_is_due():
                return
            if on_checkpoint is not None and now - saved >= checkpoint_s:
                on_checkpoint()
                saved = last = time.perf_counter()

    def _validation_is_due(self) -> bool:
        if self.fraction >= 1.0:
            return True
        if self.step % self.steps_per_epoch:
            return False
        before = self.history[-1].seconds if self.history else 0.0
        return self.recipe.minutes is None or self.seconds - before > 60 * self.recipe.minutes / 12

    def _count(self, loss: float, took_s: float) -> None:
        """Take a step into account; under a clock all processes follow the first one's."""
        if self.recipe.minutes is not None and self.world.size > 1:
            (took_s,) = self.world.total(took_s if self.world.leads else 0.0)
        self.seconds += took_s
        for key, value in (("loss", loss), ("steps", 1), ("images", self.batch_size), ("s", took_s)):
            self.since[key] += value

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        """The part of each batch that is this process's, from the present step on, epoch after epoch."""
        first = self.world.rank * self.local_batch
        while True:
            epoch, skip = divmod(self.step, self.steps_per_epoch)
            alike = self.recipe.balance == "sampling"
            order = train_order(self.train, self.batch_size, seed=self.recipe.seed, epoch=epoch, alike=alike)
            for i, chosen in enumerate(order):
                if i >= skip:
                    yield chosen[first : first + self.local_batch]

    def _step(self, chosen: NDArray[np.int64], stop: float) -> tuple[float, bool]:
        """One step; (mean loss over all processes, whether one of them was asked to stop)."""
        recipe, begin = self.recipe, time.perf_counter()
        self.whole = False
        seed = recipe.seed * 1_000_003 + self.step
        drawn = recipe.augmentation_for(self.expected_epochs, self.task)
        images, targets = self.objective.batch(
            chosen, self.resolution_at(self.fraction), drawn, torch.Generator().manual_seed(seed),
            first=self.world.rank * self.local_batch,
        )  # fmt: skip
        self.since["wait"] += time.perf_counter() - begin
        self._set_rates()
        self.model.train()
        normed = normalise(images, self.model.info.preprocessing)
        with (
            torch.random.fork_rng(enabled=recipe.dropout > 0, devices=[]),
            reduced(self.precision or "fp32", self.device),
        ):
            if recipe.dropout:
                torch.manual_seed(seed)
            loss = self._loss(normed, images, targets)
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        mean, asked = self.world.total(float(loss.detach()), stop)
        mean /= self.world.size
        self._check(mean, normed, targets, chosen)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        expected_steps = self.step / max(self.fraction, 1e-6)
        move_average(self.average, self.model, recipe, step=self.step, expected_steps=expected_steps)
        self.whole = True
        return mean, asked > 0

    def _loss(self, normed: Tensor, images: Tensor, targets: Any) -> Tensor:
        out = self._forward(normed)
        answer, features = out if self.matching is not None else (out, [])
        loss = self.objective.loss(answer, images, targets)
        if self.matching is not None:
            loss = loss + self.matching.loss(features, images)
        return loss

    def _check(self, loss: float, normed: Tensor, targets: Any, chosen: NDArray[np.int64]) -> None:
        """Clip the gradient, and refuse a step that would leave the numbers or that runs away.

        Raises:
            NotANumberError: with all that is known of the cause.
        """
        self.scaler.unscale_(self.optimizer)
        moving = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in moving if p.grad is not None])
        finite = math.isfinite(loss) and (bool(norm.isfinite()) or self.scaler.is_enabled())
        if finite and self.recipe.clip:
            nn.utils.clip_grads_with_norm_(moving, self.recipe.clip, norm)
        before = loss if self.smooth_loss is None else self.smooth_loss
        self.smooth_loss = 0.95 * before + 0.05 * loss
        (broken,) = self.world.total(float(not finite or self.smooth_loss > RUNAWAY * (self._guessing() + 1)))
        if not broken:
            return
        paths = [self.train.paths[i] if self.train.paths else f"image {i}" for i in chosen]
        lr = self.lr_at(self.fraction)
        told = rescue.cause(self.model, self.objective, normed, targets, paths, step=self.step, lr=lr, loss=loss)
        if math.isfinite(loss) and not bool(norm.isfinite()):
            told += "; the loss is a number, its gradient is not"
        raise rescue.NotANumberError(told)

    def _guessing(self) -> float:
        """About the loss of one who guesses."""
        return self.objective.guessing + (4.0 if self.matching is not None else 0.0)

    def _rescue(self, error: rescue.NotANumberError, on_note: Callable[[str], None]) -> None:
        """Back to the last validation at half the rate, once."""
        if self.rate_factor < 1.0 or self._good is None:
            raise DivergedError(
                f"the training diverged again at half the rate. {error}. Give a lower --lr, or --clip 1; look at the "
                "images named, and at `mobilenets check`."
            ) from error
        on_note(f"the training diverged: {error}")
        at = self._good.scalars["step"]
        on_note(f"going on from step {at} at half the learning rate.")
        seconds = self.seconds
        restore(self, self._good)
        self.rate_factor, self.seconds, self.whole = 0.5, seconds, True
        self.since = dict.fromkeys(self.since, 0.0)
        self._frozen = None

    def lr_at(self, fraction: float) -> float:
        """Learning rate at a part of the training, of the layers that move fastest."""
        return self.peak_lr * self.rate_factor * rate_at(self.recipe, fraction, self.expected_epochs)

    def _set_rates(self) -> None:
        """The groups' rates; and at the end of the head's own phase, free the rest."""
        frozen = bool(self.fresh) and self.fraction < self.recipe.head_first
        if frozen != self._frozen:
            self._frozen = frozen
            self._forward = self.model  # lets go of the parameters' hooks before new ones are made
            head_only(self.model, self.fresh, frozen=frozen)
            self._forward = self._wrapped()
        lr = self.lr_at(self.fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]

    def _wrapped(self) -> Callable[[Tensor], Any]:
        """What a batch goes through: the model, its features beside it, compiled, averaged over processes."""
        module: nn.Module = self.stand_in or self.model if self.matching is None else self.matching
        if self.world.size > 1:
            return self.world.averaging(module)
        if self.recipe.compile:
            return torch.compile(module)
        return module

    def resolution_at(self, fraction: float) -> int:
        """Training resolution in pixels at a part of the training; see `schedule.resolution_at`."""
        return resolution_at(self.model.network, self.recipe.low_resolution, fraction)

    def _validate(self, on_epoch: Callable[[Epoch, bool], None] | None) -> None:
        begin = time.perf_counter()
        if self.recipe.bn_images:
            drawn = np.random.default_rng(self.recipe.seed).permutation(self.images)[: self.recipe.bn_images]
            estimate_norm(self.average, plain_images(self.average, self.train.images, np.sort(drawn), self.device))
        metric, loss, self.beside = self.objective.score(self.average, self.val, self.world)
        took_s = time.perf_counter() - begin
        if self.world.size > 1:
            (took_s,) = self.world.total(took_s if self.world.leads else 0.0)
        self.seconds += took_s
        since, steps = self.since, max(self.since["steps"], 1.0)
        line = Epoch(
            self.step / self.steps_per_epoch, self.step, self.seconds, self.lr_at(self.fraction),
            self.resolution_at(self.fraction), since["loss"] / steps, loss, metric,
            since["images"] / max(since["s"], 1e-9), since["wait"] / max(since["s"], 1e-9),
        )  # fmt: skip
        self.validation_s = took_s  # the last one's time is kept; set after `fraction` was used
        self.since = dict.fromkeys(self.since, 0.0)
        self.history.append(line)
        best = metric >= self.best_score
        self.best_score = max(metric, self.best_score)
        if on_epoch is not None:
            on_epoch(line, best)

    def _tick(self) -> Tick:
        fraction, since = self.fraction, self.since
        if self.recipe.minutes is not None:
            left = 60 * self.recipe.minutes - self.spent_s - self.seconds
        else:
            left = self.seconds * (1 - fraction) / max(fraction, 1e-6)
        seconds = max(since["s"], 1e-9)
        return Tick(
            fraction, self.step / self.steps_per_epoch, since["loss"] / max(since["steps"], 1.0),
            since["images"] / seconds, max(left, 0.0), since["wait"] / seconds,
        )  # fmt: skip
