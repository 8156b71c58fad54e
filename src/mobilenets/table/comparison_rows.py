"""Rows of the networks that MobileNets are compared with; `rows` names them too."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.table.acts import Act


@dataclass(frozen=True, slots=True)
class PlainConv:
    """Convolution with bias and explicit padding, without batch norm: AlexNet, VGG, SqueezeNet."""

    kernel: int
    out: int
    stride: int
    pad: int
    act: Act = Act.RELU


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Window maximum; `ceil` rounds the output size up, as Caffe's networks do."""

    kernel: int
    stride: int
    pad: int = 0
    ceil: bool = False


@dataclass(frozen=True, slots=True)
class AdaptivePool:
    """Average pooling to a fixed `size` x `size` output, which frees the fully connected layers from the resolution."""

    size: int


@dataclass(frozen=True, slots=True)
class Fire:
    """SqueezeNet's module: 1x1 squeeze, then 1x1 and 3x3 expansions side by side (arXiv 1602.07360, section 3.2)."""

    squeeze: int
    expand1: int
    expand3: int


@dataclass(frozen=True, slots=True)
class Inception:
    """GoogLeNet's module, the columns of its Table 1 (arXiv 1409.4842): four branches, concatenated."""

    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    proj: int


@dataclass(frozen=True, slots=True)
class XceptionBlock:
    """Separable convolutions around a residual (arXiv 1610.02357, Figure 5).

    `widths` are the outputs of the separable convolutions in order. With stride 2 a 3x3 max pooling closes the block
    and the shortcut is a strided 1x1 convolution with batch norm. `first_act` is the ReLU before the first one.
    """

    widths: tuple[int, ...]
    stride: int
    first_act: bool = True


@dataclass(frozen=True, slots=True)
class SeparableConv:
    """Xception's separable convolution: depthwise without norm or non-linearity, pointwise, batch norm, ReLU."""

    kernel: int
    out: int
