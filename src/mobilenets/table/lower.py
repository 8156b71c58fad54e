"""Rows to nodes. `lower` is the only function that knows what an operator is made of."""

from __future__ import annotations

from typing import assert_never

from mobilenets.errors import MisuseError
from mobilenets.table import attention, comparison, heads
from mobilenets.table.graph import Graph, Value, round_channels
from mobilenets.table.nodes import Node
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


def lower(network: Network, *, training: bool = False) -> tuple[Node, ...]:
    """The nodes of a network in the order in which they run; those that no other reads are its `outputs`.

    A classifier's and a segmenter's is the last (logits); a detector has two, `boxes` and `classes`.

    Args:
        network: the table.
        training: as it is trained, where that differs from what is deployed: parallel branches that fold into one
            convolution (MobileOne).

    Raises:
        MisuseError: the resolution is too small for a row, or a row cannot follow the one before.
    """
    graph = _filled(network, training=training)
    if not graph.nodes:
        raise MisuseError(f"{network.name}: its rows make nothing that runs: end them with Linear(classes).")
    return tuple(graph.nodes)


def _filled(network: Network, *, training: bool) -> Graph:
    graph = Graph(network, training=training)
    for number, row in enumerate(network.rows, 1):
        graph.begin_row(number)
        if len(graph.shape) == 1 and not isinstance(row, Linear):
            raise MisuseError(
                f"{network.name}: {type(row).__name__} in row {number} follows a fully connected layer, whose output "
                "has no height and width: only Linear can."
            )
        if len(graph.shape) == 2:
            raise MisuseError(
                f"{network.name}: {type(row).__name__} in row {number} follows BoxPredictor, which ends the rows: "
                "put it before."
            )
        _lower_row(graph, row)
        graph.reached.setdefault(graph.total_stride, graph.value)
    return graph


def _lower_row(graph: Graph, row: Row) -> None:  # noqa: PLR0915 - one case a type
    match row:
        case Conv():
            _conv(graph, row)
        case Bottleneck():
            _bottleneck(graph, row)
        case UniversalBottleneck():
            _universal_bottleneck(graph, row)
        case DepthwiseSeparable():
            graph.conv_norm_act("depthwise", graph.shape[0], row.kernel, row.stride, row.act, depthwise=True)
            graph.conv_norm_act("pointwise", row.out, 1, 1, row.act)
        case Pool():
            graph.global_pool("pool")
            graph.act("pool", row.act)
        case Linear():
            graph.flatten()
            graph.linear("linear", row.out)
            if row.norm:
                graph.norm("linear")
            graph.act("linear", row.act)
        case FusedBottleneck():
            _fused_bottleneck(graph, row)
        case MultiQueryAttention():
            attention.multi_query_attention(graph, row)
        case BranchedConv():
            _branched(graph, "conv", row.out, row.kernel, row.stride, row.branches)
            graph.act("conv", row.act)
        case MobileOneBlock():
            _mobile_one(graph, row)
        case DenseBlock():
            _dense_block(graph, row)
        case Tokens():
            attention.tokens(graph, row)
        case LiteBottleneck():
            attention.lite_bottleneck(graph, row)
        case MobileFormer():
            attention.mobile_former(graph, row)
        case MobileToFormer():
            attention.mobile_to_former(graph)
        case JoinToken():
            attention.join_token(graph)
        case PlainConv():
            graph.conv_act("conv", row.out, row.kernel, row.act, row.stride, row.pad)
        case MaxPool():
            graph.window_pool("pool", "max", row.kernel, row.stride, row.pad, row.ceil)
        case AdaptivePool():
            comparison.adaptive_pool(graph, row)
        case Fire():
            comparison.fire(graph, row)
        case Inception():
            comparison.inception(graph, row)
        case XceptionBlock():
            comparison.xception_block(graph, row)
        case SeparableConv():
            comparison.separable(graph, "separable", row.kernel, row.out)
            graph.act("separable", Act.RELU)
        case ExtraFeatures():
            heads.extra_features(graph, row)
        case BoxPredictor():
            heads.box_predictor(graph, row)
        case Aspp():
            heads.aspp(graph, row)
        case LiteAspp():
            heads.lite_aspp(graph, row)
        case Upsample():
            heads.upsample(graph, row)
        case _:
            assert_never(row)


def _conv(graph: Graph, row: Conv) -> None:
    graph.shuffle("conv", row.groups)
    if row.norm:
        graph.conv_norm_act("conv", row.out, row.kernel, row.stride, row.act, groups=row.groups)
    else:
        graph.conv("conv", row.out, row.kernel, row.stride, groups=row.groups, bias=True)
        graph.act("conv", row.act)


def _bottleneck(graph: Graph, row: Bottleneck) -> None:
    source, shape = graph.value
    if row.expand != shape[0]:
        graph.conv_norm_act("expand", row.expand, 1, 1, row.act)
    graph.conv_norm_act("depthwise", row.expand, row.kernel, row.stride, row.act, depthwise=True)
    if row.se:
        graph.squeeze_excite(_squeeze(graph, shape[0], row.expand))
    graph.conv_norm_act("project", row.out, 1, 1, Act.NONE)
    # the printed stride decides, not the dilated one: which blocks are residual must not depend on the output stride
    if row.skip and row.stride == 1 and graph.shape == shape:
        graph.add("add", source)


def _squeeze(graph: Graph, channels: int, expand: int) -> int:
    """Channels between squeeze and excite."""
    if graph.network.squeeze == "input":
        return max(1, channels // 4)
    # a quarter of the expansion, in steps of 8 at every width: the authors' code (V3's text says 1/4)
    return round_channels(expand / 4, 8)


def _fused_bottleneck(graph: Graph, row: FusedBottleneck) -> None:
    source, shape = graph.value
    graph.conv_norm_act("expand", row.expand, row.kernel, row.stride, row.act, groups=row.groups)
    graph.conv_norm_act("project", row.out, 1, 1, Act.NONE)
    if row.skip and row.stride == 1 and graph.shape == shape:
        graph.add("add", source)


def _universal_bottleneck(graph: Graph, row: UniversalBottleneck) -> None:
    if row.stride > 1 and row.start is None and row.middle is None:
        raise graph.refuse(f"a universal bottleneck without depthwise convolution cannot have stride {row.stride}.")
    source, shape = graph.value
    if row.start is not None:
        stride = row.stride if row.middle is None else 1
        graph.conv_norm_act("start", shape[0], row.start, stride, Act.NONE, depthwise=True)
    graph.conv_norm_act("expand", row.expand, 1, 1, row.act)
    if row.middle is not None:
        graph.conv_norm_act("depthwise", row.expand, row.middle, row.stride, row.act, depthwise=True)
    graph.conv_norm_act("project", row.out, 1, 1, Act.NONE)
    attention.layer_scale(graph)
    if row.stride == 1 and graph.shape == shape:
        graph.add("add", source)


def _branched(
    graph: Graph, name: str, out: int, kernel: int, stride: int, branches: int, *, depthwise: bool = False
) -> None:
    """One convolution with bias; in training its branches, which end in the sum `NAME.sum` and fold into `NAME.conv`.

    Every branch is a convolution with batch norm, but the skip, which is a batch norm alone (MobileOne, Figure 2).
    """
    if not graph.training:
        graph.conv(name, out, kernel, stride, depthwise=depthwise, bias=True)
        return
    source = graph.value
    reached = graph.total_stride, graph.dilation
    kernels = [(f"{name}.branch{i}", kernel) for i in range(1, branches + 1)]
    kernels += [(f"{name}.scale", 1)] if kernel > 1 else []
    ends = []
    for branch, size in kernels:
        graph.goto(source)
        graph.total_stride, graph.dilation = reached
        graph.conv(branch, out, size, stride, depthwise=depthwise)
        graph.norm(branch)
        ends.append(graph.at)
    if stride == 1 and out == source[1][0]:
        graph.goto(source)
        graph.norm(f"{name}.skip")
        ends.append(graph.at)
    graph.add(f"{name}.sum", *ends[:-1])


def _mobile_one(graph: Graph, row: MobileOneBlock) -> None:
    for name, kernel, stride, depthwise in (("depthwise", row.kernel, row.stride, True), ("pointwise", 1, 1, False)):
        out = graph.shape[0] if depthwise else row.out
        _branched(graph, name, out, kernel, stride, row.branches, depthwise=depthwise)
        if row.se:
            graph.squeeze_excite(out // 16, prefix=f"{name}.")  # a sixteenth: the authors' code
        graph.act(name, row.act)


def _dense_block(graph: Graph, row: DenseBlock) -> None:
    values: list[Value] = [graph.value]
    for i in range(1, row.layers + 1):
        if i > 1:
            graph.concat(f"concat{i}", values)
        graph.conv_norm_act(f"depthwise{i}", graph.shape[0], row.kernel, 1, row.act, depthwise=True)
        graph.conv_norm_act(f"pointwise{i}", row.growth, 1, 1, row.act)
        values.append(graph.value)
    graph.concat("concat", values)
