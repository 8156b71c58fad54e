"""What augmentation draws for each image, and presets of it."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.errors import MisuseError

__all__ = [
    "BOXES",
    "DEFAULT",
    "LIGHT",
    "LIGHT_BOXES",
    "LIGHT_MASKS",
    "MASKS",
    "NONE",
    "RANDOM",
    "STRONG",
    "Augmentation",
]

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is drawn anew for each image.

    Images with boxes or masks are moved by whole windows only: they know no shift, turn, erasing or RandAugment.

    Attributes:
        flip: probability of a mirrored image.
        scale: range of the crop's area, as part of the image.
        ratio: range of the crop's width / height.
        translate: largest shift in either direction, as part of the image's side; beyond its edges it is reflected.
        rotate: largest turn in either direction, in degrees.
        brightness: largest relative change of brightness.
        contrast: largest relative change of contrast, about the image's mean grey.
        saturation: largest relative change of saturation.
        erase: probability of a rectangle (2 to 25 % of the area) filled with one random colour.
        randaugment: operations of RandAugment an image, on top.
        expand: largest side of the window, in sides of the image, for boxes and masks; what lies beyond the image has
            its mean colour and is no object.
        least_overlap: for boxes: least intersection over union of the crop with an object, one of them drawn for each
            image; 0 takes any crop with an object's centre, 1 the whole image.
        mosaic: for boxes: probability of four images in one.

    Raises:
        MisuseError: a value is out of its range.
    """

    flip: float = 0.5
    scale: Range = (0.5, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    translate: float = 0.0
    rotate: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    erase: float = 0.0
    randaugment: int = 0
    expand: float = 1.0
    least_overlap: tuple[float, ...] = (0.0,)
    mosaic: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "translate", "brightness", "contrast", "saturation", "erase", "mosaic"):
            if not 0.0 <= (value := getattr(self, name)) <= 1.0:
                raise MisuseError(f"augmentation: {name} is {value}; it must be 0 to 1.")
        if not 0.0 < self.scale[0] <= self.scale[1] <= 1.0:
            raise MisuseError(f"augmentation: scale is {self.scale}; it must be a range above 0, up to 1.")
        if not 0.0 < self.ratio[0] <= self.ratio[1]:
            raise MisuseError(f"augmentation: ratio is {self.ratio}; it must be a range above 0, such as (0.75, 1.33).")
        if not 0.0 <= self.rotate <= 180.0:
            raise MisuseError(f"augmentation: rotate is {self.rotate} degrees; it must be 0 to 180.")
        if not 1.0 <= self.expand <= 8.0:
            raise MisuseError(f"augmentation: expand is {self.expand}; it must be 1 (never) to 8 sides of the image.")
        if not self.least_overlap or not all(0.0 <= least <= 1.0 for least in self.least_overlap):
            raise MisuseError(
                f"augmentation: least_overlap is {self.least_overlap}; it must be one or more values of 0 to 1."
            )

    @property
    def warps(self) -> bool:
        """Whether pixels of a classified image move by anything but a flip."""
        return self.scale != (1.0, 1.0) or self.ratio != (1.0, 1.0) or self.translate > 0 or self.rotate > 0

    @property
    def recolours(self) -> bool:
        """Whether brightness, contrast or saturation change."""
        return max(self.brightness, self.contrast, self.saturation) > 0

    def need_windows(self) -> None:
        """Refuse what moves pixels where boxes and masks do not follow.

        Raises:
            MisuseError: there is a shift, a turn, erasing or RandAugment.
        """
        for name in ("translate", "rotate", "erase", "randaugment"):
            if value := getattr(self, name):
                raise MisuseError(
                    f"augmentation: {name} is {value}, which boxes and masks do not follow; it must be 0 for them. "
                    "BOXES and MASKS are made for them."
                )


NONE = Augmentation(flip=0.0, scale=(1.0, 1.0), ratio=(1.0, 1.0), brightness=0.0, contrast=0.0, saturation=0.0)
"""Nothing: `augment` equals `plain`."""

LIGHT = Augmentation(scale=(0.85, 1.0), ratio=(1.0, 1.0), translate=0.06, brightness=0.1, contrast=0.1, saturation=0.1)
"""For short trainings and small networks, which underfit."""

DEFAULT = Augmentation()
"""For fine-tuning."""

STRONG = Augmentation(
    scale=(0.25, 1.0), translate=0.05, rotate=10.0, brightness=0.4, contrast=0.4, saturation=0.4, erase=0.25
)
"""For long trainings on few images."""

RANDOM = Augmentation(
    scale=(0.35, 1.0), brightness=0.0, contrast=0.0, saturation=0.0, erase=0.25, randaugment=2
)  # fmt: skip
"""RandAugment, crops and erasing: for long trainings on many images."""

BOXES = Augmentation(
    scale=(0.1, 1.0), ratio=(0.5, 2.0), expand=2.0, least_overlap=(0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0), mosaic=0.25
)
"""For detection: SSD's crops (arXiv:1512.02325, section 2.2), smaller objects, and sometimes four images in one."""

LIGHT_BOXES = Augmentation(scale=(0.3, 1.0), expand=1.3, least_overlap=(0.5, 0.7, 0.9, 1.0))
"""For detection in short trainings, which underfit."""

LIGHT_MASKS = Augmentation(scale=(0.5, 1.0), ratio=(1.0, 1.0))
"""For segmentation in short trainings."""

MASKS = Augmentation(scale=(0.25, 1.0), ratio=(1.0, 1.0), expand=2.0)
"""For segmentation: images half to twice as large (DeepLabv3, arXiv:1706.05587, section 4.1)."""
