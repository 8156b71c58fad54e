"""The graph that `lower` fills: nodes so far, and the value that flows on. Knows primitives, no operator."""

from __future__ import annotations

from typing import Literal

from mobilenets.errors import MisuseError
from mobilenets.table.nodes import (
    INPUT,
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
    Shape,
    Shuffle,
    Softmax,
    SplitHeads,
    WindowPool,
)
from mobilenets.table.rows import Act, Network, Padding

Value = tuple[str, Shape]
"""Name and shape of a value."""


def round_channels(channels: float, divisor: int) -> int:
    """Channels to the nearest multiple of `divisor`, never below 90 % of the exact value (TF-slim `make_divisible`).

    Halves round up. Divisor 1 cuts the fraction off, as V1's code does.
    """
    rounded = max(divisor, int(channels + divisor // 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels and divisor > 1 else rounded


class Graph:
    """Nodes so far, and the value that flows on: `at` (its name) and `shape`. `tokens` is the second stream's.

    Heads read earlier values by their total stride: `left` holds what entered the first kernel that strides away from
    it (C4 of a bottleneck is its expansion), `reached` the output of the first row that has it.
    """

    def __init__(self, network: Network, *, training: bool) -> None:
        self.network = network
        self.training = training
        self.nodes: list[Node] = []
        self.at = INPUT
        self.shape: Shape = (network.in_channels, network.resolution, network.resolution)
        self.tokens: Value | None = None
        self.total_stride = 1
        self.dilation = 1
        self.padding: Padding = network.padding
        self.left: dict[int, Value] = {}
        self.reached: dict[int, Value] = {}
        self.row = ""

    def begin_row(self, number: int) -> None:
        """Name the nodes that follow after a row (from 1)."""
        self.row = f"row{number:02d}."

    @property
    def value(self) -> Value:
        """The value that flows on."""
        return self.at, self.shape

    def goto(self, value: Value) -> None:
        """Go on from another value: an earlier one, or one of the other stream."""
        self.at, self.shape = value

    def refuse(self, problem: str) -> MisuseError:
        """An error of the row that is lowered now."""
        return MisuseError(f"{self.network.name}, {self.row[:-1]}: {problem}")

    def _emit(self, node: Node) -> None:
        self.nodes.append(node)
        self.at, self.shape = node.name, node.shape

    def _leave(self, stride: int) -> None:
        """A kernel strides: what enters it is the last value of the total stride so far."""
        if stride > 1:
            self.left.setdefault(self.total_stride, self.value)
            self.total_stride *= stride

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
        self, name: str, out: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False, groups: int = 1,
        bias: bool = False, padding: Padding | int | None = None, aside: bool = False, rate: int | None = None,
    ) -> None:  # fmt: skip
        """A convolution. The stride of one that stands `aside` does not count for what follows.

        `padding` in pixels is that of the kernel as printed; dilation spreads it too. `rate` is a dilation of its own.
        """
        channels, height, width = self.shape
        dilation, after = 1, self.dilation
        if (stride > 1 or kernel > 1) and not aside:
            stride, dilation, after = self.strided(stride)
            dilation = dilation if kernel > 1 else 1
        dilation = dilation if rate is None else rate
        padding = padding * dilation if isinstance(padding, int) else padding or self.padding
        pads = _pads(padding, kernel, stride, dilation, height, width)
        reach = dilation * (kernel - 1) + 1
        out_h = (height + pads[0] + pads[2] - reach) // stride + 1
        out_w = (width + pads[1] + pads[3] - reach) // stride + 1
        if out_h < 1 or out_w < 1:
            raise MisuseError(
                f"{self.network.name}: a {kernel}x{kernel} kernel in {self.row[:-1]} does not fit an input of "
                f"{height}x{width} pixels. The resolution (={self.network.resolution}) is too small: raise it."
            )
        groups = channels if depthwise else groups
        if channels % groups or out % groups:
            raise self.refuse(f"{channels} input and {out} output channels cannot be split into {groups} groups.")
        if not aside:
            self._leave(stride)
            self.dilation = after
        self._emit(
            Convolution(
                f"{self.row}{name}.conv", (self.at,), (out, out_h, out_w),
                channels, kernel, stride, dilation, groups, pads, bias,
            )
        )  # fmt: skip

    def norm(self, name: str) -> None:
        """Batch norm."""
        net = self.network
        self._emit(BatchNorm(f"{self.row}{name}.bn", (self.at,), self.shape, net.bn_eps, net.bn_momentum))

    def act(self, name: str, function: Act) -> None:
        """A non-linearity; nothing where it is the identity."""
        if function is not Act.NONE:
            self._emit(Activation(f"{self.row}{name}.act", (self.at,), self.shape, function))

    def conv_norm_act(
        self, name: str, out: int, kernel: int, stride: int, act: Act, *, depthwise: bool = False, groups: int = 1
    ) -> None:
        """Convolution, batch norm, non-linearity."""
        self.conv(name, out, kernel, stride, depthwise=depthwise, groups=groups)
        self.norm(name)
        self.act(name, act)

    def conv_act(
        self, name: str, out: int, kernel: int, act: Act, stride: int = 1, padding: Padding | int | None = None
    ) -> None:
        """Convolution with bias, non-linearity."""
        self.conv(name, out, kernel, stride, bias=True, padding=padding)
        self.act(name, act)

    def global_pool(self, name: str) -> None:
        """Mean over height and width."""
        self._emit(GlobalPool(f"{self.row}{name}", (self.at,), (self.shape[0], 1, 1)))

    def window_pool(
        self, name: str, mode: Literal["max", "mean"], kernel: int, stride: int, padding: Padding | int,
        ceil: bool = False,
    ) -> None:  # fmt: skip
        """Windowed maximum or mean. One whose stride is refused pools at every place; what follows it is spread."""
        channels, height, width = self.shape
        allowed, _, after = self.strided(stride)
        if allowed != stride:
            stride, padding, ceil = allowed, "same", False
        pads = _pads(padding, kernel, stride, 1, height, width)
        out_h = _pooled(height, kernel, stride, pads[0], pads[2], ceil)
        out_w = _pooled(width, kernel, stride, pads[1], pads[3], ceil)
        if out_h < 1 or out_w < 1:
            raise MisuseError(
                f"{self.network.name}: a {kernel}x{kernel} pooling in {self.row[:-1]} does not fit {height}x{width} "
                f"pixels. The resolution (={self.network.resolution}) is too small: raise it."
            )
        self._leave(stride)
        self.dilation = after
        shape = (channels, out_h, out_w)
        self._emit(WindowPool(f"{self.row}{name}", (self.at,), shape, mode, kernel, stride, pads, ceil))

    def squeeze_excite(self, squeeze: int, prefix: str = "") -> None:
        """Pool, reduce, ReLU, restore, gate, multiply (V3, section 5.3)."""
        source, shape = self.value
        self.global_pool(f"{prefix}squeeze.pool")
        self.conv_act(f"{prefix}squeeze", squeeze, 1, Act.RELU)
        self.conv_act(f"{prefix}excite", shape[0], 1, self.network.gate)
        self._emit(Multiply(f"{self.row}{prefix}excite.mul", (source, self.at), shape))

    def multiply(self, name: str, other: str) -> None:
        """Product of the value that flows on and an earlier one of the same shape."""
        self._emit(Multiply(f"{self.row}{name}", (self.at, other), self.shape))

    def add(self, name: str, *others: str) -> None:
        """Sum of the value that flows on and earlier ones of the same shape."""
        self._emit(Add(f"{self.row}{name}", (self.at, *others), self.shape))

    def concat(self, name: str, branches: list[Value]) -> None:
        """Values joined along channels."""
        channels = sum(shape[0] for _, shape in branches)
        shape = (channels, *branches[0][1][1:])
        self._emit(Concat(f"{self.row}{name}", tuple(value for value, _ in branches), shape))

    def resize(self, name: str, like: Value, *, align: bool = False) -> None:
        """Bilinear to the height and width of another value."""
        shape = (self.shape[0], *like[1][1:])
        self._emit(Resize(f"{self.row}{name}", (self.at, like[0]), shape, align))

    def per_anchor(self, name: str, values: int) -> None:
        """A map as `values` numbers for each anchor."""
        channels, height, width = self.shape
        shape = (height * width * channels // values, values)
        self._emit(PerAnchor(f"{self.row}{name}.anchors", (self.at,), shape))

    def flatten(self) -> None:
        """A map as a vector; nothing where it is one."""
        if len(self.shape) > 1:
            channels, height, width = self.shape
            self._emit(Flatten(f"{self.row}flatten", (self.at,), (channels * height * width,)))

    def linear(self, name: str, out: int) -> None:
        """A matrix product over the last axis: of a flat value, or of every token."""
        self._emit(FullyConnected(f"{self.row}{name}", (self.at,), (*self.shape[:-1], out), self.shape[-1]))

    def scale(self, name: str, initial: float) -> None:
        """A learned factor per channel."""
        self._emit(Scale(f"{self.row}{name}.factor", (self.at,), self.shape, initial))

    def shuffle(self, name: str, groups: int) -> None:
        """Channels of the groups interleaved; nothing where there is one group."""
        if groups > 1:
            self._emit(Shuffle(f"{self.row}{name}.shuffle", (self.at,), self.shape, groups))

    def dynamic_relu(self, name: str, coefficients: Value) -> None:
        """Dynamic ReLU with the coefficients of another value."""
        self._emit(DynamicRelu(f"{self.row}{name}.act", (self.at, coefficients[0]), self.shape))

    def parameter(self, name: str, shape: Shape) -> None:
        """A learned value."""
        self._emit(Parameter(f"{self.row}{name}", (), shape))

    def layer_norm(self, name: str) -> None:
        """Layer norm over the last axis."""
        self._emit(LayerNorm(f"{self.row}{name}.norm", (self.at,), self.shape, 1e-5))

    def select(self, name: str, index: int) -> None:
        """One token."""
        self._emit(Select(f"{self.row}{name}", (self.at,), self.shape[1:], index))

    def split_heads(self, name: str, value: Value, heads: int) -> Value:
        """A map or tokens as (heads, channels of one, length)."""
        source, shape = value
        channels, length = (shape[0], shape[1] * shape[2]) if len(shape) == 3 else (shape[1], shape[0])
        if channels % heads:
            raise self.refuse(f"{channels} channels cannot be split into {heads} heads.")
        split = (f"{self.row}{name}", (heads, channels // heads, length))
        self.nodes.append(SplitHeads(split[0], (source,), split[1]))
        return split

    def attend(
        self, name: str, query: Value, key: Value, value: Value, shape: Shape, *, factor: float = 1.0,
        like: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """softmax(q^T k / sqrt(d)) v of split heads, times `factor`, merged to `shape`; it flows on.

        `like` names a map of the height and width that the result gets, where it becomes one.

        A key and value of one head serve every head of the query (arXiv 1911.02150).
        """
        heads, inner, length = query[1]
        scores = (heads, length, key[1][2])
        prefix = f"{self.row}{name}"
        self._emit(
            MatrixProduct(f"{prefix}.scores", (query[0], key[0]), scores, inner, "first", inner**-0.5)
        )  # fmt: skip
        self._emit(Softmax(f"{prefix}.softmax", (self.at,), scores))
        weighed = (heads, value[1][1], length)
        self._emit(MatrixProduct(f"{prefix}.weighed", (value[0], self.at), weighed, key[1][2], "second", factor))
        self._emit(MergeHeads(f"{prefix}.merge", (self.at, *like), shape))


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
