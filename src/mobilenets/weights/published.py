"""The best known published ImageNet weights of a network, by name and width: facts, no code."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation
from mobilenets.table.rows import Network, Padding
from mobilenets.weights.names import Conventions

_HALF = (0.5, 0.5, 0.5)
_TIMM = "timm's default_cfgs and results-imagenet.csv"
_SLIM = "TF-slim's README (top-1); the repository's preprocessor_config.json"


@dataclass(frozen=True, slots=True)
class Published:
    """Weights that anyone can download.

    Attributes:
        network: name in the index.
        width: width multiplier.
        repo: on the Hugging Face hub.
        file: in the repository, safetensors.
        origin: whose names the arrays have.
        source: where the facts of this line are from.
        licence: as the repository states it.
        recipe: how they were trained, in a word or two.
        top1: ImageNet validation, percent, at `resolution` and `crop`.
        resolution: in pixels.
        crop: part of the resized short side that is kept.
        interpolation: of the resizing.
        mean: per channel.
        std: per channel.
        padding: of the convolutions.
        bn_eps: epsilon of batch norm.
        revision: branch, tag or pull request that holds the file.
    """

    network: str
    width: float
    repo: str
    file: str
    origin: str
    source: str
    licence: str
    recipe: str
    top1: float
    resolution: int
    crop: float
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: Padding
    bn_eps: float
    revision: str = "main"

    @property
    def conventions(self) -> Conventions:
        """How they want to be run."""
        return Conventions(self.padding, self.bn_eps, self.mean, self.std, self.crop, self.interpolation)

    @property
    def address(self) -> str:
        """The same as a `--weights` argument."""
        return f"hf://{self.repo}{'' if self.revision == 'main' else '@' + self.revision}/{self.file}"


def _timm(
    network: str, width: float, repo: str, recipe: str, top1: float,
    mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD,
    *, crop: float = 0.875, interpolation: Interpolation = "bicubic", padding: Padding = "symmetric", eps: float = 1e-5,
) -> Published:  # fmt: skip
    return Published(
        network, width, f"timm/{repo}", "model.safetensors", "timm", _TIMM, "apache-2.0", recipe, top1, 224, crop,
        interpolation, mean, std, padding, eps,
    )  # fmt: skip


def _ported(network: str, width: float, repo: str, top1: float) -> Published:
    """The authors' own weights under timm's names: TensorFlow's padding and epsilon stay."""
    return _timm(
        network, width, f"{repo}.in1k", "the authors'", top1, _HALF, _HALF, interpolation="bilinear", padding="same",
        eps=1e-3,
    )  # fmt: skip


def _google(network: str, width: float, resolution: int, short_side: int, revision: str, top1: float) -> Published:
    """The authors' own weights under transformers' names."""
    repo = f"google/{network}_{width}_{resolution}"
    return Published(
        network, width, repo, "model.safetensors", "huggingface", _SLIM, "other", "the authors'", top1, resolution,
        resolution / short_side, "bilinear", _HALF, _HALF, "same", 1e-3, revision,
    )  # fmt: skip


_RA4 = "RandAugment, 3600 epochs"
_RA = "RandAugment"

PUBLISHED: tuple[Published, ...] = (
    # the safetensors of two of google's repositories wait in pull requests of the hub's converter
    _google("mobilenet_v1", 0.75, 192, 224, "refs/pr/4", 67.2),
    _timm("mobilenet_v1", 1.0, "mobilenetv1_100.ra4_e3600_r224_in1k", _RA4, 75.388, _HALF, _HALF),
    _timm("mobilenet_v1", 1.25, "mobilenetv1_125.ra4_e3600_r224_in1k", _RA4, 76.92, _HALF, _HALF, crop=0.9),
    _timm("mobilenet_v2", 0.5, "mobilenetv2_050.lamb_in1k", "LAMB", 65.928),
    _google("mobilenet_v2", 0.75, 160, 192, "refs/pr/3", 66.4),
    _timm("mobilenet_v2", 1.0, "mobilenetv2_100.ra_in1k", _RA, 72.91),
    _timm("mobilenet_v2", 1.4, "mobilenetv2_140.ra_in1k", _RA, 76.528),
    _timm("mobilenet_v3_small", 0.5, "mobilenetv3_small_050.lamb_in1k", "LAMB", 57.918),
    _timm("mobilenet_v3_small", 0.75, "mobilenetv3_small_075.lamb_in1k", "LAMB", 65.284),
    _timm("mobilenet_v3_small", 1.0, "mobilenetv3_small_100.lamb_in1k", "LAMB", 67.636),
    _ported("mobilenet_v3_large", 0.75, "tf_mobilenetv3_large_075", 73.442),
    _timm("mobilenet_v3_large", 1.0, "mobilenetv3_large_100.ra_in1k", _RA, 75.784),
    _ported("mobilenet_v3_large_minimalistic", 1.0, "tf_mobilenetv3_large_minimal_100", 72.27),
    _ported("mobilenet_v3_small_minimalistic", 1.0, "tf_mobilenetv3_small_minimal_100", 62.892),
)
"""By network and width, narrow first. Of several published ones the best that needs no other padding than our own."""


def published_for(network: Network) -> Published | None:
    """The weights of a network at its width, else at the next wider one; None where there are none.

    Of a detector or a segmenter, those of its backbone.
    """
    name = network.backbone or network.name
    wide = [p for p in PUBLISHED if p.network == name and p.width >= network.width]
    return min(wide, key=lambda p: p.width, default=None)
