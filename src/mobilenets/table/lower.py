"""Rows to nodes. `lower` is the only function that knows what an operator is made of."""

from __future__ import annotations

from typing import Literal, assert_never

from mobilenets.errors import MisuseError
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalPool,
    Multiply,
    Node,
    Shape,
    WindowPool,
)
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
    Padding,
    PlainConv,
    Pool,
    Row,
    SeparableConv,
    XceptionBlock,
)


def round_channels(channels: float, divisor: int) -> int:
    """Channels to the nearest multiple of `divisor`, never below 90 % of the exact value (TF-slim `make_divisible`).

    Halves round up. Divisor 1 cuts the fraction off, as V1's code does.
    """
    rounded = max(divisor, int(channels + divisor // 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels and divisor > 1 else rounded


def lower(network: Network) -> tuple[Node, ...]:
    """The nodes of a network in the order in which they run; the last one is the output (logits).

    Raises:
        MisuseError: the resolution is too small for a row, or a row cannot follow the one before.
    """
    graph = _Graph(network)
    for number, row in enumerate(network.rows, 1):
        graph.begin_row(number)
        if len(graph.shape) == 1 and not isinstance(row, Linear):
            raise MisuseError(
                f"{network.name}: {type(row).__name__} in row {number} follows a fully connected layer, whose output "
                "has no height and width: only Linear can."
            )
        _lower_row(graph, row)
    if not graph.nodes:
        raise MisuseError(f"{network.name}: its rows make nothing that runs: end them with Linear(classes).")
    return tuple(graph.nodes)


class _Graph:
    """Nodes so far, and the value that flows on: `at` (its name) and `shape`."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.nodes: list[Node] = []
        self.at = INPUT
        self.shape: Shape = (network.in_channels, network.resolution, network.resolution)
        self.total_stride = 1
        self.dilation = 1
        self.row = ""

    def begin_row(self, number: int) -> None:
        self.row = f"row{number:02d}."

    def _emit(self, node: Node) -> None:
        self.nodes.append(node)
        self.at, self.shape = node.name, node.shape

    def strided(self, stride: int) -> tuple[int, int, int]:
        """(stride, dilation of this kernel, dilation of the rows after it) where the output stride is capped.

        A row whose stride is refused keeps the old dilation for its own kernel; what follows it is spread
        (DeepLabv3, section 3.1).
        """
        limit = self.network.output_stride
        if stride == 1 or limit is None or self.total_stride * stride <= limit:
            return stride, self.dilation, self.dilation
        return 1, self.dilation, self.dilation * stride

    def conv(
        self, name: str, out: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False, bias: bool = False,
        padding: Padding | int | None = None,
    ) -> None:  # fmt: skip
        channels, height, width = self.shape
        dilation, after = 1, self.dilation
        if stride > 1 or kernel > 1:
            stride, dilation, after = self.strided(stride)
            dilation = dilation if kernel > 1 else 1
        pads = _pads(self.network.padding if padding is None else padding, kernel, stride, dilation, height, width)
        reach = dilation * (kernel - 1) + 1
        out_h = (height + pads[0] + pads[2] - reach) // stride + 1
        out_w = (width + pads[1] + pads[3] - reach) // stride + 1
        if out_h < 1 or out_w < 1:
            raise MisuseError(
                f"{self.network.name}: a {kernel}x{kernel} kernel in {self.row[:-1]} does not fit an input of "
                f"{height}x{width} pixels. The resolution (={self.network.resolution}) is too small: raise it."
            )
        groups = channels if depthwise else 1
        self.total_stride *= stride
        self.dilation = after
        self._emit(
            Convolution(
                f"{self.row}{name}.conv", (self.at,), (out, out_h, out_w),
                channels, kernel, stride, dilation, groups, pads, bias,
            )
        )  # fmt: skip

    def norm(self, name: str) -> None:
        net = self.network
        self._emit(BatchNorm(f"{self.row}{name}.bn", (self.at,), self.shape, net.bn_eps, net.bn_momentum))

    def act(self, name: str, function: Act) -> None:
        if function is not Act.NONE:
            self._emit(Activation(f"{self.row}{name}.act", (self.at,), self.shape, function))

    def conv_norm_act(
        self, name: str, out: int, kernel: int, stride: int, act: Act, *, depthwise: bool = False
    ) -> None:
        self.conv(name, out, kernel, stride, depthwise=depthwise)
        self.norm(name)
        self.act(name, act)

    def conv_act(
        self, name: str, out: int, kernel: int, act: Act, stride: int = 1, padding: Padding | int | None = None
    ) -> None:
        self.conv(name, out, kernel, stride, bias=True, padding=padding)
        self.act(name, act)

    def global_pool(self, name: str) -> None:
        self._emit(GlobalPool(f"{self.row}{name}", (self.at,), (self.shape[0], 1, 1)))

    def window_pool(
        self, name: str, mode: Literal["max", "mean"], kernel: int, stride: int, padding: Padding | int,
        ceil: bool = False,
    ) -> None:  # fmt: skip
        channels, height, width = self.shape
        limit = self.network.output_stride
        if limit is not None and stride > 1 and self.total_stride * stride > limit:
            raise MisuseError(
                f"{self.network.name}: the output stride cannot be {limit}: the pooling in {self.row[:-1]} goes beyond "
                "it, and only a convolution's stride turns into dilation."
            )
        pads = _pads(padding, kernel, stride, 1, height, width)
        out_h = _pooled(height, kernel, stride, pads[0], pads[2], ceil)
        out_w = _pooled(width, kernel, stride, pads[1], pads[3], ceil)
        if out_h < 1 or out_w < 1:
            raise MisuseError(
                f"{self.network.name}: a {kernel}x{kernel} pooling in {self.row[:-1]} does not fit {height}x{width} "
                f"pixels. The resolution (={self.network.resolution}) is too small: raise it."
            )
        self.total_stride *= stride
        shape = (channels, out_h, out_w)
        self._emit(WindowPool(f"{self.row}{name}", (self.at,), shape, mode, kernel, stride, pads, ceil))

    def squeeze_excite(self, squeeze: int) -> None:
        """Pool, reduce, ReLU, restore, gate, multiply (V3, section 5.3)."""
        source, shape = self.at, self.shape
        self.global_pool("squeeze.pool")
        self.conv_act("squeeze", squeeze, 1, Act.RELU)
        self.conv_act("excite", shape[0], 1, self.network.gate)
        self._emit(Multiply(f"{self.row}excite.mul", (source, self.at), shape))

    def add(self, name: str, other: str) -> None:
        """Sum of the value that flows on and an earlier one of the same shape."""
        self._emit(Add(f"{self.row}{name}", (self.at, other), self.shape))

    def concat(self, name: str, branches: list[tuple[str, Shape]]) -> None:
        channels = sum(shape[0] for _, shape in branches)
        shape = (channels, *branches[0][1][1:])
        self._emit(Concat(f"{self.row}{name}", tuple(value for value, _ in branches), shape))

    def flatten(self) -> None:
        if len(self.shape) > 1:
            channels, height, width = self.shape
            self._emit(Flatten(f"{self.row}flatten", (self.at,), (channels * height * width,)))

    def linear(self, out: int) -> None:
        self.flatten()
        self._emit(FullyConnected(f"{self.row}linear", (self.at,), (out,), self.shape[0]))


def _pads(
    padding: Padding | int, kernel: int, stride: int, dilation: int, height: int, width: int
) -> tuple[int, int, int, int]:
    if isinstance(padding, int):
        return (padding, padding, padding, padding)
    if kernel == 1 or padding == "valid":
        return (0, 0, 0, 0)
    if padding == "symmetric":
        side = dilation * (kernel - 1) // 2
        return (side, side, side, side)
    top, bottom = _same(height, kernel, stride, dilation)
    left, right = _same(width, kernel, stride, dilation)
    return (top, left, bottom, right)


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's `same`: output ceil(size / stride), the odd pixel after."""
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def _pooled(size: int, kernel: int, stride: int, before: int, after: int, ceil: bool) -> int:
    span = size + before + after - kernel
    steps = -(-span // stride) if ceil else span // stride
    # a window that would start in the padding behind the image is dropped, as every framework does
    if ceil and steps * stride >= size + before:
        steps -= 1
    return steps + 1


def _lower_row(graph: _Graph, row: Row) -> None:
    match row:
        case Conv():
            _conv(graph, row)
        case DepthwiseSeparable():
            graph.conv_norm_act("depthwise", graph.shape[0], row.kernel, row.stride, row.act, depthwise=True)
            graph.conv_norm_act("pointwise", row.out, 1, 1, row.act)
        case Bottleneck():
            _bottleneck(graph, row)
        case Pool():
            graph.global_pool("pool")
        case Linear():
            graph.linear(row.out)
            graph.act("linear", row.act)
        case PlainConv():
            graph.conv_act("conv", row.out, row.kernel, row.act, row.stride, row.pad)
        case MaxPool():
            graph.window_pool("pool", "max", row.kernel, row.stride, row.pad, row.ceil)
        case AdaptivePool():
            _adaptive_pool(graph, row)
        case Fire():
            _fire(graph, row)
        case Inception():
            _inception(graph, row)
        case XceptionBlock():
            _xception_block(graph, row)
        case SeparableConv():
            _separable(graph, "separable", row.kernel, row.out)
            graph.act("separable", Act.RELU)
        case _:
            assert_never(row)


def _conv(graph: _Graph, row: Conv) -> None:
    if row.norm:
        graph.conv_norm_act("conv", row.out, row.kernel, row.stride, row.act)
    else:
        graph.conv_act("conv", row.out, row.kernel, row.act, row.stride)


def _bottleneck(graph: _Graph, row: Bottleneck) -> None:
    source, shape = graph.at, graph.shape
    if row.expand != shape[0]:
        graph.conv_norm_act("expand", row.expand, 1, 1, row.act)
    graph.conv_norm_act("depthwise", row.expand, row.kernel, row.stride, row.act, depthwise=True)
    if row.se:
        # a quarter of the expansion, in steps of 8 at every width: the authors' code (the text says 1/4)
        graph.squeeze_excite(round_channels(row.expand / 4, 8))
    graph.conv_norm_act("project", row.out, 1, 1, Act.NONE)
    # the printed stride decides, not the dilated one: which blocks are residual must not depend on the output stride
    if row.stride == 1 and graph.shape == shape:
        graph.add("add", source)


def _adaptive_pool(graph: _Graph, row: AdaptivePool) -> None:
    size = graph.shape[1]
    if size % row.size or graph.shape[2] != size:
        raise MisuseError(
            f"{graph.network.name}: {size}x{size} features do not pool evenly to {row.size}x{row.size} at resolution "
            f"{graph.network.resolution}: use the printed resolution."
        )
    if size != row.size:
        graph.window_pool("pool", "mean", size // row.size, size // row.size, 0)


def _fire(graph: _Graph, row: Fire) -> None:
    graph.conv_act("squeeze", row.squeeze, 1, Act.RELU)
    branches = []
    source, shape = graph.at, graph.shape
    for name, out, kernel in (("expand1", row.expand1, 1), ("expand3", row.expand3, 3)):
        graph.at, graph.shape = source, shape
        graph.conv_act(name, out, kernel, Act.RELU, padding=kernel // 2)
        branches.append((graph.at, graph.shape))
    graph.concat("concat", branches)


def _inception(graph: _Graph, row: Inception) -> None:
    source, shape = graph.at, graph.shape
    branches = []

    def branch() -> None:
        branches.append((graph.at, graph.shape))
        graph.at, graph.shape = source, shape

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


def _separable(graph: _Graph, name: str, kernel: int, out: int) -> None:
    graph.conv(f"{name}.depthwise", graph.shape[0], kernel, depthwise=True, padding=kernel // 2)
    graph.conv(f"{name}.pointwise", out)
    graph.norm(name)


def _xception_block(graph: _Graph, row: XceptionBlock) -> None:
    source, shape = graph.at, graph.shape
    for i, out in enumerate(row.widths, 1):
        if i > 1 or row.first_act:
            graph.act(f"separable{i}", Act.RELU)
        _separable(graph, f"separable{i}", 3, out)
    if row.stride == 1:
        if graph.shape != shape:
            raise MisuseError(
                f"{graph.network.name}: the Xception block in {graph.row[:-1]} has stride 1 and turns {shape[0]} "
                f"channels into {graph.shape[0]}: its residual needs the same number, or stride 2."
            )
        graph.add("add", source)
        return
    graph.window_pool("pool", "max", 3, row.stride, "same")
    body = graph.at
    graph.total_stride //= row.stride  # the shortcut below passes the same stride once more
    graph.at, graph.shape = source, shape
    graph.conv("shortcut", row.widths[-1], 1, row.stride)
    graph.norm("shortcut")
    graph.add("add", body)
