"""The tables of MobileNetV3, arXiv 1905.02244."""

from __future__ import annotations

import math

import pytest

from counting import KIND, Tables, counted, last_convolution, millions, row, rows, weights_bias
from mobilenets.costs import cost
from mobilenets.costs.printed import printed
from mobilenets.table import scale
from mobilenets.zoo import network


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
