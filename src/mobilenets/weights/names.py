"""What other projects call the parts of our networks: a function per origin, from our node names to their prefixes.

Only names live here. A convolution's prefix holds its weight (and bias), a norm's its four arrays, a matrix product's
its weight and bias; which words those are is the origin's `Words`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mobilenets.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation
from mobilenets.table.rows import (
    Aspp,
    Bottleneck,
    BoxPredictor,
    Conv,
    DepthwiseSeparable,
    ExtraFeatures,
    Linear,
    Network,
    Padding,
    PlainConv,
)

Names = dict[str, str]
"""Our node's name -> their prefix."""

STAGES = {
    "mobilenet_v1": (1, 2, 2, 6, 2),
    "mobilenet_v2": (1, 2, 3, 4, 3, 3, 1),
    "mobilenet_v3_large": (1, 2, 3, 4, 2, 3),
    "mobilenet_v3_small": (1, 2, 3, 2, 3),
    "mobilenet_v3_large_minimalistic": (1, 2, 3, 4, 2, 3),
    "mobilenet_v3_small_minimalistic": (1, 2, 3, 2, 3),
}
"""timm numbers blocks by stage: how many each stage has."""


@dataclass(frozen=True, slots=True)
class Words:
    """What an origin appends to a prefix."""

    weight: str
    depthwise: str
    bias: str
    norm: tuple[str, str, str, str]


TORCH = Words(".weight", ".weight", ".bias", (".weight", ".bias", ".running_mean", ".running_var"))
TENSORFLOW = Words(
    "/weights",
    "/depthwise_weights",
    "/biases",
    ("/BatchNorm/gamma", "/BatchNorm/beta", "/BatchNorm/moving_mean", "/BatchNorm/moving_variance"),
)


def _unit(names: Names, row: int, part: str, conv: str, norm: str) -> None:
    names[f"row{row:02d}.{part}.conv"] = conv
    names[f"row{row:02d}.{part}.bn"] = norm


def timm(network: Network) -> Names:
    """Timm's MobileNets: `blocks.STAGE.BLOCK.conv_dw`."""
    names: Names = {}
    places = [(s, b) for s, blocks in enumerate(STAGES[network.name]) for b in range(blocks)]
    block = 0
    channels = network.in_channels
    for number, row in enumerate(network.rows, 1):
        at = "blocks.{}.{}".format(*places[block]) if block < len(places) else f"blocks.{len(STAGES[network.name])}.0"
        match row:
            case Conv() if number == 1:
                _unit(names, number, "conv", "conv_stem", "bn1")
            case Conv(norm=False):
                names[f"row{number:02d}.conv.conv"] = "conv_head"
            case Conv() if network.name == "mobilenet_v2":
                _unit(names, number, "conv", "conv_head", "bn2")
            case Conv():
                _unit(names, number, "conv", f"{at}.conv", f"{at}.bn1")
            case DepthwiseSeparable():
                _unit(names, number, "depthwise", f"{at}.conv_dw", f"{at}.bn1")
                _unit(names, number, "pointwise", f"{at}.conv_pw", f"{at}.bn2")
                block += 1
            case Bottleneck():
                expands = row.expand != channels
                if expands:
                    _unit(names, number, "expand", f"{at}.conv_pw", f"{at}.bn1")
                _unit(names, number, "depthwise", f"{at}.conv_dw", f"{at}.bn{1 + expands}")
                project = "conv_pwl" if expands else "conv_pw"
                _unit(names, number, "project", f"{at}.{project}", f"{at}.bn{2 + expands}")
                if row.se:
                    names[f"row{number:02d}.squeeze.conv"] = f"{at}.se.conv_reduce"
                    names[f"row{number:02d}.excite.conv"] = f"{at}.se.conv_expand"
                block += 1
            case Linear():
                names[f"row{number:02d}.linear"] = "classifier"
            case _:
                pass
        channels = getattr(row, "out", channels)
    return names


def torchvision(network: Network) -> Names:
    """Torchvision's MobileNetV2 and V3: `features.N.block.PART`."""
    names: Names = {}
    channels = network.in_channels
    v2 = network.name == "mobilenet_v2"
    for number, row in enumerate(network.rows, 1):
        at = f"features.{number - 1}"
        match row:
            case Conv(norm=False):
                names[f"row{number:02d}.conv.conv"] = "classifier.0"
            case Conv():
                _unit(names, number, "conv", f"{at}.0", f"{at}.1")
            case Bottleneck():
                parts = (["expand"] if row.expand != channels else []) + ["depthwise"]
                block = f"{at}.conv" if v2 else f"{at}.block"
                for i, part in enumerate(parts):
                    _unit(names, number, part, f"{block}.{i}.0", f"{block}.{i}.1")
                at_ = len(parts)
                if row.se:
                    names[f"row{number:02d}.squeeze.conv"] = f"{block}.{at_}.fc1"
                    names[f"row{number:02d}.excite.conv"] = f"{block}.{at_}.fc2"
                    at_ += 1
                if v2:
                    _unit(names, number, "project", f"{block}.{at_}", f"{block}.{at_ + 1}")
                else:
                    _unit(names, number, "project", f"{block}.{at_}.0", f"{block}.{at_}.1")
            case Linear():
                names[f"row{number:02d}.linear"] = "classifier.1" if v2 else "classifier.3"
            case _:
                pass
        channels = getattr(row, "out", channels)
    return names


def tensorflow(network: Network) -> Names:
    """TF-slim's variable scopes; detection and DeepLab files hold the same under a scope of their own.

    Heads have names outside it: those of ssd_mobilenet_v1 and of DeepLab without the pyramid.
    """
    name_of_backbone = network.backbone or network.name
    scope = "MobilenetV" + name_of_backbone.removeprefix("mobilenet_v")[0]
    names: Names = {}
    block = convs = extras = 0
    channels = network.in_channels

    def unit(row: int, part: str, prefix: str) -> None:
        _unit(names, row, part, f"{scope}/{prefix}", f"{scope}/{prefix}")

    for number, row in enumerate(network.rows, 1):
        match row:
            case Conv(norm=norm):
                name = "Conv2d_0" if name_of_backbone == "mobilenet_v1" else f"Conv_{convs}" if convs else "Conv"
                unit(number, "conv", name)
                if not norm:
                    del names[f"row{number:02d}.conv.bn"]
                convs += 1
            case DepthwiseSeparable():
                block += 1
                unit(number, "depthwise", f"Conv2d_{block}_depthwise")
                unit(number, "pointwise", f"Conv2d_{block}_pointwise")
            case Bottleneck():
                at = f"expanded_conv_{block}" if block else "expanded_conv"
                for part in (*(["expand"] if row.expand != channels else []), "depthwise", "project"):
                    unit(number, part, f"{at}/{part}")
                if row.se:
                    names[f"row{number:02d}.squeeze.conv"] = f"{scope}/{at}/squeeze_excite/Conv"
                    names[f"row{number:02d}.excite.conv"] = f"{scope}/{at}/squeeze_excite/Conv_1"
                block += 1
            case Linear():
                names[f"row{number:02d}.linear"] = f"{scope}/Logits/Conv2d_1c_1x1"
            case ExtraFeatures(out=out, lite=False):
                extras += 1
                at = f"FeatureExtractor/{scope}/Conv2d_{block}_pointwise"
                for i, (ours, size) in enumerate((("squeeze", f"1x1_{out // 2}"), ("expand", f"3x3_s2_{out}")), 1):
                    theirs = f"{at}_{i}_Conv2d_{extras + 1}_{size}"
                    _unit(names, number, ours, theirs, theirs)
            case BoxPredictor(lite=False):
                for i in range(len(row.anchors)):
                    for ours, theirs in (("boxes", "BoxEncodingPredictor"), ("classes", "ClassPredictor")):
                        names[f"row{number:02d}.{ours}{i + 1}.conv"] = f"BoxPredictor_{i}/{theirs}"
            case Aspp():
                for ours, theirs in (("conv", "aspp0"), ("image", "image_pooling"), ("project", "concat_projection")):
                    _unit(names, number, ours, theirs, theirs)
            case PlainConv() if number == network.classifier + 1:
                names[f"row{number:02d}.conv.conv"] = "logits/semantic"
            case _:
                pass
        channels = getattr(row, "out", channels)
    return names


def huggingface(network: Network) -> Names:
    """Transformers' MobileNetV1 and V2: `layer.N.convolution`, `layer.N.expand_1x1.convolution`."""
    v1 = network.name == "mobilenet_v1"
    scope = "mobilenet_v1" if v1 else "mobilenet_v2"
    names: Names = {}
    layer = 0

    def unit(row: int, part: str, prefix: str) -> None:
        _unit(names, row, part, f"{scope}.{prefix}.convolution", f"{scope}.{prefix}.normalization")

    for number, row in enumerate(network.rows, 1):
        match row:
            case Conv() if number == 1:
                unit(number, "conv", "conv_stem" if v1 else "conv_stem.first_conv")
            case Conv():
                unit(number, "conv", "conv_1x1")
            case DepthwiseSeparable():
                unit(number, "depthwise", f"layer.{layer}")
                unit(number, "pointwise", f"layer.{layer + 1}")
                layer += 2
            case Bottleneck() if number == 2:  # their stem holds the first block, which does not expand
                unit(number, "depthwise", "conv_stem.conv_3x3")
                unit(number, "project", "conv_stem.reduce_1x1")
            case Bottleneck():
                parts = (("expand", "expand_1x1"), ("depthwise", "conv_3x3"), ("project", "reduce_1x1"))
                for part, theirs in parts:
                    unit(number, part, f"layer.{layer}.{theirs}")
                layer += 1
            case Linear():
                names[f"row{number:02d}.linear"] = "classifier"
            case _:
                pass
    return names


@dataclass(frozen=True, slots=True)
class Conventions:
    """How weights want to be run: what their files mostly do not say.

    Attributes:
        padding: of the convolutions.
        bn_eps: epsilon of every batch norm.
        mean: per channel, of values in [0, 1].
        std: per channel, of values in [0, 1].
        crop: part of the resized short side that is kept.
        interpolation: of the resizing.
        align: a segmenter's upsampling puts corner pixels on corner pixels.
    """

    padding: Padding
    bn_eps: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float
    interpolation: Interpolation
    align: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where weights come from: names (those of `heads` too, where it says so), words, and what the names imply."""

    name: str
    names: Callable[[Network], Names]
    words: Words
    networks: tuple[str, ...]
    usual: Conventions
    heads: bool = False

    def conventions(self, network: Network) -> Conventions:
        """The usual ones; but torchvision gives MobileNetV2 PyTorch's own epsilon, V3 TensorFlow's."""
        if self.name == "torchvision" and network.name == "mobilenet_v2":
            return replace(self.usual, bn_eps=1e-5)
        return self.usual


_IMAGENET = IMAGENET_MEAN, IMAGENET_STD
_HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
_V3 = tuple(name for name in STAGES if "v3" in name)

ORIGINS: dict[str, Origin] = {
    origin.name: origin
    for origin in (
        Origin("timm", timm, TORCH, tuple(STAGES), Conventions("symmetric", 1e-5, *_IMAGENET, 0.875, "bicubic")),
        Origin(
            "torchvision", torchvision, TORCH, ("mobilenet_v2", *_V3),
            Conventions("symmetric", 1e-3, *_IMAGENET, 0.875, "bilinear"),
        ),
        # slim crops first and then resizes bilinearly without antialiasing; of what is known here bicubic comes
        # nearest: its V1 0.25 names 55.2 % of 500 photos bicubic, 53.4 % bilinear
        Origin(
            "tensorflow", tensorflow, TENSORFLOW, tuple(STAGES),
            Conventions("same", 1e-3, *_HALF, 0.875, "bicubic", align=True), heads=True,
        ),
        Origin(
            "huggingface", huggingface, TORCH, ("mobilenet_v1", "mobilenet_v2"),
            Conventions("same", 1e-3, *_HALF, 0.875, "bilinear"),
        ),
    )
}  # fmt: skip
"""Naming schemes by name."""
