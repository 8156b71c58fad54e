"""What the rows of detection and segmentation heads are made of."""

from __future__ import annotations

from mobilenets.table.graph import Graph, Value
from mobilenets.table.nodes import INPUT
from mobilenets.table.rows import Act, Aspp, BoxPredictor, ExtraFeatures, LiteAspp, Upsample

BOX = 4
"""Numbers of an encoded box: x, y, width and height, relative to its anchor's."""


def extra_features(graph: Graph, row: ExtraFeatures) -> None:
    """Squeeze, then a strided convolution; what enters stays a feature map for the predictor."""
    source, stride = graph.value, graph.total_stride
    _pad(graph)
    graph.conv_norm_act("squeeze", row.out // 2, 1, 1, row.act)
    if row.lite:
        graph.conv_norm_act("depthwise", graph.shape[0], 3, row.stride, row.act, depthwise=True)
        graph.conv_norm_act("expand", row.out, 1, 1, row.act)
    else:
        graph.conv_norm_act("expand", row.out, 3, row.stride, row.act)
    graph.left[stride] = source


def box_predictor(graph: Graph, row: BoxPredictor) -> None:
    """Boxes and classes of every anchor of every map, each joined over the maps: `boxes` and `classes`."""
    maps = [value for stride, value in sorted(graph.left.items()) if stride >= row.tap] + [graph.value]
    if len(maps) != len(row.anchors):
        raise graph.refuse(
            f"`anchors` has {len(row.anchors)} numbers for {len(maps)} feature maps of stride {row.tap} or more: give "
            "one number for each map."
        )
    _pad(graph)
    for name, size in (("boxes", BOX), ("classes", row.out)):
        values = []
        for i, (value, anchors) in enumerate(zip(maps, row.anchors, strict=True), 1):
            graph.goto(value)
            _prediction(graph, row, f"{name}{i}", anchors * size)
            graph.per_anchor(f"{name}{i}", size)
            values.append(graph.value)
        graph.concat(name, values)


def _prediction(graph: Graph, row: BoxPredictor, name: str, out: int) -> None:
    if row.lite:
        graph.conv_norm_act(f"{name}.depthwise", graph.shape[0], row.kernel, 1, row.act, depthwise=True)
    graph.conv(name, out, 1 if row.lite else row.kernel, bias=True)


def aspp(graph: Graph, row: Aspp) -> None:
    """Branches over the same map, concatenated in TF's order (the image's mean first) and projected."""
    source = graph.value
    branches: list[Value] = []
    _pad(graph)
    if row.pooling:
        graph.global_pool("image.pool")
        graph.conv_norm_act("image", row.out, 1, 1, row.act)
        graph.resize("image.resize", source)
        branches.append(graph.value)
    graph.goto(source)
    graph.conv_norm_act("conv", row.out, 1, 1, row.act)
    branches.append(graph.value)
    for i, rate in enumerate(row.rates, 1):
        graph.goto(source)
        # the same reach in pixels at every output stride (DeepLabv3, section 3.3)
        graph.conv(f"atrous{i}", row.out, 3, rate=max(1, rate * 16 // graph.total_stride))
        graph.norm(f"atrous{i}")
        graph.act(f"atrous{i}", row.act)
        branches.append(graph.value)
    if len(branches) > 1:
        graph.concat("concat", branches)
    graph.conv_norm_act("project", row.out, 1, 1, row.act)


def lite_aspp(graph: Graph, row: LiteAspp) -> None:
    """Deep features behind a gate, at the size of the shallow ones; both classified, and added."""
    if row.tap not in graph.reached:
        reached = ", ".join(map(str, sorted(graph.reached)))
        raise graph.refuse(f"no row has the stride `tap` (={row.tap}): there are {reached}.")
    source, low = graph.value, graph.reached[row.tap]
    graph.global_pool("gate.pool")
    graph.conv("gate", row.filters)
    graph.act("gate", Act.SIGMOID)
    gate = graph.at
    graph.goto(source)
    graph.conv_norm_act("branch", row.filters, 1, 1, Act.RELU)
    graph.multiply("gate.mul", gate)
    graph.resize("resize", low)
    graph.conv("high", row.out, bias=True)
    high = graph.at
    graph.goto(low)
    graph.conv("low", row.out, bias=True)
    graph.add("add", high)


def upsample(graph: Graph, row: Upsample) -> None:
    """To the size of the image."""
    size = graph.network.resolution
    graph.resize("resize", (INPUT, (graph.network.in_channels, size, size)), align=row.align)


def _pad(graph: Graph) -> None:
    """Heads pad, whatever their backbone does: their maps shrink to one place."""
    if graph.padding == "valid":
        graph.padding = "symmetric"
