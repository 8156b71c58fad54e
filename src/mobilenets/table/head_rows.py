"""Rows of heads for boxes and masks; `rows` names them too."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.table.acts import Act


@dataclass(frozen=True, slots=True)
class ExtraFeatures:
    """SSD's extra feature layer: 1x1 convolution to half of `out`, strided 3x3 one to `out` (arXiv 1512.02325).

    With `lite` the second one is separable (SSDLite: V2, section 6.2). What enters the row stays a feature map.
    """

    out: int
    act: Act
    stride: int = 2
    lite: bool = False


@dataclass(frozen=True, slots=True)
class BoxPredictor:
    """SSD's prediction layers: on each feature map one convolution gives every anchor's box, another its classes.

    The feature maps are what enters a convolution that leaves stride `tap` or more, and what flows on. `out` counts
    classes, without a background: each has its own sigmoid. With `lite` the convolutions are separable (SSDLite).

    Attributes:
        anchors: how many a place has, map by map.
        smallest: scale of the first map's anchors, in percent of the image.
        largest: scale of the last map's.
    """

    kernel: int
    out: int
    anchors: tuple[int, ...]
    act: Act = Act.RELU6
    lite: bool = False
    tap: int = 16
    smallest: int = 20
    largest: int = 95


@dataclass(frozen=True, slots=True)
class Aspp:
    """Atrous spatial pyramid pooling (DeepLabv3, arXiv 1706.05587, section 3.3): parallel branches, projected.

    A 1x1 convolution, a 3x3 one of each rate, and the image's mean behind a 1x1 convolution. `rates` are those of
    output stride 16; they double at 8. Without rates it is V3's R-ASPP (arXiv 1905.02244, section 6.4).
    """

    out: int
    rates: tuple[int, ...]
    pooling: bool = True
    act: Act = Act.RELU


@dataclass(frozen=True, slots=True)
class LiteAspp:
    """LR-ASPP (V3, section 6.4, Figure 10): gated features, upsampled, classified and added to those of stride `tap`.

    The gate is the sigmoid of a 1x1 convolution over the image's mean: the paper pools windows of 49x49 pixels with
    stride 16 x 20, which fits one resolution only. `out` counts classes.
    """

    filters: int
    out: int
    tap: int = 8


@dataclass(frozen=True, slots=True)
class Upsample:
    """Bilinear upsampling to the image's height and width; `align` as TF's DeepLab: corner pixels on corner pixels."""

    align: bool = False
