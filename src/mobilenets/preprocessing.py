"""The contract between an image file and a network's input: resize, crop, scale. It travels with every model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from mobilenets.errors import MisuseError

if TYPE_CHECKING:  # it travels to devices, where there are no tables
    from mobilenets.table.rows import Network

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Interpolation = Literal["bilinear", "bicubic"]
"""How pixels are resized; both antialiased, as Pillow does it."""

Shaping = Literal["crop", "stretch"]
"""How a photo becomes a square: `crop` keeps its shape and cuts the centre, `stretch` keeps all of it."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an RGB image becomes the network's input.

    The image is rotated as its EXIF says; its short side is resized to `resolution / crop` (antialiased);
    the centre `resolution` x `resolution` is kept; then `(pixel / 255 - mean) / std` per channel. The last step lies
    inside exported files, which take uint8 `n h w c`. With `shaping` "stretch", which detectors and segmenters want,
    the whole image is resized to `resolution` x `resolution`, so that places are parts of its width and height.

    Attributes:
        resolution: height and width that enter the network, in pixels.
        crop: part of the resized short side that is kept, above 0, at most 1.
        mean: per channel, of values in [0, 1].
        std: per channel, of values in [0, 1].
        interpolation: of the resizing. Weights want theirs: one V1 0.25 names 56.2 % of 500 photos bicubic, 53.4 % of
            them bilinear.
        shaping: how a photo becomes a square.

    Raises:
        MisuseError: an interpolation or a shaping that is not known, or a stretched image that is cropped.
    """

    resolution: int = 224
    crop: float = 1.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    shaping: Shaping = "crop"

    def __post_init__(self) -> None:
        if self.interpolation not in (known := get_args(Interpolation)):
            raise MisuseError(f"preprocessing: interpolation {self.interpolation!r} must be one of {', '.join(known)}.")
        if self.shaping not in (ways := get_args(Shaping)):
            raise MisuseError(f"preprocessing: shaping {self.shaping!r} must be one of {', '.join(ways)}.")
        if self.shaping == "stretch" and self.crop != 1.0:
            raise MisuseError(f"preprocessing: a stretched image is kept whole, got crop {self.crop}.")

    @staticmethod
    def default(resolution: int, channels: int = 3, *, shaping: Shaping = "crop") -> Preprocessing:
        """ImageNet's mean and std for RGB; 0.5 and 0.25 for any other number of channels."""
        if channels == 3:
            return Preprocessing(resolution, shaping=shaping)
        return Preprocessing(resolution, mean=(0.5,) * channels, std=(0.25,) * channels, shaping=shaping)

    @staticmethod
    def of(network: Network) -> Preprocessing:
        """A network's default: detectors and segmenters see whole images, stretched; classifiers the centre square."""
        shaping: Shaping = "crop" if network.task == "classify" else "stretch"
        return Preprocessing.default(network.resolution, network.in_channels, shaping=shaping)

    @property
    def channels(self) -> int:
        """Channels of the input: 1 (grey), 3 (RGB), or 4 (RGB and one more, such as near infrared)."""
        return len(self.mean)

    @property
    def short_side(self) -> int:
        """Short side after resizing, in pixels."""
        return round(self.resolution / self.crop)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: object) -> Preprocessing:
        """From plain JSON values.

        Raises:
            MisuseError: not an object, or unknown fields.
        """
        known = {f.name for f in fields(Preprocessing)}
        if not isinstance(values, dict):
            raise MisuseError(f"preprocessing: expected an object with {', '.join(sorted(known))}, got {values!r}.")
        if unknown := set(values) - known:
            raise MisuseError(f"preprocessing: unknown fields {sorted(unknown)}; known: {sorted(known)}.")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return Preprocessing(**plain)
