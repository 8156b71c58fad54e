"""The verbs that read tables: list, show, cost, compare, explain."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mobilenets.cli import _run
from mobilenets.costs import cost
from mobilenets.table import scale
from mobilenets.table.json import dumps
from mobilenets.zoo import INDEX, network


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _run(list(arguments)) == 0
    return capsys.readouterr().out


def ran_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(ran(capsys, *arguments, "--json"))
    return result


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _run(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == "", "nothing but results goes to stdout"
    return captured.err


@pytest.mark.parametrize("name", INDEX)
def test_show_prints_every_network(capsys: pytest.CaptureFixture[str], name: str) -> None:
    out = ran(capsys, "show", name)
    assert f"{cost(INDEX[name]).params:,} params" in out
    assert "macs: one multiply and one add" in out


def test_show_gives_v3s_table_back(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ran_json(capsys, "show", "mobilenet_v3_large")["rows"]
    keys = ("input", "operator", "exp", "out", "se", "nl", "s")
    assert tuple(rows[4][key] for key in keys) == ("56x56x24", "bneck 5x5", "72", "40", "√", "RE", "2")
    assert tuple(rows[18][key] for key in keys) == ("1x1x960", "conv2d 1x1, NBN", "-", "1280", "-", "HS", "1")


def test_show_groups_as_v2_does(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ran_json(capsys, "show", "mobilenet_v2", "--group")["rows"]
    assert [(r["t"], r["out"], r["n"], r["s"]) for r in rows[1:8]] == [
        ("1", "16", "1", "1"), ("6", "24", "2", "2"), ("6", "32", "3", "2"), ("6", "64", "4", "2"),
        ("6", "96", "3", "1"), ("6", "160", "3", "2"), ("6", "320", "1", "1"),
    ]  # fmt: skip
    assert sum(r["macs"] for r in rows) == 300_774_272


def test_show_transforms(capsys: pytest.CaptureFixture[str]) -> None:
    result = ran_json(
        capsys, "show", "mobilenet_v3_small", "--width", "0.5", "--resolution", "160", "--classes", "7",
        "--minimalistic", "--output-stride", "16",
    )  # fmt: skip
    assert (result["width"], result["resolution"], result["classes"], result["output_stride"]) == (0.5, 160, 7, 16)
    assert {r["se"] for r in result["rows"]} == {"-"}
    assert max(r["dilation"] for r in result["rows"]) == 2
    assert "becomes dilation" in ran(capsys, "show", "mobilenet_v2", "--output-stride", "8")


def test_cost_json(capsys: pytest.CaptureFixture[str]) -> None:
    result = ran_json(capsys, "cost", "mobilenet_v3_large", "--width", "0.75", "--resolution", "192")
    c = cost(scale(network("mobilenet_v3_large"), 0.75, 192))
    assert result["params"] == 3_993_528
    assert (result["macs"], result["multiplications"], result["additions"]) == (c.macs, c.macs, c.additions)
    assert [result[f"weight_bytes{p}"] for p in ("", "_fp16", "_int8")] == [4 * c.params, 2 * c.params, c.params]
    assert result["peak_activation_bytes"] == 4 * c.peak.values <= result["peak_activation_bytes_not_in_place"]
    assert result["peak_activation_at"] == c.peak.at
    assert {"op", "macs_percent", "params_percent"} == set(result["shares"][0])
    assert set(result["layers"][0]) == {
        "name", "row", "op", "output_shape", "params", "macs", "multiplications", "additions",
        "weight_bytes", "weight_bytes_fp16", "weight_bytes_int8",
        "activation_bytes", "activation_bytes_fp16", "activation_bytes_int8",
    }  # fmt: skip
    assert [layer["name"] for layer in result["layers"]] == [n.name for n in c.nodes]


@pytest.mark.parametrize("by", ["node", "row"])
def test_cost_layers_sum_to_the_whole_in_json_and_csv(capsys: pytest.CaptureFixture[str], by: str) -> None:
    layers = ran_json(capsys, "cost", "mobilenet_v2", "--by", by)["layers"]
    table = list(csv.DictReader(io.StringIO(ran(capsys, "cost", "mobilenet_v2", "--by", by, "--csv"))))
    assert [row["name"] for row in table] == [layer["name"] for layer in layers]
    for key, whole in (("params", 3_504_872), ("macs", 300_774_272), ("weight_bytes", 4 * 3_504_872)):
        assert sum(layer[key] for layer in layers) == sum(int(row[key]) for row in table) == whole


def test_cost_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    out = ran(capsys, "cost", "mobilenet_v1", "--by", "row")
    assert "568,740,352 macs" in out
    assert "94.86" in out


def test_json_and_csv_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "`--json` and `--csv` were both given" in refused(capsys, "cost", "mobilenet_v1", "--json", "--csv")


def test_a_table_file_is_a_network(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(dumps(scale(network("mobilenet_v2"), 0.5)))
    assert ran_json(capsys, "cost", str(path))["params"] == 1_968_680
    assert ran_json(capsys, "compare", str(path))["networks"][0]["published_top1"] == 65.4


@pytest.mark.parametrize("verb", ["show", "cost", "compare"])
def test_wrong_names_offer_near_ones(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert "Did you mean mobilenet_v3_large" in refused(capsys, verb, "mobilnet_v3_larg")


@pytest.mark.parametrize(("arguments", "message"), [
    (("cost", "mobilenet_v2", "--width", "0"), "`width` (=0.0) must be above 0"),
    (("cost", "mobilenet_v2", "--resolution", "9999"), "must be between 1 and 4096"),
    (("cost", "mobilenet_v2", "--classes", "0"), "`classes` (=0) must be at least 1"),
    (("cost", "mobilenet_v2", "--by", "block"), "--by"),
    (("cost", "absent.json"), "cannot read the table absent.json"),
    (("cost", "mobilenet_v2", "--widht", "0.5"), "--widht"),
    (("show", "mobilenet_v2", "--output-stride", "12"), "must be a power of two"),
    (("compare",), "name the networks to compare"),
    (("compare", "alexnet", "--resolution", "100"), "do not pool evenly to 6x6 at resolution 100"),
    (("compare", "mobilenet_v2", "--plot", "a.txt"), "pictures are written as .png, .svg, .pdf"),
    (("explain", "--kernel", "7"), "`kernel` (=7) does not fit"),
    (("explain", "--size", "0"), "`size` (=0) must be between"),
    (("explain", "--row", "3"), "name it, such as --network mobilenet_v1"),
    (("explain", "--network", "mobilenet_v1"), "which row of mobilenet_v1?"),
    (("explain", "--network", "mobilenet_v1", "--row", "2", "--size", "8"), "--size and --network were both given"),
])  # fmt: skip
def test_misuse_is_told_in_a_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    error = refused(capsys, *arguments)
    assert message in error.replace("\n", " ")
    assert "Traceback" not in error


def test_compare_takes_wildcards_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = ran_json(capsys, "compare", "mobilenet_v1", "mobilenet_v*")["networks"]
    names = [n["network"] for n in found]
    assert names[0] == "mobilenet_v1"
    assert len(names) == len(set(names)) == 13
    assert found[0]["published_top1"] == 70.9
    assert "75.2" in ran(capsys, "compare", "*large")


def test_compare_says_nothing_published_of_a_changed_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(dumps(network("mobilenet_v2")).replace('"expand": 960', '"expand": 800'))
    assert ran_json(capsys, "compare", str(path))["networks"][0]["published_top1"] is None
    assert ran_json(capsys, "compare", "mobilenet_v2", "--width", "0.6")["networks"][0]["published_top1"] is None


def test_the_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "compare.png"
    result = ran_json(capsys, "compare", "mobilenet_v3_small", "mobilenet_v4_conv_small", "--plot", str(path))
    assert result["plot"] == str(path)
    assert all(line["latency_p90_ms"] >= line["latency_ms"] > 0 for line in result["networks"])
    with Image.open(path) as picture:
        assert picture.size == (1540, 770)
    assert [p.name for p in tmp_path.iterdir()] == ["compare.png"], "no temporary file stays"


def test_latency_is_measured_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran_json(capsys, "compare", "mobilenet_v3_small")["networks"][0]["latency_ms"] is None
    assert "1 thread" in ran(capsys, "compare", "mobilenet_v3_small", "--resolution", "96", "--latency")


def test_nothing_published_is_no_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error = refused(capsys, "compare", "dense_mobilenet_16", "--plot", str(tmp_path / "a.png"))
    assert "none of these networks has a published accuracy" in error
    assert not list(tmp_path.iterdir())


def test_the_labels_of_the_picture_do_not_overlap() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation, Text

    from mobilenets.cli.compare_plot import Point, _draw, _place
    from mobilenets.costs import cost
    from mobilenets.zoo.published import top1

    figure = Figure(figsize=(14, 7), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)[0]
    points = []
    for name, net in INDEX.items():
        accuracy = top1(name, 1.0, net.resolution)
        if accuracy is not None:
            points.append(Point(name, cost(net).macs / 1e6, 1.0, accuracy))
    wanted = _draw(axes, points, lambda p: p.macs_m, "macs")
    figure.draw_without_rendering()
    _place(axes, wanted)
    labels = [child for child in axes.get_children() if isinstance(child, Annotation)]
    boxes = []
    for label in labels:
        label.get_window_extent()
        boxes.append(Text.get_window_extent(label))
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert {label.get_text() for label in labels} >= {"vgg16", "xception", "small_minimalistic", "hybrid_large"}
    assert len(labels) > 30


def test_explain_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    result = ran_json(capsys, "explain")
    counts = {name: kind["multiplications"] for name, kind in result["kinds"].items()}
    assert counts == {"standard": 2160, "depthwise": 432, "pointwise": 240, "separable": 672}
    assert result["ratio"]["exact"] == result["ratio"]["measured"] == "14/45"
    assert "2,160" in ran(capsys, "explain")


def test_explain_a_row_of_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    result = ran_json(capsys, "explain", "--network", "mobilenet_v1", "--row", "8")
    assert result["kinds"]["separable"]["multiplications"] == 52_283_392, "V1, Table 3"
    assert "row08.depthwise.conv" in ran(capsys, "explain", "--network", "mobilenet_v1", "--row", "8")


def test_explain_says_when_nothing_is_saved(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing is saved" in ran(capsys, "explain", "--kernel", "1")


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(ran_json(capsys, "list", "*v3*")["networks"]) == 4


def test_heads_are_named_before_their_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ran_json(capsys, "show", "ssdlite_mobilenet_v2", "--classes", "3")
    assert (shown["network"], shown["classes"], shown["resolution"]) == ("ssdlite_mobilenet_v2", 3, 320)
    assert shown["rows"][-1]["operator"] == "boxes dw 3x3 + 1x1, 3+6+6+6+6+6 anchors"
    counted = ran_json(capsys, "cost", "lraspp_mobilenet_v3_large", "--reduced-tail", "--classes", "19")
    assert counted["params"] == 1_746_878
    listed = ran_json(capsys, "list", "deeplabv3_*v2")["networks"]
    assert [net["name"] for net in listed] == ["deeplabv3_mobilenet_v2"]
    assert "21 classes of pixels" in ran(capsys, "list", "deeplabv3_*v2")
    assert "Did you mean ssdlite_mobilenet" in refused(capsys, "cost", "ssdlite_mobilenet_v9")
