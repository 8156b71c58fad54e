"""What the rows of the networks that MobileNets are compared with are made of."""

from __future__ import annotations

from mobilenets.errors import MisuseError
from mobilenets.table.graph import Graph
from mobilenets.table.rows import Act, AdaptivePool, Fire, Inception, XceptionBlock


def adaptive_pool(graph: Graph, row: AdaptivePool) -> None:
    """Windowed mean to a fixed size; nothing where it has that size."""
    size = graph.shape[1]
    if size % row.size or graph.shape[2] != size:
        raise MisuseError(
            f"{graph.network.name}: {size}x{size} features do not pool evenly to {row.size}x{row.size} at resolution "
            f"{graph.network.resolution}: use the printed resolution."
        )
    if size != row.size:
        graph.window_pool("pool", "mean", size // row.size, size // row.size, 0)


def fire(graph: Graph, row: Fire) -> None:
    """Squeeze, then two expansions side by side."""
    graph.conv_act("squeeze", row.squeeze, 1, Act.RELU)
    branches = []
    source = graph.value
    for name, out, kernel in (("expand1", row.expand1, 1), ("expand3", row.expand3, 3)):
        graph.goto(source)
        graph.conv_act(name, out, kernel, Act.RELU, padding=kernel // 2)
        branches.append(graph.value)
    graph.concat("concat", branches)


def inception(graph: Graph, row: Inception) -> None:
    """Four branches, concatenated."""
    source = graph.value
    branches = []

    def branch() -> None:
        branches.append(graph.value)
        graph.goto(source)

    graph.conv_norm_act("branch1", row.conv1, 1, 1, Act.RELU)
    branch()
    graph.conv_norm_act("reduce3", row.reduce3, 1, 1, Act.RELU)
    graph.conv_norm_act("branch3", row.conv3, 3, 1, Act.RELU)
    branch()
    graph.conv_norm_act("reduce5", row.reduce5, 1, 1, Act.RELU)
    graph.conv_norm_act("branch5", row.conv5, 3, 1, Act.RELU)
    branch()
    graph.window_pool("branch_pool", "max", 3, 1, 1)
    graph.conv_norm_act("proj", row.proj, 1, 1, Act.RELU)
    branch()
    graph.concat("concat", branches)


def separable(graph: Graph, name: str, kernel: int, out: int) -> None:
    """Xception's: depthwise, pointwise, one batch norm."""
    graph.conv(f"{name}.depthwise", graph.shape[0], kernel, depthwise=True, padding=kernel // 2)
    graph.conv(f"{name}.pointwise", out)
    graph.norm(name)


def xception_block(graph: Graph, row: XceptionBlock) -> None:
    """Separable convolutions and the residual around them."""
    source, shape = graph.value
    for i, out in enumerate(row.widths, 1):
        if i > 1 or row.first_act:
            graph.act(f"separable{i}", Act.RELU)
        separable(graph, f"separable{i}", 3, out)
    if row.stride == 1:
        if graph.shape != shape:
            raise MisuseError(
                f"{graph.network.name}: the Xception block in {graph.row[:-1]} has stride 1 and turns {shape[0]} "
                f"channels into {graph.shape[0]}: its residual needs the same number, or stride 2."
            )
        graph.add("add", source)
        return
    reached = graph.total_stride, graph.dilation
    graph.window_pool("pool", "max", 3, row.stride, "same")
    body = graph.at
    graph.total_stride, graph.dilation = reached  # the shortcut below passes the same stride once more
    graph.goto((source, shape))
    graph.conv("shortcut", row.widths[-1], 1, row.stride)
    graph.norm("shortcut")
    graph.add("add", body)
