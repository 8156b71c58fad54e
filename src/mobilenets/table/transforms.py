"""Readers of rows that give rows back: width, resolution, minimalistic, output stride, reduced tail."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from mobilenets.errors import MisuseError
from mobilenets.table.lower import round_channels
from mobilenets.table.rows import (
    Act,
    AdaptivePool,
    Bottleneck,
    Conv,
    DepthwiseSeparable,
    Fire,
    Inception,
    Linear,
    MaxPool,
    Network,
    PlainConv,
    Pool,
    Row,
    SeparableConv,
    XceptionBlock,
)


def scale(network: Network, width: float = 1.0, resolution: int | None = None) -> Network:
    """Scale a network by the width multiplier (V1, section 3.3) and the input resolution (section 3.4).

    Channels become `round_channels(channels * width)`; expansions (those of bottlenecks, and 1x1 convolutions) keep
    their *ratio* to their input; the classifier never changes; where the paper says so (V2, V3) the last convolution
    keeps its full width below 1.0.

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
    kept = {classifier}
    if network.full_head and width < 1.0:
        kept.add(max((i for i in range(classifier) if isinstance(network.rows[i], Conv)), default=classifier))
    rows: list[Row] = []
    before = after = network.in_channels
    for i, row in enumerate(network.rows):
        new = row if i in kept else _scaled_row(row, width, network.divisor, before, after)
        rows.append(new)
        before, after = _out(row, before), _out(new, after)
    return tuple(rows)


def _scaled_row(row: Row, width: float, divisor: int, before: int, after: int) -> Row:
    """One row scaled; `before` and `after` are its input channels in the old and the new network."""

    def wide(channels: int) -> int:
        return round_channels(channels * width, divisor)

    match row:
        case Conv(1, out, act, stride, norm):
            # a 1x1 convolution is an expansion: V3-Small at 0.35 has 6 x 32 = 192, not 576 x 0.35 = 200
            return Conv(1, round_channels(after * out / before, divisor), act, stride, norm)
        case Conv(kernel, out, act, stride, norm):
            return Conv(kernel, wide(out), act, stride, norm)
        case DepthwiseSeparable(kernel, out, act, stride):
            return DepthwiseSeparable(kernel, wide(out), act, stride)
        case Bottleneck(kernel, expand, out, se, act, stride):
            ratio_kept = round_channels(after * expand / before, divisor)
            return Bottleneck(kernel, ratio_kept, wide(out), se, act, stride)
        case Linear() | PlainConv() | SeparableConv():
            return replace(row, out=wide(row.out))
        case Pool() | MaxPool() | AdaptivePool():
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
        case Conv() | DepthwiseSeparable() | Bottleneck() | Linear() | PlainConv() | SeparableConv():
            return row.out
        case Pool() | MaxPool() | AdaptivePool():
            return channels
        case Fire():
            return row.expand1 + row.expand3
        case Inception():
            return row.conv1 + row.conv3 + row.conv5 + row.proj
        case XceptionBlock():
            return row.widths[-1]
        case _:
            assert_never(row)


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
            kernel = min(row.kernel, 3)
            return replace(row, kernel=kernel, se=False, act=_relu_for_hswish(row.act))
        case Conv() | DepthwiseSeparable() | Linear() | PlainConv():
            return replace(row, act=_relu_for_hswish(row.act))
        case _:
            return row


def _relu_for_hswish(act: Act) -> Act:
    return Act.RELU if act is Act.HSWISH else act


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

    The row that makes the last stride keeps its expansion, which is C4; its output and every later row (but the
    classifier) shrink.

    Raises:
        MisuseError: the network has no strided row.
    """
    strided = [i for i, row in enumerate(network.rows) if isinstance(row, _STRIDED) and row.stride > 1]
    if not strided:
        raise MisuseError(f"network {network.name!r} has no strided row, so no stage between C4 and C5 to reduce.")
    tail = strided[-1]
    rows: list[Row] = []
    for i, row in enumerate(network.rows):
        if i < tail or i == network.classifier or not isinstance(row, _STRIDED):
            rows.append(row)
        elif isinstance(row, Bottleneck):
            expand = row.expand if i == tail else round_channels(row.expand / factor, network.divisor)
            rows.append(replace(row, expand=expand, out=round_channels(row.out / factor, network.divisor)))
        else:
            rows.append(replace(row, out=round_channels(row.out / factor, network.divisor)))
    return replace(network, rows=tuple(rows))


_STRIDED = (Conv, DepthwiseSeparable, Bottleneck)
