"""Every count that the papers, their authors and other libraries print, against ours; misprints are tested as such."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from counting import Tables, counted, millions, row, rows
from mobilenets.costs import Cost, cost
from mobilenets.costs.explain import Layer, explain
from mobilenets.costs.printed import grouped, printed
from mobilenets.table import Act, Network, minimalistic, scale
from mobilenets.table.nodes import Convolution, FullyConnected
from mobilenets.table.rows import (
    Bottleneck,
    Conv,
)
from mobilenets.zoo import network

KIND = {"large": "mobilenet_v3_large", "small": "mobilenet_v3_small", "v1": "mobilenet_v1", "v2": "mobilenet_v2",
        "v1-shallow": "mobilenet_v1_shallow"}  # fmt: skip


def weights_bias(c: Cost) -> int:
    return c.params - 2 * c.bn_channels


def last_convolution(net: Network, out: int) -> Network:
    at, last = [(i, r) for i, r in enumerate(net.rows) if isinstance(r, Conv)][-1]
    wide = replace(last, out=out)
    return replace(net, rows=(*net.rows[:at], wide, *net.rows[at + 1 :]))


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


# ---------------------------------------------------------------- MobileNetV1, arXiv 1704.04861


def test_v1_table1_and_its_misprint(reference: Tables) -> None:
    table = reference["v1_table1"]
    expected = [r for r in table["rows"] for _ in range(r["repeat"]) if r["type"] in ("Conv", "Conv dw")]
    # rows 14 and 15 repeat five times together: dw, conv, dw, conv ...
    at = next(i for i, r in enumerate(expected) if r["row"] == 14)
    expected[at : at + 10] = [
        r for pair in zip(expected[at : at + 5], expected[at + 5 : at + 10], strict=True) for r in pair
    ]
    c = counted("mobilenet_v1")
    mine = [n.node for n in c.nodes if isinstance(n.node, Convolution)]
    shapes = [(3, 224, 224), *(n.shape for n in mine)]
    assert len(mine) == len(expected) == 27
    for n, (channels, height, width), r in zip(mine, shapes, expected, strict=False):
        assert [height, width, channels] == r["input_size"], r
        kernel, _, _, last = r["filter_shape"]
        assert (n.kernel, n.depthwise) == (kernel, last == "dw")
        assert r["row"] == 18 or n.stride == int(r["stride"]), r
    slip = row(reference, "v1_table1", row=18)
    assert slip["stride"] == "2", "the print"
    assert mine[25].stride == 1, "what its own input sizes say"
    assert "stride 2" in c.network.errata
    assert (c.macs, c.params) == (table["computed_check"]["macs"], table["computed_check"]["params_trainable"])


def test_v1_table2_and_its_misprint(reference: Tables) -> None:
    names = {
        "pointwise": "Conv 1x1",
        "depthwise 3x3": "Conv DW 3x3",
        "conv 3x3": "Conv 3x3",
        "linear": "Fully Connected",
    }
    shares = counted("mobilenet_v1").shares()
    for share in shares:
        r = row(reference, "v1_table2", type=names[share.op])
        check = reference["v1_table2"]["computed_check"][names[share.op]]
        assert share.macs_percent == pytest.approx(check["mult_adds_pct"], abs=1e-4)
        assert share.params_percent == pytest.approx(check["params_pct"], abs=1e-4)
        assert round(share.params_percent, 2) == r["params_pct"]
        if share.op != "conv 3x3":
            assert round(share.macs_percent, 2) == r["mult_adds_pct"]
    misprint = row(reference, "v1_table2", type="Conv 3x3")["mult_adds_pct"]
    assert misprint == 1.19
    assert round(next(s for s in shares if s.op == "conv 3x3").macs_percent, 2) == 1.91
    assert len(shares) == 4


@pytest.mark.parametrize(("modification", "layer", "kind"), [
    ("Convolution", Layer(3, 512, 512, 14), "standard"),
    ("Depthwise Separable Conv", Layer(3, 512, 512, 14), "separable"),
    ("alpha=0.75", Layer(3, 384, 384, 14), "separable"), ("rho=0.714", Layer(3, 384, 384, 10), "separable"),
])  # fmt: skip
def test_v1_table3(reference: Tables, modification: str, layer: Layer, kind: str) -> None:
    r = row(reference, "v1_table3", modification=modification)
    found = next(k for k in explain(layer).kinds if k.name == kind)
    assert [found.multiplications, found.params] == reference["v1_table3"]["computed_check"][modification]
    assert millions(found.multiplications) == pytest.approx(r["million_mult_adds"], rel=0.01)
    assert millions(found.params) == pytest.approx(r["million_params"], abs=0.005)


def test_v1_table4_leaves_the_classifier_out(reference: Tables) -> None:
    full, check = counted("mobilenet_v1_full"), reference["v1_table4"]["computed_check"]["Conv MobileNet"]
    assert (full.macs, full.params) == (check["macs"], check["params"])
    assert full.macs - 1_024_000 == check["macs_without_fc"]
    r = row(reference, "v1_table4", model="Conv MobileNet")
    assert r["million_mult_adds"] == 4866 == round(millions(check["macs_without_fc"])) != round(millions(full.macs))
    assert round(millions(full.params), 1) == r["million_params"]
    assert "leave the classifier" in full.network.errata


def test_v1_table5(reference: Tables) -> None:
    for name, c in (
        ("0.75 MobileNet", counted("mobilenet_v1", 0.75)),
        ("Shallow MobileNet", counted("mobilenet_v1_shallow")),
    ):
        check, r = reference["v1_table5"]["computed_check"][name], row(reference, "v1_table5", model=name)
        assert (c.macs, c.params) == (check["macs"], check["params"])
        assert (round(millions(c.macs)), round(millions(c.params), 1)) == (r["million_mult_adds"], r["million_params"])


@pytest.mark.parametrize("table", ["v1_table6", "v1_table7"])
def test_v1_tables_6_and_7(reference: Tables, table: str) -> None:
    for r in rows(reference, table):
        c = counted("mobilenet_v1", r["width"], r["resolution"])
        assert r["million_mult_adds"] in (round(millions(c.macs)), math.floor(millions(c.macs))), r
        assert round(millions(c.params), 1) == r["million_params"], r


@pytest.mark.parametrize(("table", "model", "name", "macs_m", "params_m"), [
    ("v1_table8", "GoogleNet", "googlenet", 1498, 6.6), ("v1_table8", "VGG 16", "vgg16", 15470, 138.4),
    ("v1_table9", "Squeezenet", "squeezenet", 819, 1.2), ("v1_table9", "AlexNet", "alexnet", 714, 61.1),
])  # fmt: skip
def test_v1_tables_8_and_9_misprint_the_others(
    reference: Tables, table: str, model: str, name: str, macs_m: int, params_m: float
) -> None:
    c, r = counted(name), row(reference, table, model=model)
    assert (round(millions(c.macs)), round(millions(c.params), 1)) == (macs_m, params_m)
    assert round(millions(c.macs)) != r["million_mult_adds"]
    assert f"{r['million_mult_adds']} M" in c.network.errata, "the errata name the printed value"


def test_v1_table9_small_mobilenet(reference: Tables) -> None:
    c, r = counted("mobilenet_v1", 0.5, 160), row(reference, "v1_table9", model="0.50 MobileNet-160")
    assert math.floor(millions(c.macs)) == r["million_mult_adds"]
    assert millions(c.params) == pytest.approx(r["million_params"], abs=0.012)


def test_v1_table10_with_120_classes(reference: Tables) -> None:
    check = reference["v1_table10"]["computed_check"]
    assert counted("mobilenet_v1", classes=120).params == check["1.0 with 120 classes params"]
    assert counted("mobilenet_v1", 0.75, classes=120).params == check["0.75 with 120 classes params"]
    assert counted("mobilenet_v1", 0.75, 192).macs == check["0.75@192 macs (1000 classes)"]


def test_slim_v1(reference: Tables) -> None:
    wrong = 0
    for r in rows(reference, "slim_mobilenet_v1"):
        c = counted("mobilenet_v1", r["width"], r["resolution"])
        assert (c.macs, c.params) == (r["computed_macs"], r["computed_params_trainable_1000"]), r
        slim = counted("mobilenet_v1", r["width"], r["resolution"], classes=1001)
        assert slim.params + slim.bn_channels == r["computed_slim_vars_1001_3bn"], "three vectors a batch norm"
        assert round(millions(slim.params + slim.bn_channels), 2) == r["million_params"]
        if abs(millions(c.macs) - r["million_macs"]) > 1:
            wrong += 1
            assert r["width"] == 0.75 or (r["width"], r["resolution"]) == (0.25, 192), r
    assert wrong == 5, "the four rows of 0.75 and 0.25 @192 are misprints"


# ---------------------------------------------------------------- MobileNetV2, arXiv 1801.04381


def test_v2_table2(reference: Tables) -> None:
    c = counted("mobilenet_v2")
    lines = [line for line, _ in grouped(c.rows)]
    table = reference["v2_table2"]
    assert len(lines) == len(table["rows"])
    for line, r in zip(lines, table["rows"], strict=True):
        assert line.input == "x".join(map(str, r["input"]))
        assert line.t == ("-" if r["t"] is None else str(r["t"]))
        if r["c"] not in (None, "k"):
            assert (line.out, line.n, line.s) == (str(r["c"]), str(r["n"]), str(r["s"]))
    bottlenecks = sum(isinstance(r, Bottleneck) for r in c.network.rows)
    check = table["computed_check"]
    assert (bottlenecks, c.macs, c.params, weights_bias(c)) == (
        check["bottlenecks"], check["macs"], check["params_trainable"], check["params_weights_and_bias_only"]
    )  # fmt: skip
    assert "19 bottlenecks" in c.network.errata


def _largest(name: str) -> dict[int, int]:
    """Most channels that a row writes at every resolution; the stem's are not among the paper's."""
    most: dict[int, int] = {}
    for r in counted(name).rows[1:]:
        if len(r.output_shape) == 3:
            size = r.output_shape[1]
            most[size] = max(most.get(size, 0), r.output_shape[0])
    return most


def test_v2_table3_and_its_misprints(reference: Tables) -> None:
    check = reference["v2_table3"]["computed_check"]["bytes"]
    v1, v2 = _largest("mobilenet_v1"), _largest("mobilenet_v2")
    for size in (112, 56, 28, 14, 7):
        printed_v1, printed_v2 = (
            tuple(map(int, row(reference, "v2_table3", size=f"{size}x{size}")[f"mobilenet_{v}"].split("/")))
            for v in ("v1", "v2")
        )
        assert v1[size] == printed_v1[0]
        assert 2 * size**2 * v1[size] == check[f"v1_{size}"], "16-bit"
        if size != 7:
            assert check[f"v1_{size}"] / 1000 == pytest.approx(printed_v1[1], rel=0.01)
        assert 2 * size**2 * printed_v2[0] / 1000 == pytest.approx(printed_v2[1], rel=0.03)
    assert row(reference, "v2_table3", size="7x7")["mobilenet_v1"] == "1024/199", "100 kB are right"
    assert check["v1_7"] == 100_352
    # at 56, 28 and 14 the channels of the stage after are printed
    assert {size: v2[size] for size in (112, 56, 28, 14, 7)} == {112: 16, 56: 24, 28: 32, 14: 96, 7: 1280}


def test_v2_table4_and_its_misprint(reference: Tables) -> None:
    check = reference["v2_table4"]["computed_check"]
    one, wide = counted("mobilenet_v2"), counted("mobilenet_v2", 1.4)
    assert (one.macs, one.params) == (check["v2_1_0"]["macs"], check["v2_1_0"]["params"])
    assert (wide.macs, wide.params) == (check["v2_1_4"]["macs"], check["v2_1_4"]["params"])
    r = row(reference, "v2_table4", network="MobileNetV2")
    assert math.floor(millions(one.macs)) == r["million_madds"]
    assert math.floor(10 * millions(weights_bias(one))) / 10 == r["million_params"]
    misprint = row(reference, "v2_table4", network="MobileNetV2 (1.4)")
    assert (misprint["million_params"], misprint["million_madds"]) == (6.9, 585)
    assert (round(millions(wide.params), 2), round(millions(wide.macs))) == (6.11, 582)
    assert "6.9 M" in one.network.errata
    assert (
        row(reference, "v2_table4", network="MobileNetV1")["million_madds"]
        == 575
        != round(millions(counted("mobilenet_v1").macs))
    )


def test_slim_v2(reference: Tables) -> None:
    for r in rows(reference, "slim_mobilenet_v2"):
        c = counted("mobilenet_v2", r["width"], r["resolution"])
        assert (c.macs, c.params, weights_bias(c)) == (
            r["computed_macs"], r["computed_params_trainable"], r["computed_params_no_bn"]
        ), r  # fmt: skip
        assert math.floor(millions(c.macs)) == r["million_macs"], r
        assert round(millions(weights_bias(c)), 2) == r["million_params"], r


# ---------------------------------------------------------------- MobileNetV3, arXiv 1905.02244


@pytest.mark.parametrize(("table", "name", "ticked"), [
    ("v3_table1_large", "mobilenet_v3_large", None), ("v3_table2_small", "mobilenet_v3_small", 13),
])  # fmt: skip
def test_v3_tables_1_and_2(reference: Tables, table: str, name: str, ticked: int | None) -> None:
    lines = printed(network(name))
    assert len(lines) == len(reference[table]["rows"])
    for line, r in zip(lines, reference[table]["rows"], strict=True):
        assert line.input == "x".join(map(str, r["input"]))
        assert line.exp == ("-" if r["exp_size"] is None else str(r["exp_size"]))
        assert line.nl == (r["NL"] or "-")
        if r["out"] == "k":
            assert (line.operator, line.out) == ("fc", "1000")
            continue
        assert line.operator == {
            "conv2d": "conv2d {k}x{k}", "bneck": "bneck {k}x{k}", "pool": "pool {k}x{k}",
            "conv2d NBN": "conv2d {k}x{k}, NBN",
        }[r["operator"]].format(k=r["kernel"])  # fmt: skip
        assert line.out == ("-" if r["out"] is None else str(r["out"]))
        if r["operator"] != "pool":
            assert line.s == str(r["s"])
        if r["row"] == ticked:
            assert r["SE"], "the print"
            assert line.se == "-", "every implementation, and the printed parameters"
        else:
            assert line.se == ("√" if r["SE"] else "-")
    c, check = counted(name), reference[table]["computed_check"]
    assert (c.macs, c.params) == (check["macs"], check["params_trainable"])


def test_v3_small_with_the_last_convolution_of_a_middle_text(reference: Tables) -> None:
    small = network("mobilenet_v3_small")
    assert (
        cost(last_convolution(small, 1280)).params == reference["v3_table2_small"]["computed_check"]["params_if_1280"]
    )
    for r in rows(reference, "v3_table9_first_version", kind="small"):
        if r["width"] <= 1.0:
            wide = cost(last_convolution(scale(small, r["width"], r["resolution"]), 1280))
            assert millions(wide.params) == pytest.approx(r["million_params"], abs=0.051), r
    assert "1024 is built" in small.errata


@pytest.mark.parametrize(("key", "name", "width"), [
    ("large_1_0", "mobilenet_v3_large", 1.0), ("large_0_75", "mobilenet_v3_large", 0.75),
    ("small_1_0", "mobilenet_v3_small", 1.0), ("small_0_75", "mobilenet_v3_small", 0.75),
])  # fmt: skip
def test_v3_table3(reference: Tables, key: str, name: str, width: float) -> None:
    c, check = counted(name, width), reference["v3_table3"]["computed_check"][key]
    assert (weights_bias(c), c.bn_channels, c.params, c.params + 2 * c.bn_channels, c.macs) == (
        check["weights_bias"], check["bn_channels"], check["params"], check["params_with_running"], check["macs"]
    )  # fmt: skip
    label = f"V3-{'Large' if 'large' in name else 'Small'} {width}"
    r = row(reference, "v3_table3", network=label)
    assert millions(c.params) == pytest.approx(r["million_params"], abs=0.1)
    if key == "large_1_0":
        assert r["million_madds"] == 219, "the print; Table 9 has 217"
        assert round(millions(c.macs), 1) == 216.6
        assert "219 M" in c.network.errata
    else:
        assert millions(c.macs) == pytest.approx(r["million_madds"], abs=1)


def test_v3_table3_v2_rows(reference: Tables) -> None:
    for width, label in ((1.0, "V2 1.0"), (0.35, "V2 0.35")):
        c, r = counted("mobilenet_v2", width), row(reference, "v3_table3", network=label)
        assert millions(c.macs) == pytest.approx(r["million_madds"], abs=1)
        assert math.floor(10 * millions(weights_bias(c))) / 10 == r["million_params"], "cut off, without batch norm"


def test_v3_table9(reference: Tables) -> None:
    for r in rows(reference, "v3_table9"):
        c = counted(KIND[r["kind"]], r["width"], r["resolution"])
        assert (c.macs, c.params) == (r["computed_macs"], r["computed_params"]), r
        assert millions(c.macs) == pytest.approx(r["million_madds"], abs=1), r
        if (r["kind"], r["width"]) == ("large", 1.25):
            assert r["million_params"] == 7.5, "the print is that of an unscaled last convolution"
            assert round(millions(c.params), 2) == 8.26
            assert round(millions(cost(last_convolution(c.network, 1280)).params), 2) == 7.55
        else:
            assert millions(c.params) == pytest.approx(r["million_params"], abs=0.1), r


def test_v3_small_192_of_the_first_text(reference: Tables) -> None:
    r = row(reference, "v3_table9_first_version", kind="small", width=1.0, resolution=192)
    assert round(millions(counted("mobilenet_v3_small", 1.0, 192).macs)) == r["million_madds"] == 42


def test_slim_v3(reference: Tables) -> None:
    for r in rows(reference, "slim_mobilenet_v3"):
        size, width = ("large" if r["model"].startswith("Large") else "small"), 0.75 if "0.75" in r["model"] else 1.0
        plain = "_minimalistic" if "minimalistic" in r["model"] else ""
        c = counted(KIND[size] + plain, width)
        assert (c.macs, c.params) == (r["computed_macs"], r["computed_params"]), r
        if size == "large":
            assert millions(c.macs) == pytest.approx(r["million_macs"], abs=1)
            assert millions(c.params) == pytest.approx(r["million_params"], abs=0.1)
        elif width == 1.0:
            assert millions(c.macs) < r["million_macs"] - 8, "printed for an older last convolution"
    assert "65 M" in network("mobilenet_v3_small_minimalistic").errata


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
