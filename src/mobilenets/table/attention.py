"""What attention's rows are made of: V4's multi-query attention, and Mobile-Former's two streams with their bridges."""

from __future__ import annotations

from mobilenets.table.graph import Graph, Value
from mobilenets.table.rows import Act, LiteBottleneck, MobileFormer, MultiQueryAttention, Tokens

BRIDGE_HEADS, FORMER_HEADS = 2, 4
"""Heads of Mobile-Former's bridges and of its Former (the authors' code; the paper prints neither)."""
FORMER_EXPANSION = 2
"""Width of the Former's feed-forward layer over the tokens' (arXiv 2108.05895, section 3.2)."""
REDUCTION = 4
"""Tokens' size over the width of the layer that makes dynamic ReLU's coefficients (the authors' code)."""


def multi_query_attention(graph: Graph, row: MultiQueryAttention) -> None:
    """Norm, attention over the whole map, projection, layer scale, residual (V4, section 4.2 and Figure 4)."""
    source, shape = graph.value
    graph.norm("norm")
    normed = graph.value
    graph.conv("query", row.heads * row.key)
    query = graph.split_heads("query.heads", graph.value, row.heads)

    def side(name: str) -> Value:
        graph.goto(normed)
        if row.kv_stride > 1:
            graph.conv(f"{name}.down", shape[0], 3, row.kv_stride, depthwise=True, aside=True)
            graph.norm(f"{name}.down")
        graph.conv(name, row.key)
        return graph.split_heads(f"{name}.heads", graph.value, 1)

    merged = (row.heads * row.key, *shape[1:])
    graph.attend("attention", query, side("key"), side("value"), merged, like=(source,))
    graph.conv("project", row.out)
    layer_scale(graph)
    if graph.shape == shape:
        graph.add("add", source)


def layer_scale(graph: Graph) -> None:
    """A learned factor per channel at a branch's end, 1e-5 at the start (CaiT, arXiv 2103.17239; V4's code)."""
    if graph.network.layer_scale:
        graph.scale("scale", 1e-5)


def tokens(graph: Graph, row: Tokens) -> None:
    """The second stream starts; the map flows on."""
    map_ = graph.value
    graph.parameter("tokens", (row.count, row.dim))
    graph.tokens = graph.value
    graph.goto(map_)


def lite_bottleneck(graph: Graph, row: LiteBottleneck) -> None:
    """Depthwise convolution that expands, pointwise that projects, residual (Mobile-Former, section 3.1)."""
    source, shape = graph.value
    _expanding_depthwise(graph, "depthwise", row.kernel, row.expand, row.stride)
    graph.act("depthwise", row.act)
    graph.shuffle("depthwise", shape[0] if row.groups > 1 else 1)
    graph.conv_norm_act("project", row.out, 1, 1, Act.NONE, groups=row.groups)
    if row.stride == 1 and graph.shape == shape:
        graph.add("add", source)


def mobile_former(graph: Graph, row: MobileFormer) -> None:
    """Mobile -> Former, Former, the bottleneck with dynamic ReLU, Former -> Mobile (Mobile-Former, Figure 3)."""
    if row.expand2 is None and row.stride > 1:
        raise graph.refuse("a Mobile-Former block that strides needs `expand2`.")
    source, shape = graph.value
    mobile_to_former(graph)
    _former(graph)
    graph.goto((source, shape))
    if row.expand2 is None:
        _mobile(graph, row)
        if graph.shape == shape:
            graph.add("add", source)
    else:
        _mobile_down(graph, row, row.expand2)
    _former_to_mobile(graph)


def _mobile(graph: Graph, row: MobileFormer) -> None:
    graph.conv_norm_act("expand", row.expand, 1, 1, Act.NONE, groups=row.groups)
    graph.shuffle("expand", row.groups)
    _dynamic_relu(graph, "expand")
    graph.conv_norm_act("depthwise", row.expand, row.kernel, 1, Act.NONE, depthwise=True)
    _dynamic_relu(graph, "depthwise")
    graph.conv_norm_act("project", row.out, 1, 1, Act.NONE, groups=row.groups)
    graph.shuffle("project", row.groups)


def _mobile_down(graph: Graph, row: MobileFormer, expand2: int) -> None:
    """Two lite bottlenecks: the first one strides, around the second there is a residual."""
    for name, expand, stride in (("1", row.expand, row.stride), ("2", expand2, 1)):
        before, channels = graph.at, graph.shape[0]
        _expanding_depthwise(graph, f"depthwise{name}", row.kernel, expand, stride)
        graph.shuffle(f"depthwise{name}", channels if row.groups > 1 else 1)
        _dynamic_relu(graph, f"depthwise{name}")
        graph.conv_norm_act(f"project{name}", row.out, 1, 1, Act.NONE, groups=row.groups)
    graph.add("add", before)


def _expanding_depthwise(graph: Graph, name: str, kernel: int, expand: int, stride: int) -> None:
    channels = graph.shape[0]
    if expand % channels:
        raise graph.refuse(f"a depthwise convolution expands {channels} channels to a multiple of them, not {expand}.")
    graph.conv_norm_act(name, expand, kernel, stride, Act.NONE, depthwise=True)


def _dynamic_relu(graph: Graph, name: str) -> None:
    """Dynamic ReLU of the map, its coefficients from the first token (Mobile-Former, section 3.2)."""
    map_ = graph.value
    graph.goto(_tokens(graph))
    graph.select(f"{name}.token", 0)
    graph.linear(f"{name}.reduce", graph.shape[-1] // REDUCTION)
    graph.act(f"{name}.reduce", Act.RELU)
    graph.linear(f"{name}.coefficients", 2 * map_[1][0])
    graph.act(f"{name}.coefficients", Act.HSIGMOID)
    coefficients = graph.value
    graph.goto(map_)
    graph.dynamic_relu(name, coefficients)


def mobile_to_former(graph: Graph) -> None:
    """The tokens read the map: no key or value projection; a gate in (0, 2) on what they read (the authors' code)."""
    map_, stream = graph.value, _tokens(graph)
    channels, (count, size) = map_[1][0], stream[1]
    graph.goto(stream)
    graph.linear("read.query", channels)
    query = graph.split_heads("read.query.heads", graph.value, BRIDGE_HEADS)
    both = graph.split_heads("read.map.heads", map_, BRIDGE_HEADS)
    graph.goto(stream)
    graph.linear("read.gate", channels)
    graph.act("read.gate", Act.HSIGMOID)
    gate = graph.at
    # the gate's 2 is on the product, where it costs nothing
    graph.attend("read", query, both, both, (count, channels), factor=2.0)
    graph.multiply("read.mul", gate)
    graph.linear("read.project", size)
    graph.add("read.add", stream[0])
    graph.layer_norm("read")
    graph.tokens = graph.value
    graph.goto(map_)


def _former(graph: Graph) -> None:
    """A transformer layer over the tokens, norm after the residual; keys and values are not projected."""
    stream = _tokens(graph)
    size = stream[1][1]
    graph.goto(stream)
    graph.linear("former.query", size)
    query = graph.split_heads("former.query.heads", graph.value, FORMER_HEADS)
    both = graph.split_heads("former.tokens.heads", stream, FORMER_HEADS)
    graph.attend("former", query, both, both, stream[1])
    graph.linear("former.project", size)
    graph.add("former.add", stream[0])
    graph.layer_norm("former")
    attended = graph.at
    graph.linear("former.feed1", FORMER_EXPANSION * size)
    graph.act("former.feed1", Act.GELU)
    graph.linear("former.feed2", size)
    graph.add("former.feed2.add", attended)
    graph.layer_norm("former.feed2")
    graph.tokens = graph.value


def _former_to_mobile(graph: Graph) -> None:
    """The map reads the tokens: no query projection."""
    (source, shape), stream = graph.value, _tokens(graph)

    def side(name: str) -> Value:
        graph.goto(stream)
        graph.linear(f"write.{name}", shape[0])
        return graph.split_heads(f"write.{name}.heads", graph.value, BRIDGE_HEADS)

    query = graph.split_heads("write.map.heads", (source, shape), BRIDGE_HEADS)
    graph.attend("write", query, side("key"), side("value"), shape, like=(source,))
    graph.add("write.add", source)


def join_token(graph: Graph) -> None:
    """The first token behind the flat features (Mobile-Former, section 3.3)."""
    graph.flatten()
    features, stream = graph.value, _tokens(graph)
    graph.goto(stream)
    graph.select("token", 0)
    graph.concat("concat", [features, graph.value])


def _tokens(graph: Graph) -> Value:
    if graph.tokens is None:
        raise graph.refuse("there are no tokens: a Tokens row must come before.")
    return graph.tokens
