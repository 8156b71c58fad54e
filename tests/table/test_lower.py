"""Shapes, padding, dilation and names of nodes, against PyTorch's own arithmetic and the papers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.errors import MisuseError
from mobilenets.table import Act, Network, dilate, features, lower, round_channels, row_of, scale
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
    Scale,
    Select,
    Shuffle,
    Softmax,
    SplitHeads,
    WindowPool,
)
from mobilenets.table.rows import (
    Bottleneck,
    BranchedConv,
    Conv,
    FusedBottleneck,
    Linear,
    LiteBottleneck,
    MaxPool,
    MobileFormer,
    Pool,
    Row,
    Tokens,
    UniversalBottleneck,
    XceptionBlock,
)
from mobilenets.zoo import INDEX, network


def torchs(node: Node, inputs: list[Any]) -> Any:
    """What PyTorch makes of a node; tensors on the meta device hold shapes and no values."""
    import torch
    from torch.nn import functional as F

    x = inputs[0] if inputs else None
    match node:
        case Convolution():
            top, left, bottom, right = node.pads
            weight = torch.empty(
                node.out_channels, node.in_channels // node.groups, node.kernel, node.kernel, device="meta"
            )
            padded = F.pad(x, (left, right, top, bottom))
            return F.conv2d(padded, weight, None, node.stride, 0, node.dilation, node.groups)
        case WindowPool():
            pads = node.pads
            if len(set(pads)) == 1:
                return F.max_pool2d(x, node.kernel, node.stride, pads[0], ceil_mode=node.ceil)
            padded = F.pad(x, (pads[1], pads[3], pads[0], pads[2]))
            return F.max_pool2d(padded, node.kernel, node.stride, ceil_mode=node.ceil)
        case GlobalPool():
            return F.adaptive_avg_pool2d(x, 1)
        case Parameter():
            return torch.empty(1, *node.shape, device="meta")
        case Select():
            return x[:, node.token]
        case SplitHeads():
            heads, size, length = node.shape
            flat = x.flatten(2) if x.ndim == 4 else x.mT
            return flat.view(1, heads, size, length)
        case MergeHeads():
            return x.view(1, *node.shape) if len(node.shape) == 3 else x.flatten(1, 2).mT
        case MatrixProduct():
            a, b = (inputs[0].mT, inputs[1]) if node.transposed == "first" else (inputs[0], inputs[1].mT)
            assert a.shape[-1] == node.inner
            return a @ b
        case DynamicRelu():
            assert inputs[1].shape == (1, 2 * x.shape[1])
            return x
        case Flatten():
            return x.flatten(1)
        case FullyConnected():
            return F.linear(x, torch.empty(node.shape[-1], node.in_features, device="meta"))
        case Multiply():
            return inputs[0] * inputs[1]
        case Add():
            assert len({each.shape for each in inputs}) == 1
            return sum(inputs)
        case Concat():
            return torch.cat(inputs, 1)
        case BatchNorm() | Activation() | Scale() | Shuffle() | LayerNorm() | Softmax():
            return x


def assert_shapes_are_torchs(net: Network, *, training: bool = False) -> None:
    import torch

    values: dict[str, Any] = {INPUT: torch.empty(1, net.in_channels, net.resolution, net.resolution, device="meta")}
    for node in lower(net, training=training):
        values[node.name] = torchs(node, [values[name] for name in node.inputs])
        assert tuple(values[node.name].shape[1:]) == node.shape, node


def table(*rows: Row, resolution: int = 32, **fields: Any) -> Network:
    return Network("made", "none", rows, resolution=resolution, **fields)


@pytest.mark.parametrize("name", INDEX)
def test_every_shape_is_pytorchs(name: str) -> None:
    assert_shapes_are_torchs(INDEX[name])
    if lower(INDEX[name], training=True) != lower(INDEX[name]):
        assert_shapes_are_torchs(INDEX[name], training=True)


@pytest.mark.parametrize("resolution", [33, 97, 190, 225])
@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1",
        "mobilenet_v3_large",
        "mobilenet_v4_conv_small",
        "mobilenet_v4_hybrid_medium",
        "mobile_former_26m",
    ],
)
def test_shapes_at_odd_resolutions_and_both_paddings(name: str, padding: Any, resolution: int) -> None:
    net = replace(scale(network(name), 0.35, resolution), padding=padding)
    assert_shapes_are_torchs(net)
    assert_shapes_are_torchs(dilate(net, 8))


@settings(deadline=None)  # the first call imports torch
@given(
    kernel=st.integers(1, 7), stride=st.integers(1, 4), size=st.integers(7, 60), pad=st.integers(0, 3),
    ceil=st.booleans(),
)  # fmt: skip
def test_pooling_sizes_are_pytorchs(kernel: int, stride: int, size: int, pad: int, ceil: bool) -> None:
    pad = min(pad, kernel // 2)  # PyTorch refuses more
    assert_shapes_are_torchs(table(MaxPool(kernel, stride, pad, ceil), resolution=size))


@given(kernel=st.integers(1, 7), stride=st.integers(1, 4), size=st.integers(1, 60))
def test_same_padding_gives_ceil_of_size_over_stride(kernel: int, stride: int, size: int) -> None:
    conv = lower(table(Conv(kernel, 8, Act.RELU, stride), resolution=size, padding="same"))[0]
    assert isinstance(conv, Convolution)
    top, left, bottom, right = conv.pads
    assert conv.shape == (8, -(-size // stride), -(-size // stride))
    assert (top, bottom) == (left, right)
    assert 0 <= bottom - top <= 1, "the odd pixel is behind the image"


def test_same_padding_of_an_even_image_pads_only_behind() -> None:
    stem = lower(replace(network("mobilenet_v2"), padding="same"))[0]
    assert isinstance(stem, Convolution)
    assert stem.pads == (0, 0, 1, 1)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(("stride", "size"), [(32, 7), (16, 14), (8, 28), (4, 56)])
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"])
def test_output_stride_caps_the_features(name: str, stride: int, size: int, padding: Any) -> None:
    net = replace(dilate(network(name), stride), padding=padding)
    pools = [n for n in lower(net) if isinstance(n, GlobalPool)]
    source = {n.name: n.shape for n in lower(net)}[pools[-1].inputs[0]]
    assert source[1:] == (size, size)


def test_dilation_follows_deeplab() -> None:
    """The row whose stride is refused keeps the old rate; what follows is spread (DeepLabv3, section 3.1)."""
    nodes = lower(dilate(network("mobilenet_v2"), 16))
    depthwise = {row_of(n): n for n in nodes if isinstance(n, Convolution) and n.depthwise}
    assert (depthwise[15].stride, depthwise[15].dilation) == (1, 1)
    assert [depthwise[row].dilation for row in (16, 17, 18)] == [2, 2, 2]
    nodes = lower(dilate(network("mobilenet_v2"), 8))
    depthwise = {row_of(n): n for n in nodes if isinstance(n, Convolution) and n.depthwise}
    assert [depthwise[row].dilation for row in (8, 9, 14, 15, 16, 18)] == [1, 2, 2, 2, 4, 4]


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"])
def test_output_stride_changes_neither_residuals_nor_names(name: str) -> None:
    assert [n.name for n in lower(dilate(INDEX[name], 8))] == [n.name for n in lower(INDEX[name])]


def test_a_block_printed_with_stride_2_has_no_residual_when_dilated() -> None:
    net = table(
        Conv(3, 8, Act.RELU, 2), Bottleneck(3, 24, 8, False, Act.RELU, 2), Bottleneck(3, 24, 8, False, Act.RELU)
    )
    assert [n.name for n in lower(dilate(net, 2)) if isinstance(n, Add)] == ["row03.add"]


def test_receptive_field_is_kept_by_dilation() -> None:
    """A dilated network computes the strided one's features at every position: PyTorch's numbers on a 1-D walk."""
    import torch
    from torch.nn import functional as F

    x, w1, w2 = torch.randn(1, 1, 33), torch.randn(1, 1, 3), torch.randn(1, 1, 3)
    strided = F.conv1d(F.conv1d(x, w1, stride=2, padding=1), w2, padding=1)
    dilated = F.conv1d(F.conv1d(x, w1, padding=1), w2, padding=2, dilation=2)
    torch.testing.assert_close(dilated[..., ::2], strided)


@pytest.mark.parametrize("name", ["xception", "vgg16", "googlenet", "alexnet"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_pooling_whose_stride_is_refused_spreads_what_follows(name: str, output_stride: int) -> None:
    net = features(scale(network(name), resolution=256))
    spread = lower(replace(net, rows=(*net.rows, Conv(3, 8, Act.RELU)), output_stride=output_stride))
    kernels = [n for n in spread if isinstance(n, Convolution) and n.kernel > 1]
    assert kernels[-1].dilation == 32 // output_stride
    assert min(n.shape[-1] for n in kernels) > 128 // output_stride  # one stride more would leave that


def test_expansion_is_left_out_where_it_changes_nothing() -> None:
    names = [n.name for n in lower(network("mobilenet_v2")) if row_of(n) == 2]
    assert names[0] == "row02.depthwise.conv"
    assert not [n for n in names if "expand" in n or "add" in n]


def test_every_part_of_a_squeeze_excite_bottleneck() -> None:
    net = table(Conv(3, 16, Act.HSWISH, 2), Bottleneck(5, 64, 16, True, Act.HSWISH))
    assert [n.name.removeprefix("row02.") for n in lower(net) if row_of(n) == 2] == [
        "expand.conv", "expand.bn", "expand.act", "depthwise.conv", "depthwise.bn", "depthwise.act",
        "squeeze.pool", "squeeze.conv", "squeeze.act", "excite.conv", "excite.act", "excite.mul",
        "project.conv", "project.bn", "add",
    ]  # fmt: skip


@pytest.mark.parametrize("name", INDEX)
def test_names_are_unique_and_inputs_come_before(name: str) -> None:
    seen = {INPUT}
    for node in lower(INDEX[name]):
        assert node.name not in seen
        assert set(node.inputs) <= seen
        seen.add(node.name)


@pytest.mark.parametrize("name", INDEX)
def test_the_last_node_is_the_logits(name: str) -> None:
    assert lower(INDEX[name])[-1].shape[0] == 1000


@given(st.floats(1, 4000), st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_rounded_channels_never_lose_a_tenth(channels: float, divisor: int) -> None:
    rounded = round_channels(channels, divisor)
    assert rounded % divisor == 0
    assert rounded >= divisor
    if divisor > 1:
        assert rounded >= 0.9 * channels
        assert rounded <= max(divisor, channels + divisor)


@pytest.mark.parametrize(
    ("channels", "divisor", "rounded"), [(12, 8, 16), (11.2, 8, 16), (44.8, 8, 48), (20, 8, 24), (2.9, 1, 2)]
)
def test_rounding_by_hand(channels: float, divisor: int, rounded: int) -> None:
    assert round_channels(channels, divisor) == rounded


def test_too_small_a_resolution_names_row_kernel_and_size() -> None:
    net = table(Conv(3, 8, Act.RELU, 2), Conv(5, 8, Act.RELU), resolution=6, padding="valid")
    with pytest.raises(MisuseError, match=r"made: a 5x5 kernel in row02 does not fit an input of 2x2 pixels.*\(=6\)"):
        lower(net)
    with pytest.raises(MisuseError, match="a 3x3 pooling in row01 does not fit 2x2"):
        lower(table(MaxPool(3, 2), resolution=2))


def test_rows_that_cannot_follow_are_refused() -> None:
    with pytest.raises(MisuseError, match="Pool in row 2 follows a fully connected layer"):
        lower(table(Linear(10), Pool()))
    with pytest.raises(MisuseError, match="the Xception block in row01 has stride 1 and turns 3 channels into 8"):
        lower(table(XceptionBlock((8, 8), 1)))
    with pytest.raises(MisuseError, match="rows make nothing that runs"):
        lower(table())


def test_uneven_adaptive_pooling_is_refused() -> None:
    with pytest.raises(MisuseError, match="alexnet: 5x5 features do not pool evenly to 6x6 at resolution 192"):
        lower(scale(network("alexnet"), resolution=192))


def test_branches_are_there_in_training_only() -> None:
    net = table(BranchedConv(3, 3, Act.RELU, branches=2), Pool(), Linear(2))
    assert [n.name for n in lower(net) if row_of(n) == 1] == ["row01.conv.conv", "row01.conv.act"]
    trained = lower(net, training=True)
    assert [n.name.removeprefix("row01.conv.") for n in trained if row_of(n) == 1] == [
        "branch1.conv", "branch1.bn", "branch2.conv", "branch2.bn", "scale.conv", "scale.bn", "skip.bn", "sum", "act",
    ]  # fmt: skip
    (sum_,) = [n for n in trained if isinstance(n, Add)]
    assert len(sum_.inputs) == 4


def test_a_strided_branch_has_no_skip_and_strides_once() -> None:
    net = table(BranchedConv(3, 3, Act.RELU, 2), Conv(3, 4, Act.RELU, 2), output_stride=4)
    assert not [n for n in lower(net, training=True) if "skip" in n.name]
    assert lower(net, training=True)[-1].shape == lower(net)[-1].shape == (4, 8, 8)


@pytest.mark.parametrize(("start", "middle", "parts"), [
    (3, 5, ["start", "expand", "depthwise", "project"]), (None, 3, ["expand", "depthwise", "project"]),
    (3, None, ["start", "expand", "project"]), (None, None, ["expand", "project"]),
])  # fmt: skip
def test_universal_bottlenecks(start: int | None, middle: int | None, parts: list[str]) -> None:
    """V4, Figure 4: extra depthwise, inverted bottleneck, ConvNext-like, feed-forward."""
    net = table(Conv(3, 8, Act.RELU), UniversalBottleneck(start, middle, 32, 8, Act.RELU))
    convs = [n for n in lower(net) if isinstance(n, Convolution) and row_of(n) == 2]
    assert [n.name.split(".")[1] for n in convs] == parts
    assert lower(net)[-1].name == "row02.add"


def test_the_stride_sits_on_the_middle_depthwise_where_there_is_one() -> None:
    for start, middle, strided in ((5, 3, "depthwise"), (5, None, "start")):
        net = table(Conv(3, 8, Act.RELU), UniversalBottleneck(start, middle, 32, 8, Act.RELU, 2))
        assert [n.name for n in lower(net) if isinstance(n, Convolution) and n.stride == 2] == [f"row02.{strided}.conv"]
    with pytest.raises(MisuseError, match="row02: a universal bottleneck without depthwise convolution cannot"):
        lower(table(Conv(3, 8, Act.RELU), UniversalBottleneck(None, None, 32, 8, Act.RELU, 2)))


def test_keys_shrink_beside_the_network_not_in_it() -> None:
    """The stride of key and value is no stride of the network: an output stride must not refuse it."""
    net = dilate(INDEX["mobilenet_v4_hybrid_medium"], 8)
    plain = INDEX["mobilenet_v4_hybrid_medium"]
    down = [n for n in lower(net) if n.name.endswith("key.down.conv")]
    assert down and all(isinstance(n, Convolution) and n.stride == 2 for n in down)
    assert [n.name for n in lower(net)] == [n.name for n in lower(plain)]


def test_rows_of_the_second_stream_need_tokens() -> None:
    with pytest.raises(MisuseError, match="row02: there are no tokens: a Tokens row must come before"):
        lower(table(Conv(3, 8, Act.RELU), MobileFormer(3, 32, 8)))
    with pytest.raises(MisuseError, match="needs `expand2`"):
        lower(table(Tokens(2, 8), Conv(3, 8, Act.RELU), MobileFormer(3, 32, 8, 2)))
    with pytest.raises(MisuseError, match="expands 8 channels to a multiple of them, not 20"):
        lower(table(Conv(3, 8, Act.RELU), LiteBottleneck(3, 20, 8, Act.RELU)))
    with pytest.raises(MisuseError, match="9 channels cannot be split into 2 heads"):
        lower(table(Tokens(2, 8), Conv(3, 9, Act.RELU), MobileFormer(3, 36, 9)))
    with pytest.raises(MisuseError, match="8 input and 20 output channels cannot be split into 3 groups"):
        lower(table(Conv(3, 8, Act.RELU), FusedBottleneck(3, 20, 8, Act.RELU, groups=3)))
