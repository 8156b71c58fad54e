"""The tables of MobileNetV1, arXiv 1704.04861."""

from __future__ import annotations

import math

import pytest

from counting import Tables, counted, millions, row, rows
from mobilenets.costs.explain import Layer, explain
from mobilenets.table.nodes import Convolution


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
