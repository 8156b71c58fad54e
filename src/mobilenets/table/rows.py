"""Rows: what a paper prints. A `Network` is a printed table plus what the print leaves out.

A row holds the columns of its table and nothing else, integers only: no input channels, no width multiplier, no
dilation, no dropout, no repeats. What an operator is made of is known by `lower` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mobilenets.errors import MisuseError
from mobilenets.table.acts import Act
from mobilenets.table.comparison_rows import (
    AdaptivePool,
    Fire,
    Inception,
    MaxPool,
    PlainConv,
    SeparableConv,
    XceptionBlock,
)
from mobilenets.table.head_rows import Aspp, BoxPredictor, ExtraFeatures, LiteAspp, Upsample


@dataclass(frozen=True, slots=True)
class Conv:
    """Standard convolution, batch norm, non-linearity. `norm=False` is the papers' NBN: a bias instead.

    Before a grouped one the channels are shuffled, so that groups mix (Mobile-Former-26M; arXiv 1707.01083).
    """

    kernel: int
    out: int
    act: Act
    stride: int = 1
    norm: bool = True
    groups: int = 1


@dataclass(frozen=True, slots=True)
class DepthwiseSeparable:
    """Depthwise then pointwise convolution, each with batch norm and non-linearity (V1, section 3.1)."""

    kernel: int
    out: int
    act: Act
    stride: int = 1


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """Inverted residual with linear bottleneck (V2, section 3.3), optional squeeze-and-excite (V3, section 5.3).

    `expand` is in channels; where it equals the input's channels there is no expansion convolution. The residual is
    added where stride is 1, input and output have the same channels, and `skip` allows it.
    """

    kernel: int
    expand: int
    out: int
    se: bool
    act: Act
    stride: int = 1
    skip: bool = True


@dataclass(frozen=True, slots=True)
class FusedBottleneck:
    """Bottleneck whose expansion is a full convolution: no depthwise one (MobileNetEdgeTPU; V4, FusedIB).

    `groups` split that convolution; the projection is linear, the residual as in `Bottleneck`.
    """

    kernel: int
    expand: int
    out: int
    act: Act
    stride: int = 1
    groups: int = 1
    skip: bool = True


@dataclass(frozen=True, slots=True)
class UniversalBottleneck:
    """Universal inverted bottleneck (V4, section 4.1): bottleneck with two optional depthwise convolutions.

    `start` and `middle` are their kernels; None leaves one out. Both: ExtraDW; middle: inverted bottleneck; start:
    ConvNext-like; none: feed-forward. The stride sits on the middle one where there is one.
    """

    start: int | None
    middle: int | None
    expand: int
    out: int
    act: Act
    stride: int = 1


@dataclass(frozen=True, slots=True)
class MultiQueryAttention:
    """Mobile multi-query attention (V4, section 4.2): every head has its query, all share one key and value.

    `key` is the size of query, key and value; `kv_stride` shrinks key and value by a strided depthwise convolution.
    """

    heads: int
    key: int
    out: int
    kv_stride: int = 1


@dataclass(frozen=True, slots=True)
class BranchedConv:
    """MobileOne's convolution (arXiv 2206.04040, section 3.2): `branches` parallel ones in training, one deployed.

    A 1x1 branch (for larger kernels) and, where the shape stays, a batch norm of the input stand beside them.
    """

    kernel: int
    out: int
    act: Act
    stride: int = 1
    branches: int = 1


@dataclass(frozen=True, slots=True)
class MobileOneBlock:
    """Depthwise, then pointwise convolution, each branched like `BranchedConv` (arXiv 2206.04040, Table 2)."""

    kernel: int
    out: int
    act: Act
    stride: int = 1
    branches: int = 1
    se: bool = False


@dataclass(frozen=True, slots=True)
class DenseBlock:
    """Dense-MobileNet's block: `layers` separable convolutions, each reading all outputs before it.

    Each adds `growth` channels; the output is the input and all of them, concatenated.
    """

    kernel: int
    growth: int
    layers: int
    act: Act


@dataclass(frozen=True, slots=True)
class Tokens:
    """Mobile-Former's global tokens (arXiv 2108.05895, section 3.1): `count` learned vectors, the second stream."""

    count: int
    dim: int


@dataclass(frozen=True, slots=True)
class LiteBottleneck:
    """Mobile-Former's lite bottleneck (section 3.1): a depthwise convolution that expands, a linear pointwise one."""

    kernel: int
    expand: int
    out: int
    act: Act
    stride: int = 1
    groups: int = 1


@dataclass(frozen=True, slots=True)
class MobileFormer:
    """Mobile-Former block (arXiv 2108.05895, section 3.2): bottleneck, Former, and the bridges both ways.

    With `expand2` it is the down-sampling block: a strided lite bottleneck and a second one of that expansion. `groups`
    split the pointwise convolutions, with channels shuffled between them.
    """

    kernel: int
    expand: int
    out: int
    stride: int = 1
    expand2: int | None = None
    groups: int = 1


@dataclass(frozen=True, slots=True)
class MobileToFormer:
    """Mobile-Former's last bridge: the tokens read the feature map once more; the map flows on unchanged."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """Mobile-Former's head: the first token is appended to the pooled features."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Global average pooling to 1 x 1."""

    act: Act = Act.NONE


@dataclass(frozen=True, slots=True)
class Linear:
    """Fully connected layer with bias; the last one is the classifier and never changes with width."""

    out: int
    act: Act = Act.NONE
    norm: bool = False


Row = (
    Conv
    | DepthwiseSeparable
    | Bottleneck
    | UniversalBottleneck
    | FusedBottleneck
    | MultiQueryAttention
    | BranchedConv
    | MobileOneBlock
    | DenseBlock
    | Tokens
    | LiteBottleneck
    | MobileFormer
    | MobileToFormer
    | JoinToken
    | Pool
    | Linear
    | PlainConv
    | MaxPool
    | AdaptivePool
    | Fire
    | Inception
    | XceptionBlock
    | SeparableConv
    | ExtraFeatures
    | BoxPredictor
    | Aspp
    | LiteAspp
    | Upsample
)

HeadRow = ExtraFeatures | BoxPredictor | Aspp | LiteAspp | Upsample
"""Rows of detection and segmentation heads: the rows before the first of them are the backbone's."""

Classifier = Linear | PlainConv | BoxPredictor | LiteAspp
"""Rows that can be the classifier; `out` is its number of classes."""

Padding = Literal["symmetric", "same", "valid"]


@dataclass(frozen=True, slots=True)
class Network:
    """A printed table and what the print leaves out.

    Attributes:
        name: index name; transforms keep it and record what they did in `width`, `resolution`, `output_stride`.
        paper: where the table is printed.
        rows: the table.
        resolution: height and width of the input image, in pixels.
        width: width multiplier that the rows already carry.
        in_channels: channels of the input image.
        divisor: channels are rounded to a multiple of it when scaled.
        head: how the last convolution before the classifier follows the width: `scaled`, `full when narrow` (it keeps
            its printed width below 1.0), or always `full`.
        full_stem: the first convolution keeps its printed width below 1.0.
        expansion_head: the last convolution before the pooling is an expansion, which keeps its ratio to its input.
        padding: `symmetric` pads (k - 1) / 2 on both sides; `same` is TensorFlow's (odd pixel at the bottom right);
            `valid` none.
        bn_eps: epsilon of every batch norm.
        bn_momentum: weight of the newest batch in the running statistics (PyTorch's sense; the papers' 1 - decay).
        gate: non-linearity of the squeeze-and-excite gate.
        squeeze: what squeeze-and-excite keeps a quarter of: the block's `expansion`, in steps of 8 (V3), or its `input`
            (MnasNet, EfficientNet).
        layer_scale: universal bottlenecks and attention end in a learned factor per channel (V4's hybrids).
        output_stride: the largest total stride; later strides turn into dilation (None: as printed).
        errata: where the print is wrong, and what is built instead.
        backbone: index name of the network whose rows come first, where a head for boxes or masks follows them.
    """

    name: str
    paper: str
    rows: tuple[Row, ...]
    resolution: int = 224
    width: float = 1.0
    in_channels: int = 3
    divisor: int = 8
    head: Literal["scaled", "full when narrow", "full"] = "scaled"
    full_stem: bool = False
    expansion_head: bool = False
    padding: Padding = "symmetric"
    bn_eps: float = 1e-3
    bn_momentum: float = 0.01
    gate: Act = Act.HSIGMOID
    squeeze: Literal["expansion", "input"] = "expansion"
    layer_scale: bool = False
    output_stride: int | None = None
    errata: str = ""
    backbone: str = ""

    @property
    def task(self) -> Literal["classify", "detect", "segment"]:
        """What the last row answers: classes of the image, boxes, or classes of every pixel."""
        match self.rows[-1]:
            case BoxPredictor():
                return "detect"
            case Upsample():
                return "segment"
            case _:
                return "classify"

    @property
    def classes(self) -> int:
        """Outputs of the classifier."""
        row = self.rows[self.classifier]
        assert isinstance(row, Classifier)
        return row.out

    @property
    def classifier(self) -> int:
        """Index of the classifier's row."""
        for i in range(len(self.rows) - 1, -1, -1):
            if isinstance(self.rows[i], Classifier):
                return i
        raise MisuseError(f"network {self.name!r} has no classifier row: end its rows with Linear(classes).")

    @property
    def label(self) -> str:
        """Short name with width, resolution and output stride: `mobilenet_v3_large 0.75 @192`."""
        stride = "" if self.output_stride is None else f" os{self.output_stride}"
        return f"{self.name} {self.width:g} @{self.resolution}{stride}"


def with_classes(network: Network, classes: int) -> Network:
    """The same network with another number of outputs."""
    if classes < 1:
        raise MisuseError(f"`classes` (={classes}) must be at least 1.")
    at = network.classifier
    row = network.rows[at]
    assert isinstance(row, Classifier)
    rows = (*network.rows[:at], replace(row, out=classes), *network.rows[at + 1 :])
    return replace(network, rows=rows)


__all__ = [
    "Act", "AdaptivePool", "Aspp", "Bottleneck", "BoxPredictor", "BranchedConv", "Classifier", "Conv", "DenseBlock",
    "DepthwiseSeparable", "ExtraFeatures", "Fire", "FusedBottleneck", "HeadRow", "Inception", "JoinToken", "Linear",
    "LiteAspp", "LiteBottleneck", "MaxPool", "MobileFormer", "MobileOneBlock", "MobileToFormer",
    "MultiQueryAttention", "Network", "Padding", "PlainConv", "Pool", "Row", "SeparableConv", "Tokens",
    "UniversalBottleneck", "Upsample", "XceptionBlock", "with_classes",
]  # fmt: skip
