"""The tables of MobileNetV2, arXiv 1801.04381."""

from __future__ import annotations

import math

import pytest

from counting import Tables, counted, millions, row, rows, weights_bias
from mobilenets.costs.printed import grouped
from mobilenets.table.rows import (
    Bottleneck,
)


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
