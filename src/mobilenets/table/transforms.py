"""Readers of rows that give rows back: width, resolution, minimalistic, output stride, reduced tail."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate
from operator import mul
from typing import assert_never

from mobilenets.errors import MisuseError
from mobilenets.table.graph import round_channels
from mobilenets.table.rows import (
    Act,
    AdaptivePool,
    Aspp,
    Bottleneck,
    BoxPredictor,
    BranchedConv,
    Conv,
    DenseBlock,
    DepthwiseSeparable,
    ExtraFeatures,
    Fire,
    FusedBottleneck,
    HeadRow,
    Inception,
    JoinToken,
    Linear,
    LiteAspp,
    LiteBottleneck,
    MaxPool,
    MobileFormer,
    MobileOneBlock,
    MobileToFormer,
    MultiQueryAttention,
    Network,
    PlainConv,
    Pool,
    Row,
    SeparableConv,
    Tokens,
    UniversalBottleneck,
    Upsample,
    XceptionBlock,
)


def scale(network: Network, width: float = 1.0, resolution: int | None = None) -> Network:
    """Scale a network by the width multiplier (V1, section 3.3) and the input resolution (section 3.4).

    Channels become `round_channels(channels * width)`; expansions keep their *ratio* to their input (those of
    bottlenecks, and V3's last convolution before the pooling); the classifier never changes, nor do attention's heads,
    keys and tokens; where the paper or its code says so the last convolution keeps its width (V4, MnasNet; V2 and V3
    below 1.0), or the first (V4 below 1.0).

    Args:
        network: the network to scale; widths multiply when scaled twice.
        width: width multiplier, above 0.
        resolution: height and width of the input, in pixels; None keeps it.

    Raises:
        MisuseError: a width or resolution that is not positive.
    """
    if not 0 < width <= 16:
        raise MisuseError(f"`width` (={width}) must be above 0 and at most 16, such as 0.5.")
    if resolution is not None and not 1 <= resolution <= 4096:
        raise MisuseError(f"`resolution` (={resolution}) must be between 1 and 4096 pixels, such as 192.")
    resolution = network.resolution if resolution is None else resolution
    if width == 1.0:
        return network if resolution == network.resolution else replace(network, resolution=resolution)
    rows = _scaled_rows(network, width)
    return replace(network, rows=rows, width=round(network.width * width, 6), resolution=resolution)


def _scaled_rows(network: Network, width: float) -> tuple[Row, ...]:
    classifier = network.classifier
    convs = [i for i in range(classifier) if isinstance(network.rows[i], Conv)]
    narrow = width < 1.0
    kept = {classifier}
    if convs and (network.head == "full" or (network.head == "full when narrow" and narrow)):
        kept.add(convs[-1])
    if convs and network.full_stem and narrow:
        kept.add(convs[0])
    expansion = _before_pooling(network, convs) if network.expansion_head else None
    rows: list[Row] = []
    before = after = network.in_channels
    for i, row in enumerate(network.rows):
        if i in kept:
            new = row
        elif i == expansion and isinstance(row, Conv):
            # an expansion: V3-Small at 0.35 has 6 x 32 = 192, not 576 x 0.35 = 200
            new = replace(row, out=round_channels(after * row.out / before, network.divisor))
        else:
            new = _scaled_row(row, width, network.divisor, before, after)
        rows.append(new)
        before, after = _out(row, before), _out(new, after)
    return tuple(rows)


def _before_pooling(network: Network, convs: list[int]) -> int | None:
    """Index of the last convolution before the global pooling."""
    pool = next((i for i, row in enumerate(network.rows) if isinstance(row, Pool)), network.classifier)
    return max((i for i in convs if i < pool), default=None)


def _scaled_row(row: Row, width: float, divisor: int, before: int, after: int) -> Row:
    """One row scaled; `before` and `after` are its input channels in the old and the new network."""

    def wide(channels: int) -> int:
        return round_channels(channels * width, divisor)

    def ratio(expand: int) -> int:
        return round_channels(after * expand / before, divisor)

    match row:
        case Conv():
            out = wide(row.out)
            return replace(row, out=out, groups=math.gcd(row.groups, after, out))
        case Bottleneck(kernel, expand, out, se, act, stride, skip):
            return Bottleneck(kernel, ratio(expand), wide(out), se, act, stride, skip)
        case UniversalBottleneck(start, middle, expand, out, act, stride):
            return UniversalBottleneck(start, middle, ratio(expand), wide(out), act, stride)
        case DepthwiseSeparable(kernel, out, act, stride):
            return DepthwiseSeparable(kernel, wide(out), act, stride)
        case FusedBottleneck():
            expand = ratio(row.expand)
            groups = math.gcd(row.groups, after, expand)
            return replace(row, expand=expand, out=wide(row.out), groups=groups)
        case (
            Linear() | PlainConv() | SeparableConv() | MultiQueryAttention() | BranchedConv() | MobileOneBlock()
            | ExtraFeatures()
        ):  # fmt: skip
            return replace(row, out=wide(row.out))
        case DenseBlock():
            return replace(row, growth=wide(row.growth))
        case LiteBottleneck():
            out, expand = wide(row.out), after * (row.expand // before)
            return replace(row, expand=expand, out=out, groups=math.gcd(row.groups, expand, out))
        case MobileFormer():
            out = wide(row.out)
            if row.expand2 is None:
                expand, expand2 = ratio(row.expand), None
            else:
                expand, expand2 = after * (row.expand // before), out * (row.expand2 // row.out)
            groups = math.gcd(row.groups, after, expand, out)
            return replace(row, expand=expand, out=out, expand2=expand2, groups=groups)
        case (
            Pool() | MaxPool() | AdaptivePool() | Tokens() | MobileToFormer() | JoinToken() | BoxPredictor() | Aspp()
            | LiteAspp() | Upsample()
        ):  # fmt: skip
            return row
        case Fire():
            return Fire(wide(row.squeeze), wide(row.expand1), wide(row.expand3))
        case Inception():
            return Inception(
                wide(row.conv1), wide(row.reduce3), wide(row.conv3), wide(row.reduce5), wide(row.conv5), wide(row.proj)
            )
        case XceptionBlock():
            return replace(row, widths=tuple(wide(w) for w in row.widths))
        case _:
            assert_never(row)


def _out(row: Row, channels: int) -> int:
    """Output channels of a row whose input has `channels`."""
    match row:
        case DenseBlock():
            return channels + row.layers * row.growth
        # the joined token is no channel of the map: only Linear follows, which asks for none
        case Pool() | MaxPool() | AdaptivePool() | Tokens() | MobileToFormer() | JoinToken() | Upsample():
            return channels
        case Fire():
            return row.expand1 + row.expand3
        case Inception():
            return row.conv1 + row.conv3 + row.conv5 + row.proj
        case XceptionBlock():
            return row.widths[-1]
        case _:
            return row.out


def minimalistic(network: Network) -> Network:
    """The same table without squeeze-and-excite, hard swish and 5x5 kernels (TF-slim's minimalistic MobileNetV3).

    For processors and quantizers on which those three are slow or lossy.
    """
    suffix = "_minimalistic"
    name = network.name if network.name.endswith(suffix) else network.name + suffix
    return replace(network, name=name, rows=tuple(_plain(row) for row in network.rows))


def _plain(row: Row) -> Row:
    match row:
        case Bottleneck():
            return replace(row, kernel=min(row.kernel, 3), se=False, act=_relu_for_hswish(row.act))
        case MobileOneBlock():
            return replace(row, se=False, act=_relu_for_hswish(row.act))
        case UniversalBottleneck():
            start = None if row.start is None else min(row.start, 3)
            middle = None if row.middle is None else min(row.middle, 3)
            return replace(row, start=start, middle=middle, act=_relu_for_hswish(row.act))
        case (
            Conv()
            | DepthwiseSeparable()
            | FusedBottleneck()
            | LiteBottleneck()
            | BranchedConv()
            | DenseBlock()
            | Pool()
            | Linear()
            | PlainConv()
            | ExtraFeatures()
            | BoxPredictor()
            | Aspp()
        ):
            return replace(row, act=_relu_for_hswish(row.act))
        case (
            MultiQueryAttention() | Tokens() | MobileFormer() | MobileToFormer() | JoinToken() | MaxPool()
            | AdaptivePool() | Fire() | Inception() | XceptionBlock() | SeparableConv() | LiteAspp() | Upsample()
        ):  # fmt: skip
            return row
        case _:
            assert_never(row)


def _relu_for_hswish(act: Act) -> Act:
    return Act.RELU if act in (Act.HSWISH, Act.GELU) else act


def dilate(network: Network, output_stride: int) -> Network:
    """Cap the total stride: later strides become dilation, for dense prediction (DeepLabv3; V2, section 6.3).

    Raises:
        MisuseError: `output_stride` is not a power of two.
    """
    if output_stride < 1 or output_stride & (output_stride - 1):
        raise MisuseError(f"`output_stride` (={output_stride}) must be a power of two, such as 8 or 16.")
    return replace(network, output_stride=output_stride)


def reduce_tail(network: Network, factor: int = 2) -> Network:
    """Divide the channels between C4 and C5 by `factor`, for detection heads (V3, section 6.3).

    The backbone's row that makes the last stride keeps its expansion, which is C4; its output and every later row (but
    the classifier and other rows of a head) shrink.

    Raises:
        MisuseError: the network has no strided row.
    """
    backbone = [i for i, row in enumerate(network.rows) if not isinstance(row, HeadRow)]
    strided = [i for i in backbone if getattr(network.rows[i], "stride", 1) > 1]
    if not strided:
        raise MisuseError(f"network {network.name!r} has no strided row, so no stage between C4 and C5 to reduce.")
    rows: list[Row] = []
    before = after = network.in_channels
    for i, row in enumerate(network.rows):
        kept = i < strided[-1] or i == network.classifier or isinstance(row, HeadRow)
        # with the same input as before, the expansion of the row that strides stays too
        new = row if kept else _scaled_row(row, 1 / factor, network.divisor, before, after)
        rows.append(new)
        before, after = _out(row, before), _out(new, after)
    return replace(network, rows=tuple(rows))


def feature_strides(network: Network) -> tuple[int, ...]:
    """Total strides that the rows reach, ascending: at each a head finds a feature map.

    Without lowering: a search asks for thousands of networks.
    """
    return tuple(sorted(set(accumulate((getattr(row, "stride", 1) for row in network.rows), mul))))


def features(network: Network, *, blocks: bool = False) -> Network:
    """The rows before the global pooling, which heads for boxes and masks follow; with `blocks` up to the last block.

    All of them scale: no classifier keeps a last convolution wide. Rows of tokens that only a classifier reads go too.
    """
    ends = (i for i, row in enumerate(network.rows) if isinstance(row, Pool | AdaptivePool | Linear | HeadRow))
    end = min(next(ends, network.classifier), network.classifier)
    rows = [row for row in network.rows[:end] if not isinstance(row, MobileToFormer)]
    while blocks and isinstance(rows[-1], Conv) and rows[-1].kernel == 1:
        rows.pop()
    return replace(network, rows=tuple(rows), head="scaled")
