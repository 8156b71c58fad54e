"""The training loop: in memory, by epochs or by the clock, resumable at every epoch and interrupt."""

from __future__ import annotations

import copy
import ctypes
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilenets.data.augment import augment, mix, plain
from mobilenets.data.batches import eval_batches, train_batches
from mobilenets.data.cache import Squares
from mobilenets.model import MobileNet, normalise
from mobilenets.training.recipe import Recipe
from mobilenets.watching import Epoch, Tick


@dataclass
class Training:
    """A training in progress: everything that a resume needs is an attribute.

    `model` is what the optimiser moves; `average` is the exponential moving average of its weights, which is validated,
    kept and deployed.
    """

    model: MobileNet
    recipe: Recipe
    train: Squares
    val: Squares
    average: MobileNet = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    history: list[Epoch] = field(default_factory=list)
    step: int = 0
    epoch: int = 0
    seconds: float = 0.0
    best_top1: float = -1.0
    bf16: bool | None = None

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.model.dropout = recipe.dropout
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = recipe.bn_momentum
        self.average = copy.deepcopy(self.model).eval()
        self.batch_size = min(recipe.batch_size, max(8, len(self.train.labels) // 8))
        self.optimizer, self.peak_lr = _optimizer(self.model, recipe, self.batch_size)
        self.steps_per_epoch = max(1, len(self.train.labels) // self.batch_size)

    @property
    def fraction(self) -> float:
        """Part of the training that is done, from 0 to 1."""
        if self.recipe.minutes is not None:
            return min(1.0, self.seconds / (60 * self.recipe.minutes))
        assert self.recipe.epochs is not None
        return min(1.0, self.step / (self.recipe.epochs * self.steps_per_epoch))

    @property
    def expected_epochs(self) -> float:
        """Passes over the training images by the end; under a clock, at the speed so far."""
        if self.recipe.epochs is not None:
            return self.recipe.epochs
        return self.step / max(self.fraction, 1e-6) / self.steps_per_epoch

    def run(
        self,
        *,
        on_tick: Callable[[Tick], None] | None = None,
        on_epoch: Callable[[Epoch, bool], None] | None = None,
    ) -> MobileNet:
        """Train to the end; returns the averaged model in evaluation mode.

        Args:
            on_tick: called after each step.
            on_epoch: called after each validation with the new line and whether it is the best so far.
        """
        keep_freed_memory()
        if self.bf16 is None:
            self.bf16 = self._bf16_is_faster() if self.recipe.precision == "auto" else self.recipe.precision == "bf16"
        while self.fraction < 1.0:
            self._epoch(on_tick, on_epoch)
        if not self.history or self.history[-1].step != self.step:  # it was interrupted in its last validation
            self._validate(self.history[-1].train_loss if self.history else 0.0, 0.0, on_epoch)
        return self.average

    def _epoch(self, on_tick: Callable[[Tick], None] | None, on_epoch: Callable[[Epoch, bool], None] | None) -> None:
        """The rest of the current epoch; validates at its end, or when the clock runs out.

        Under a clock, epochs shorter than a twelfth of the training validate together.
        """
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        begin = last = time.perf_counter()
        losses, images = 0.0, 0
        skip = self.step - self.epoch * self.steps_per_epoch
        steps = 0
        while True:
            batches = train_batches(self.train, self.batch_size, seed=self.recipe.seed, epoch=self.epoch)
            for i, (pixels, labels) in enumerate(batches):
                if i < skip:
                    continue
                losses += self._step(pixels, labels, generator)
                steps += 1
                images += len(labels)
                now = time.perf_counter()
                self.seconds += now - last
                last = now
                if on_tick is not None:
                    on_tick(self._tick(losses / steps, images / max(now - begin, 1e-9)))
                if self.fraction >= 1.0:
                    break
            skip = 0
            whole = self.step // self.steps_per_epoch
            self.epoch = whole
            if self.fraction >= 1.0 or self.recipe.minutes is None:
                break
            since = self.seconds - (self.history[-1].seconds if self.history else 0.0)
            if since > 60 * self.recipe.minutes / 12:
                break
        speed = images / max(time.perf_counter() - begin, 1e-9)
        self._validate(losses / max(steps, 1), speed, on_epoch)

    def _step(self, pixels: Tensor, labels: Tensor, generator: torch.Generator) -> float:
        recipe = self.recipe
        lr = self.lr_at(self.fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.model.train()
        drawn = recipe.augmentation_for(self.expected_epochs)
        batch = augment(pixels, self.resolution_at(self.fraction), drawn, generator)
        targets = F.one_hot(labels, self.model.network.classes).float()
        if recipe.mixup:
            batch, targets = mix(batch, targets, recipe.mixup, generator)
        with bf16_products(bool(self.bf16)):
            logits = self.model(normalise(batch, self.model.info.preprocessing))
            loss = F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return float(loss.detach())

    def lr_at(self, fraction: float) -> float:
        """Learning rate at a part of the training: linear warm-up, then a cosine to zero."""
        warmup = self.recipe.warmup
        if fraction < warmup:
            return self.peak_lr * (0.02 + 0.98 * fraction / warmup)
        return self.peak_lr * 0.5 * (1 + math.cos(math.pi * (fraction - warmup) / (1 - warmup)))

    def resolution_at(self, fraction: float) -> int:
        """Training resolution at a part of the training, a multiple of 16 below the final one."""
        final, low = self.model.network.resolution, self.recipe.low_resolution
        if low >= 1.0 or fraction >= 0.75 or self.model.network.padding == "same":
            return final
        part = low if fraction < 0.5 else (1 + low) / 2
        return min(final, max(32, round(part * final / 16) * 16))

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average towards the weights. Its horizon follows the steps that the whole training will have."""
        expected_steps = self.step / max(self.fraction, 1e-6)
        horizon = min(self.recipe.ema_horizon * expected_steps, self.step / 4)
        decay = 1 - 1 / max(horizon, 1.0)
        averaged = [t for t in self.average.state_dict().values() if t.is_floating_point()]
        current = [t for t in self.model.state_dict().values() if t.is_floating_point()]
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def _validate(self, train_loss: float, images_per_s: float, on_epoch: Callable[[Epoch, bool], None] | None) -> None:
        begin = time.perf_counter()
        probabilities, labels = predict_squares(self.average, self.val)
        right = (probabilities.argmax(1) == labels).float().mean().item()
        loss = F.nll_loss(probabilities.clamp_min(1e-12).log(), labels).item()
        self.seconds += time.perf_counter() - begin
        line = Epoch(
            self.step / self.steps_per_epoch,
            self.step,
            self.seconds,
            self.lr_at(self.fraction),
            self.resolution_at(self.fraction),
            train_loss,
            loss,
            right,
            images_per_s,
        )
        self.history.append(line)
        best = right >= self.best_top1
        self.best_top1 = max(right, self.best_top1)
        if on_epoch is not None:
            on_epoch(line, best)

    def _tick(self, loss: float, images_per_s: float) -> Tick:
        fraction = self.fraction
        if self.recipe.minutes is not None:
            left = 60 * self.recipe.minutes - self.seconds
        else:
            left = self.seconds * (1 - fraction) / max(fraction, 1e-6)
        return Tick(fraction, self.step / self.steps_per_epoch, loss, images_per_s, max(left, 0.0))

    def _bf16_is_faster(self) -> bool:
        """Time a forward and backward pass with float32 and with bfloat16 products; float32 on a near tie."""
        resolution = self.model.network.resolution
        pixels = torch.rand(min(self.batch_size, 32), self.model.network.in_channels, resolution, resolution)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        model = copy.deepcopy(self.model).train()
        return _time_pass(model, pixels, bf16=True) < 0.95 * _time_pass(model, pixels, bf16=False)


@contextmanager
def bf16_products(enabled: bool) -> Iterator[None]:
    """Let oneDNN multiply in bfloat16 inside float32 convolutions, and put the setting back.

    Not autocast: its bfloat16 backward passes of strided and 5x5 depthwise convolutions are several times slower than
    float32 (45 ms against 3.3 ms for 64 channels of 48x48, stride 2, batch 64, on a processor with AMX).
    """
    settings = torch.backends.mkldnn.conv  # type: ignore[attr-defined]
    before = settings.fp32_precision
    try:
        if enabled:
            settings.fp32_precision = "bf16"
        yield
    finally:
        settings.fp32_precision = before


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of giving it back to the system.

    Activations are freed and asked for again in every step; fresh pages cost a fault each. Measured: 341 to 425
    images/s for V1 0.5 at 96 px on 2 cores. Elsewhere than on glibc this does nothing.
    """
    try:
        library = ctypes.CDLL(None)
        mmap_max, trim_threshold, top_pad = -4, -1, -2
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)
        library.mallopt(top_pad, 64 << 20)
    except (OSError, AttributeError, TypeError):
        return


def _time_pass(model: MobileNet, pixels: Tensor, *, bf16: bool) -> float:
    best = math.inf
    for _ in range(4):
        begin = time.perf_counter()
        with bf16_products(bf16):
            model(pixels).sum().backward()
        best = min(best, time.perf_counter() - begin)
    return best


def _optimizer(model: nn.Module, recipe: Recipe, batch_size: int) -> tuple[torch.optim.Optimizer, float]:
    """(optimiser, peak learning rate for this batch size)."""
    groups = _groups(model, recipe.weight_decay)
    if recipe.optimizer == "sgd":
        lr = recipe.lr * batch_size / 64
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, foreach=True), lr
    lr = recipe.lr * math.sqrt(batch_size / 64)
    return torch.optim.AdamW(groups, lr=lr, foreach=True), lr


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and filters only: batch norm and biases are vectors."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def predict_squares(model: MobileNet, squares: Squares, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """(probabilities (n, classes), labels (n,)) of decoded images, cropped and resized as the model's files will be."""
    model.eval()
    chosen = model.info.preprocessing
    probabilities, labels = [], []
    with torch.inference_mode():
        for pixels, truth in eval_batches(squares, batch_size):
            images = plain(pixels, chosen.resolution, crop=chosen.crop, interpolation=chosen.interpolation)
            images = normalise(images, chosen)
            probabilities.append(model(images).softmax(-1))
            labels.append(truth)
    return torch.cat(probabilities), torch.cat(labels)
