"""How a network is trained: frozen dataclasses, every field documented, measured defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

from mobilenets.data.augment import BOXES, DEFAULT, LIGHT, LIGHT_BOXES, LIGHT_MASKS, MASKS, RANDOM, Augmentation
from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.metrics import Task

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Balance = Literal["none", "loss", "sampling"]
Negatives = Literal["focal", "mined"]
LIGHT_BELOW_EPOCHS = 40
"""Measured on CIFAR-10, V1 0.5 at 64 px, one epoch: 46.9 % with shifts and flips, 45.5 % with mild crops, 44.7 % with
the default ones; on generated scenes, V1 0.5, 16 epochs of AdamW: 85.2 % with light ones, 76.3 % with the default."""
LIGHT_BELOW_PICTURES = 200
"""The same for boxes and masks. Measured on BCCD, SSDLite on V2 at 256 px, 16 epochs: AP50 78 % with light crops, 71 %
with SSD's."""
FEW_IMAGES, FEW_LR = 10_000, 4e-3
"""Below so many images, classifiers from random weights learn with AdamW where time is short: there are too few steps
for SGD to leave its plateau. On 3,200 generated scenes V4-Conv-Small 0.35 at 96 px had 46 % right after 75 s, with SGD
24 % after two minutes. Of 42,500 CIFAR-10 images at 64 px, 3 epochs, V1 0.5 learned more with SGD (65.0 % against
52.7)."""
_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "adamw", "rmsprop"),
    "schedule": ("cosine", "exponential"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "balance": ("none", "loss", "sampling"),
    "negatives": ("focal", "mined"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training recipe. Give `epochs` or `minutes`; the schedule always ends at the end of either.

    As it stands it is `quick`: `mobilenets train mobilenet_v2 cifar10 --resolution 96 --weights none --minutes 15` on 2
    cores of a Xeon: 74.0 % of the 10,000 test images (n = 1), 4.5 epochs of 42,500 images.

    Attributes:
        epochs: passes over the training images; None trains by `minutes`.
        minutes: wall-clock training time, validation included; None trains by `epochs`.
        batch_size: images a step, over all processes; 0 measures which is fastest here. Smaller data sets lower it so
            that an epoch has at least 8 steps.
        optimizer: `sgd` (Nesterov momentum 0.9), `adamw`, or `rmsprop` (the papers': TensorFlow's, 0.9 and 0.9).
        lr: peak learning rate at batch size 64; scaled in proportion for SGD and RMSProp, by the square root for AdamW.
            0 measures a good one by a range test.
        schedule: `cosine` to zero, or `exponential` (`rate_decay` an epoch).
        rate_decay: factor an epoch of the exponential schedule.
        weight_decay: on convolution and classifier weights; never on batch norm or biases.
        warmup: part of the training in which the rate rises linearly, before it falls.
        head_first: part of the training in which only the layers that start anew move.
        layer_decay: each row towards the input has its rate multiplied by this; layers that start anew have all of it.
        clip: largest norm of the gradient, larger ones are scaled down; 0 clips nothing.
        label_smoothing: part of the target spread over all classes.
        ema_horizon: part of the training over which the averaged weights, which are validated and kept, reach back.
        ema_decay: largest decay of that average (the papers' 0.9999); it begins lower, as the steps done allow.
        dropout: before the classifier.
        mixup: alpha of MixUp and CutMix; 0 turns it off.
        bn_momentum: batch-norm momentum while training. The papers' 0.01 needs more steps than short runs have.
        bn_images: training images from which batch norm's statistics are estimated anew before each validation; 0 keeps
            the running ones.
        augmentation: random crops, flips and colours; None takes light ones where the images are seen fewer than 40
            times, which leaves little time to overfit, and the default ones beyond.
        low_resolution: part of the final resolution for the first half of the training; halfway between for the third
            quarter. 1.0 turns growing off.
        balance: for classes of unequal size: `loss` weights each class by its rarity, `sampling` draws all alike.
        negatives: of detectors, whose anchors mostly see nothing: `focal` weights down what is easy (arXiv 1708.02002),
            `mined` learns the three hardest for each object (SSD).
        temperature: that softens what a teacher says, and the student in answering it.
        teacher_share: part of the loss that answers the teacher, the rest answers the labels.
        patience: validations without a better one after which the training stops; None trains to the end.
        precision: `bf16` lets convolutions multiply in bfloat16 (weights and activations stay float32; on CUDA, and for
            `fp16`, autocast decides); `auto` measures on this machine and takes the faster.
        compile: torch.compile the forward pass. Slower to start; measure whether it pays.
        seed: of the initialisation, the order, and the augmentation.

    Raises:
        MisuseError: a value out of its range.
    """

    name: ClassVar[str] = "quick"

    epochs: int | None = None
    minutes: float | None = None
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw", "rmsprop"] = "sgd"
    lr: float = 0.3
    schedule: Literal["cosine", "exponential"] = "cosine"
    rate_decay: float = 0.98
    weight_decay: float = 5e-4
    warmup: float = 0.15
    head_first: float = 0.0
    layer_decay: float = 1.0
    clip: float = 0.0
    label_smoothing: float = 0.1
    ema_horizon: float = 0.01
    ema_decay: float = 1.0
    dropout: float = 0.0
    mixup: float = 0.0
    bn_momentum: float = 0.1
    bn_images: int = 512
    augmentation: Augmentation | None = None
    low_resolution: float = 0.67
    balance: Balance = "none"
    negatives: Negatives = "focal"
    temperature: float = 2.0
    teacher_share: float = 0.7
    patience: int | None = None
    precision: Precision = "auto"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.minutes is None):
            raise MisuseError("give either `epochs` or `minutes`, one of the two.")
        for name in ("epochs", "minutes", "temperature", "patience"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise MisuseError(f"`{name}` (={value}) must be above 0.")
        for name in ("lr", "clip", "weight_decay", "seed", "bn_images"):
            if not (value := getattr(self, name)) >= 0:
                raise MisuseError(f"`{name}` (={value}) must not be negative.")
        for name in ("label_smoothing", "dropout", "head_first", "teacher_share", "warmup"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise MisuseError(f"`{name}` (={value}) must be 0 to 1.")
        if self.batch_size < 2 and self.batch_size != 0:
            raise MisuseError(
                f"`batch_size` (={self.batch_size}) must be at least 2: batch norm needs more than one image."
            )
        for name, known in _CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise MisuseError(f"`{name}` (={value!r}) must be one of {', '.join(known)}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"recipe": self.name} | asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Recipe:
        """From plain JSON values.

        Raises:
            UnknownNameError: no such recipe.
        """
        plain = {k: v for k, v in values.items() if k not in ("augmentation", "recipe")}
        kind = recipe_named(values["recipe"])
        if values["augmentation"] is None:
            return kind(**plain, augmentation=None)
        drawn: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["augmentation"].items()}
        return kind(**plain, augmentation=Augmentation(**drawn))

    def check_task(self, task: Task) -> None:
        """Refuse what boxes and masks cannot be trained with.

        Raises:
            MisuseError: mixed images, or an augmentation that does more than cut windows.
        """
        if task not in ("detect", "segment"):
            return
        if self.mixup:
            raise MisuseError(f"`mixup` (={self.mixup}) mixes whole images' classes; boxes and masks want 0.")
        if self.augmentation is not None:
            self.augmentation.need_windows()

    def augmentation_for(self, epochs: float, task: Task = "classify") -> Augmentation:
        """What to draw in a training that passes over the images `epochs` times."""
        if self.augmentation is not None:
            return self.augmentation
        match task:
            case "detect":
                return LIGHT_BOXES if epochs < LIGHT_BELOW_PICTURES else BOXES
            case "segment":
                return LIGHT_MASKS if epochs < LIGHT_BELOW_PICTURES else MASKS
            case "classify" | "multi-label":
                return LIGHT if epochs < LIGHT_BELOW_EPOCHS else DEFAULT


@dataclass(frozen=True, slots=True)
class Finetune(Recipe):
    """From published weights: the head first, then all, early rows more slowly.

    `mobilenets train mobilenet_v2 cifar10 --resolution 96 --weights v2.safetensors --minutes 15` on 2 cores of a Xeon:
    87.6 % of the 10,000 test images (n = 1), 3.1 epochs of 42,500 images. AdamW because SGD at 0.1 had 57 % right after
    one epoch of 20,000 images where AdamW at 1e-3 had 79 %.
    """

    name: ClassVar[str] = "finetune"

    optimizer: Literal["sgd", "adamw", "rmsprop"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    head_first: float = 0.05
    layer_decay: float = 0.9
    low_resolution: float = 1.0


@dataclass(frozen=True, slots=True)
class Dense(Finetune):
    """For boxes and masks, from published weights or from none: small batches, whole images.

    The rate is measured on BCCD (SSDLite on V2 at 256 px, 16 epochs): AP50 65 % at 4e-3, 71 % at 8e-3.
    """

    name: ClassVar[str] = "dense"

    batch_size: int = 16
    lr: float = 8e-3
    label_smoothing: float = 0.0
    head_first: float = 0.02


@dataclass(frozen=True, slots=True)
class Scratch(Recipe):
    """Long trainings from random weights: RandAugment, MixUp and CutMix, erasing.

    `mobilenets train NETWORK DATA --recipe scratch --epochs 200`. Not run to its end yet.
    """

    name: ClassVar[str] = "scratch"

    warmup: float = 0.05
    mixup: float = 0.2
    dropout: float = 0.2
    augmentation: Augmentation | None = RANDOM


@dataclass(frozen=True, slots=True)
class Paper(Recipe):
    """As the papers train on ImageNet.

    V2, section 6.1 (rate 0.045 at batch 96, 0.98 an epoch, decay 4e-5); V3, section 6.1.1 (dropout, average 0.9999).
    `mobilenets train NETWORK IMAGENET --recipe paper --epochs 300`. Not run to its end yet.
    """

    name: ClassVar[str] = "paper"

    optimizer: Literal["sgd", "adamw", "rmsprop"] = "rmsprop"
    lr: float = 0.045 * 64 / 96
    schedule: Literal["cosine", "exponential"] = "exponential"
    weight_decay: float = 4e-5
    warmup: float = 0.0
    dropout: float = 0.2
    ema_horizon: float = 1.0
    ema_decay: float = 0.9999
    bn_momentum: float = 0.01
    bn_images: int = 0
    low_resolution: float = 1.0
    augmentation: Augmentation | None = DEFAULT


def for_images(recipe: Recipe, images: int) -> Recipe:
    """The plain recipe as few images want it: AdamW, at the same part of its usual rate. Others stay as they are."""
    if type(recipe) is not Recipe or images >= FEW_IMAGES:
        return recipe
    return replace(recipe, optimizer="adamw", lr=FEW_LR * recipe.lr / Recipe(epochs=1).lr, weight_decay=0.05)


RECIPES: dict[str, type[Recipe]] = {kind.name: kind for kind in (Finetune, Dense, Recipe, Scratch, Paper)}
"""Recipes by name; `quick` is the plain one."""


def recipe_named(name: str) -> type[Recipe]:
    """The recipe of a name.

    Raises:
        UnknownNameError: no such recipe.
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES, hint=f"Known: {', '.join(RECIPES)}.")
    return RECIPES[name]
