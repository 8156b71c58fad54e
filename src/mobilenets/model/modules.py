"""What runs one node: a module where it holds weights, a plain function where it holds none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilenets.model.synced import SyncedNorm
from mobilenets.table.nodes import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Convolution,
    DynamicRelu,
    Flatten,
    FullyConnected,
    GlobalPool,
    LayerNorm,
    MatrixProduct,
    MergeHeads,
    Multiply,
    Node,
    Parameter,
    PerAnchor,
    Resize,
    Scale,
    Select,
    Shuffle,
    Softmax,
    SplitHeads,
    WindowPool,
)
from mobilenets.table.rows import Act


def runner(node: Node, *, in_place: bool) -> Callable[..., Tensor]:
    """What runs a node; with `in_place` an activation may write over its input."""
    match node:
        case Convolution():
            return _conv2d(node)
        case BatchNorm():
            return SyncedNorm(node.shape[0], eps=node.eps, momentum=node.momentum)
        case Activation():
            return activation(node.function, in_place)
        case GlobalPool():
            return _global_pool
        case WindowPool():
            return _WindowPool(node)
        case Flatten():
            return _flatten
        case FullyConnected():
            return DroppingLinear(node.in_features, node.shape[-1])
        case Multiply():
            return torch.mul
        case Add():
            return torch.add if len(node.inputs) == 2 else _sum
        case Concat():
            return _concat
        case Scale():
            return _Scale(node.shape[0], node.initial)
        case Shuffle():
            return functools.partial(F.channel_shuffle, groups=node.groups)
        case DynamicRelu():
            return _dynamic_relu
        case Parameter():
            return _Parameter(node.shape)
        case LayerNorm():
            return nn.LayerNorm(node.shape[-1], eps=node.eps)
        case Select():
            return functools.partial(torch.select, dim=1, index=node.token)
        case SplitHeads():
            return functools.partial(_split_heads, heads=node.shape[0])
        case MergeHeads():
            return _merge_to_map if len(node.shape) == 3 else _merge_to_tokens
        case MatrixProduct():
            return functools.partial(_matrix_product, first=node.transposed == "first", factor=node.factor)
        case Softmax():
            return functools.partial(torch.softmax, dim=-1)
        case Resize():
            return functools.partial(_resize, align=node.align)
        case PerAnchor():
            return functools.partial(_per_anchor, values=node.shape[1])
        case _:
            assert_never(node)


class _PaddedConv2d(nn.Conv2d):
    """Convolution whose padding differs between the sides, as TensorFlow's `same` does on even sizes."""

    def __init__(self, *args: Any, pads: tuple[int, int, int, int], **options: Any) -> None:
        super().__init__(*args, **options)
        top, left, bottom, right = pads
        self.sides = (left, right, top, bottom)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.sides))


class _PickingConv2d(nn.Conv2d):
    """1x1 convolution that picks the pixels its stride leaves, then convolves all of them."""

    def forward(self, x: Tensor) -> Tensor:
        down, across = self.stride
        return F.conv2d(x[:, :, ::down, ::across], self.weight, self.bias, groups=self.groups)


_BLOCK = 16
"""Channels of a block of oneDNN's kernels, at most: 8 with AVX2, 16 with AVX-512."""


def _conv2d(node: Convolution) -> nn.Conv2d:
    top, left, bottom, right = node.pads
    options: dict[str, Any] = {
        "stride": node.stride,
        "dilation": node.dilation,
        "groups": node.groups,
        "bias": node.bias,
    }
    if node.kernel == 1 and node.stride > 1 and node.in_channels < _BLOCK and not any(node.pads):
        # with fewer channels than a block, oneDNN's gradient of its weights writes past a buffer (oneDNN issue 6035)
        return _PickingConv2d(node.in_channels, node.shape[0], node.kernel, **options)
    if (top, left) == (bottom, right):
        return nn.Conv2d(node.in_channels, node.shape[0], node.kernel, padding=(top, left), **options)
    return _PaddedConv2d(node.in_channels, node.shape[0], node.kernel, pads=node.pads, **options)


class DroppingLinear(nn.Linear):
    """Fully connected layer that drops inputs at a rate while training: the classifier's is its model's `dropout`."""

    dropout = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """The product (..., out_features) of (..., in_features)."""
        if self.training and self.dropout:
            x = F.dropout(x, self.dropout)
        return super().forward(x)


class Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *values: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(*values)


class _Scale(nn.Module):
    def __init__(self, channels: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(-1, 1, 1)


class _Parameter(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))

    def forward(self) -> Tensor:
        return self.weight[None]


class _WindowPool(nn.Module):
    def __init__(self, node: WindowPool) -> None:
        super().__init__()
        self.node = node

    def forward(self, x: Tensor) -> Tensor:
        node = self.node
        top, left, bottom, right = node.pads
        if node.mode == "mean":
            return F.avg_pool2d(x, node.kernel, node.stride, (top, left), node.ceil, count_include_pad=False)
        if (top, left) != (bottom, right):
            x = F.pad(x, (left, right, top, bottom), value=float("-inf"))
            return F.max_pool2d(x, node.kernel, node.stride)
        return F.max_pool2d(x, node.kernel, node.stride, (top, left), ceil_mode=node.ceil)


def activation(function: Act, in_place: bool) -> Callable[..., Tensor]:
    """A non-linearity, writing over its input where that is allowed and known."""
    match function:
        case Act.RELU:
            return torch.relu_ if in_place else torch.relu
        case Act.RELU6:
            return _relu6_ if in_place else F.relu6
        case Act.HSWISH:
            return _hardswish_ if in_place else F.hardswish
        case Act.HSIGMOID:
            return F.hardsigmoid
        case Act.SIGMOID:
            return torch.sigmoid
        case Act.GELU:
            return F.gelu
        case Act.NONE:
            return torch.clone
        case _:
            assert_never(function)


def _relu6_(x: Tensor) -> Tensor:
    return F.relu6(x, inplace=True)


def _hardswish_(x: Tensor) -> Tensor:
    return F.hardswish(x, inplace=True)


def _global_pool(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


def _concat(*values: Tensor) -> Tensor:
    return torch.cat(values, 1)


def _sum(*values: Tensor) -> Tensor:
    return functools.reduce(torch.add, values)


def _dynamic_relu(x: Tensor, gate: Tensor) -> Tensor:
    first, second = (2 * gate)[:, :, None, None].chunk(2, dim=1)
    return torch.maximum(x * first, x * (second - 1))


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """(n, c, h, w) or tokens (n, t, c) to (n, heads, c / heads, length)."""
    x = x.flatten(2) if x.ndim == 4 else x.transpose(1, 2)
    return x.view(x.shape[0], heads, x.shape[1] // heads, x.shape[2])


def _merge_to_map(x: Tensor, like: Tensor) -> Tensor:
    x = x.flatten(1, 2)
    return x.view(*x.shape[:2], *like.shape[2:])


def _merge_to_tokens(x: Tensor) -> Tensor:
    return x.flatten(1, 2).transpose(1, 2)


def _matrix_product(a: Tensor, b: Tensor, first: bool, factor: float) -> Tensor:
    product = a.transpose(-1, -2) @ b if first else a @ b.transpose(-1, -2)
    return product if factor == 1 else product * factor


def _resize(x: Tensor, like: Tensor, align: bool) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=align)


def _per_anchor(x: Tensor, values: int) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)  # n c h w to n h w c
