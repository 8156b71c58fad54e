"""The roofline's arithmetic by hand, its kernels against the deployed ones, its ceilings on a real machine."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from mobilenets.cli import _run, roofline_plot
from mobilenets.costs import cost
from mobilenets.costs.roofline import Ceilings, roofline
from mobilenets.latency.ceilings import measure_ceilings
from mobilenets.latency.table import kernels
from mobilenets.table import scale
from mobilenets.zoo import INDEX

ROUND = Ceilings(100.0, 10.0, 50.0, 1, "a machine", "a runtime")
"""100 G operations and 10 GB a second: the ridge lies at 10 operations a byte."""


def test_a_depthwise_and_a_pointwise_convolution_by_hand() -> None:
    pieces = {p.name: p for p in roofline(cost(INDEX["mobilenet_v1"]), ROUND).pieces}
    depthwise, pointwise = pieces["row02.depthwise.conv"], pieces["row02.pointwise.conv"]
    map_in, map_out = 32 * 112 * 112, 64 * 112 * 112
    assert depthwise.macs == 9 * map_in
    assert depthwise.operations == 2 * 9 * map_in + map_in, "the ReLU runs inside"
    assert depthwise.bytes == 4 * (2 * map_in + 9 * 32 + 32), "in, out, weights, and the bias that batch norm becomes"
    assert (depthwise.kind, depthwise.bound) == ("depthwise", "memory")
    assert depthwise.attainable_ms == pytest.approx(depthwise.bytes / 10e9 * 1e3)
    assert pointwise.operations == 2 * 32 * map_out + map_out
    assert pointwise.bytes == 4 * (map_in + map_out + 32 * 64 + 64)
    assert (pointwise.kind, pointwise.bound) == ("pointwise", "compute")
    assert pointwise.intensity == pytest.approx(pointwise.operations / pointwise.bytes) and pointwise.intensity > 10
    assert pointwise.attainable_ms == pytest.approx(pointwise.operations / 100e9 * 1e3)
    assert pieces["preprocess"].bytes == 3 * 224 * 224 * 5, "a byte in, a float out"


@pytest.mark.parametrize("name", INDEX)
def test_kernels_are_those_that_are_deployed(name: str) -> None:
    network = INDEX[name]
    counted = cost(network)
    found = roofline(counted, ROUND)
    assert {piece.name for piece in found.pieces} == set(kernels(network))
    assert sum(piece.macs for piece in found.pieces) == counted.macs
    values = network.in_channels * network.resolution**2
    whole = 2 * counted.macs + counted.elementwise + 2 * values
    assert sum(piece.operations for piece in found.pieces) == whole, "no operation is lost, none counted twice"
    assert sum(piece.share for piece in found.pieces) == pytest.approx(1)
    assert found.bound_share("compute") + found.bound_share("memory") == pytest.approx(1)
    assert all(piece.bytes > 0 and math.isfinite(piece.attainable_ms) for piece in found.pieces)


def test_higher_ceilings_never_cost_time() -> None:
    counted = cost(INDEX["mobilenet_v3_small"])
    base = roofline(counted, ROUND)
    faster = roofline(counted, Ceilings(200.0, 10.0, 50.0, 1, "", ""))
    wider = roofline(counted, Ceilings(100.0, 20.0, 50.0, 1, "", ""))
    assert faster.attainable_ms <= base.attainable_ms and wider.attainable_ms <= base.attainable_ms
    both = roofline(counted, Ceilings(200.0, 20.0, 50.0, 1, "", ""))
    assert base.cached_ms <= base.attainable_ms
    assert both.attainable_ms == pytest.approx(base.attainable_ms / 2)
    assert faster.bound_share("memory") >= base.bound_share("memory")


def test_measured_times_belong_to_their_kernels() -> None:
    found = roofline(cost(INDEX["mobilenet_v2"]), ROUND, {"row01.conv.conv": 0.5, "row04.add": 0.0}, 7.0)
    by_name = {piece.name: piece for piece in found.pieces}
    first = by_name["row01.conv.conv"]
    assert first.measured_ms == 0.5
    assert first.measured_gflops == pytest.approx(first.operations / 0.5e-3 / 1e9)
    assert by_name["row04.add"].measured_ms is None, "a kernel that was never seen was fused with another"
    assert found.to_dict()["measured_ms"] == 7.0
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_ceilings_of_this_machine_are_in_order() -> None:
    found = measure_ceilings(limit_s=0.05)
    assert found.threads == 1 and found.device and found.runtime.startswith("onnxruntime ")
    assert found.gflops > 0.5
    assert found.memory_gbs > 0.2
    assert found.gflops > found.memory_gbs / 12, "a sum of two arrays is one operation for twelve bytes"


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _run(["cost", "mobilenet_v3_small", "--width", "0.5", "--resolution", "96", "--roofline", *arguments]) == 0
    return capsys.readouterr().out


def test_the_verb_prints_json_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plot = tmp_path / "roof.png"
    result = json.loads(ran(capsys, "--json", "--plot", str(plot)))
    network = scale(INDEX["mobilenet_v3_small"], 0.5, 96)
    assert [k["name"] for k in result["kernels"]] == [p.name for p in roofline(cost(network), ROUND).pieces]
    assert result["ceilings"]["gflops"] > 0 and result["measured_ms"] > 0
    assert sum(k["measured_ms"] is not None for k in result["kernels"]) > len(result["kernels"]) / 2
    assert "2 a mac" in result["conventions"]
    with Image.open(plot) as picture:
        assert picture.size[0] > 1000


def test_the_verb_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    out = ran(capsys)
    assert "row01.conv.conv" in out and "held by" in out
    assert "G operations/s at most" in out and "GB/s from memory" in out
    assert "a whole run takes" in out


def test_a_picture_without_measured_times_says_so(tmp_path: Path) -> None:
    drawn = tmp_path / "roof.svg"
    roofline_plot.write(roofline(cost(INDEX["mobilenet_v4_hybrid_medium"]), ROUND), drawn)
    text = drawn.read_text(encoding="utf-8")
    assert "<svg" in text and "at the roof; area: the time it could take" in text and "measured" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--roofline", "--csv"), "leave out --by row and --csv"),
        (("--roofline", "--by", "row"), "leave out --by row and --csv"),
        (("--plot", "a.png"), "`--plot` and `--threads` belong to --roofline"),
        (("--threads", "2"), "`--plot` and `--threads` belong to --roofline"),
        (("--roofline", "--threads", "0"), "`threads` (=0) must be at least 1"),
        (("--roofline", "--plot", "a.txt"), "pictures are written as .png, .svg, .pdf"),
    ],
)
def test_misuse(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    assert _run(["cost", "mobilenet_v2", *arguments]) == 2
    assert message in capsys.readouterr().err
