"""How a network is trained: one frozen dataclass, every field documented, measured defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mobilenets.data.augment import DEFAULT, Augmentation
from mobilenets.errors import MisuseError

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training recipe. Give `epochs` or `minutes`; the schedule always ends at the end of either.

    Attributes:
        epochs: passes over the training images; None trains by `minutes`.
        minutes: wall-clock training time, validation included; None trains by `epochs`.
        batch_size: images a step; smaller data sets lower it so that an epoch has at least 8 steps.
        lr: peak learning rate of AdamW at batch size 128; scaled by the square root of batch_size / 128.
        weight_decay: decoupled, on convolution and classifier weights; never on batch norm or biases.
        warmup: part of the training in which the rate rises linearly, before it falls by a cosine to zero.
        label_smoothing: part of the target spread over all classes.
        ema_decay: of the averaged weights that are validated and kept; shorter at the start.
        dropout: before the classifier.
        mixup: alpha of MixUp; 0 turns it off.
        bn_momentum: batch-norm momentum while training. The papers' 0.01 needs more steps than short runs have.
        augmentation: random crops, flips and colours.
        low_resolution: part of the final resolution at which training starts; 1.0 turns growing off.
        grow_until: part of the training after which the resolution is the final one.
        precision: `auto` measures fp32 against bf16 on this machine and takes the faster.
        seed: of the initialisation, the order, and the augmentation.
    """

    epochs: int | None = None
    minutes: float | None = None
    batch_size: int = 128
    lr: float = 4e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    label_smoothing: float = 0.1
    ema_decay: float = 0.998
    dropout: float = 0.0
    mixup: float = 0.0
    bn_momentum: float = 0.1
    augmentation: Augmentation = field(default=DEFAULT)
    low_resolution: float = 1.0
    grow_until: float = 0.6
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.minutes is None):
            raise MisuseError("give either `epochs` or `minutes`, one of the two.")
        for name in ("epochs", "minutes", "batch_size", "lr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise MisuseError(f"`{name}` (={value}) must be above 0.")
        if not 0 <= self.ema_decay < 1:
            raise MisuseError(f"`ema_decay` (={self.ema_decay}) must be at least 0 and below 1.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Recipe:
        """From plain JSON values."""
        plain = {k: v for k, v in values.items() if k != "augmentation"}
        drawn: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["augmentation"].items()}
        return Recipe(**plain, augmentation=Augmentation(**drawn))
