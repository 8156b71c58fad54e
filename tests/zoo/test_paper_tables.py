"""Exact grids and other libraries' counts, to the unit. The papers' own tables have a file each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from counting import KIND, Tables, counted, row, rows, weights_bias
from mobilenets.costs import cost
from mobilenets.table import Act, minimalistic, scale
from mobilenets.table.nodes import Convolution, FullyConnected
from mobilenets.table.rows import (
    Bottleneck,
    Conv,
)
from mobilenets.zoo import network

# ---------------------------------------------------------------- exact grids


@pytest.mark.parametrize("table", ["v3_grid_exact", "v1_v2_grid_exact"])
def test_grids(reference: Tables, table: str) -> None:
    kind = "kind" if table.startswith("v3") else "model"
    for r in rows(reference, table):
        c = counted(KIND[r[kind]], r["width"], r["resolution"])
        assert (c.macs, c.params, weights_bias(c), c.bn_channels) == (
            r["macs"], r["params_trainable"], r["weights_bias"], r["bn_channels"]
        ), r  # fmt: skip


@pytest.mark.parametrize(("table", "name"), [
    ("v2_conv_layers_exact", "mobilenet_v2"), ("v3_large_conv_layers_exact", "mobilenet_v3_large"),
    ("v3_small_conv_layers_exact", "mobilenet_v3_small"),
])  # fmt: skip
def test_convolution_by_convolution(reference: Tables, table: str, name: str) -> None:
    mine = [
        {"c_in": n.in_channels, "c_out": n.out_channels, "kernel": n.kernel, "stride": n.stride, "groups": n.groups,
         "out_width": n.shape[2], "weights": c.weights, "macs": c.macs}
        for c in counted(name).nodes
        if isinstance(n := c.node, Convolution) and not n.bias
    ]  # fmt: skip
    assert mine == [{k: v for k, v in r.items() if k != "i"} for r in rows(reference, table)]


def test_v1_layer_by_layer(reference: Tables) -> None:
    table = reference["v1_per_layer_exact"]
    c = counted("mobilenet_v1")
    mine = [n for n in c.nodes if isinstance(n.node, Convolution | FullyConnected)]
    assert len(mine) == len(table["rows"]) == 28
    for n, r in zip(mine, table["rows"], strict=True):
        assert (n.weights, n.multiplications, n.additions) == (r["weights"], r["mul"], r["add"]), r
        assert n.multiplications + n.additions == r["mul_plus_add"]
        if isinstance(n.node, Convolution):
            assert (n.node.in_channels, n.node.out_channels, n.node.kernel, n.node.stride, n.node.groups) == (
                r["c_in"], r["c_out"], r["kernel"], r["stride"], r["groups"]
            )  # fmt: skip
            assert n.output_shape[2] == r["out_width"]
    check = table["computed_check"]
    assert sum(n.weights for n in mine) == check["weights"]
    assert (c.multiplications, c.additions) == (check["mul"], check["add"])
    assert c.multiplications + c.additions == check["mul_plus_add"]


# ---------------------------------------------------------------- other libraries, to the unit


def test_torchvision(reference: Tables) -> None:
    ours = {"mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "alexnet", "vgg16", "googlenet"}
    names = {name: name for name in ours} | {"squeezenet1_0": "squeezenet"}
    names |= {f"quantized_{name}": name for name in ("mobilenet_v2", "mobilenet_v3_large")}
    seen = set()
    for r in rows(reference, "torchvision"):
        if r["model"] in names:
            c = counted(names[r["model"]])
            assert c.params == r["num_params"], r
            assert round(c.macs / 1e9, 3) == r["gflops_as_gmacs"], r
            seen.add(r["model"])
    assert seen == set(names)


TIMM = {
    "mobilenetv1_100": ("mobilenet_v1", 1.0), "mobilenetv1_125": ("mobilenet_v1", 1.25),
    "mobilenetv2_035": ("mobilenet_v2", 0.35), "mobilenetv2_075": ("mobilenet_v2", 0.75),
    "mobilenetv2_100": ("mobilenet_v2", 1.0), "mobilenetv2_140": ("mobilenet_v2", 1.4),
    "mobilenetv3_large_100": ("mobilenet_v3_large", 1.0), "mobilenetv3_small_075": ("mobilenet_v3_small", 0.75),
    "tf_mobilenetv3_large_075": ("mobilenet_v3_large", 0.75), "tf_mobilenetv3_large_100": ("mobilenet_v3_large", 1.0),
    "tf_mobilenetv3_small_075": ("mobilenet_v3_small", 0.75), "tf_mobilenetv3_small_100": ("mobilenet_v3_small", 1.0),
}  # fmt: skip


@pytest.mark.parametrize("model", TIMM)
def test_timm(reference: Tables, model: str) -> None:
    r = row(reference, "timm_counts", model=model)
    c = counted(*TIMM[model], resolution=r["input"])
    assert (c.params, 2 * c.bn_channels, c.macs) == (r["params"], r["bn_running_buffers"], r["macs_conv_linear_matmul"])


def test_timm_keeps_the_stem_below_075(reference: Tables) -> None:
    """timm and Keras do not narrow the stem of V3 below 0.75; the paper's counts are those of a narrowed one."""
    r = row(reference, "timm_counts", model="mobilenetv3_small_050")
    half = scale(network("mobilenet_v3_small"), 0.5)
    assert cost(half).params != r["params"]
    stem = (Conv(3, 16, Act.HSWISH, 2), Bottleneck(3, 16, 8, True, Act.RELU, 2))
    theirs = cost(replace(half, rows=(*stem, *half.rows[2:])))
    assert (theirs.params, 2 * theirs.bn_channels, theirs.macs) == (
        r["params"], r["bn_running_buffers"], r["macs_conv_linear_matmul"]
    )  # fmt: skip


KERAS = {
    "MobileNet(": "mobilenet_v1", "MobileNetV2(": "mobilenet_v2", "MobileNetV3Large(": "mobilenet_v3_large",
    "MobileNetV3Small(": "mobilenet_v3_small", "Xception": "xception",
}  # fmt: skip


def test_keras(reference: Tables) -> None:
    for r in rows(reference, "keras_counts"):
        name = next(name for start, name in KERAS.items() if r["model"].startswith(start))
        width = float(r["model"].partition("alpha=")[2].rstrip(")").partition(",")[0] or 1.0)
        net = scale(network(name), width)
        c = cost(minimalistic(net) if "minimalistic" in r["model"] else net)
        assert (c.params, 2 * c.bn_channels) == (r["trainable"], r["non_trainable"]), r
        assert c.params + 2 * c.bn_channels == r["total"]


def test_xception(reference: Tables) -> None:
    c = counted("xception")
    assert c.params == row(reference, "xception_results", model="Xception")["params"] == 22_855_952
    assert round(c.macs / 1e9, 2) == 8.36
