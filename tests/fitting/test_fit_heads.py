"""`fit` of detectors and segmenters: candidates, what is expected of them, and one run of each from end to end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mobilenets as mn
from mobilenets.costs import cost
from mobilenets.data import scenes
from mobilenets.errors import MisuseError
from mobilenets.exports.shipping import ending_of
from mobilenets.fitting.candidates import choose, grid
from mobilenets.fitting.learning import seconds_per_image
from mobilenets.fitting.proving import answers_on
from mobilenets.latency import build_set, build_table, device, time_networks, write_table
from mobilenets.latency.kernels import kernels
from mobilenets.latency.measure import Model
from mobilenets.metrics import Task
from mobilenets.table import Network, scale, with_classes
from mobilenets.zoo import FAMILIES, INDEX, network
from mobilenets.zoo.grid import families
from mobilenets.zoo.heads import HEADS
from mobilenets.zoo.published_heads import NATIVE, PUBLISHED_HEADS, estimate_score

HEADED: tuple[Task, ...] = ("detect", "segment")
LOCAL = device("local")


@pytest.mark.parametrize("task", HEADED)
def test_a_grid_of_heads(task: Task) -> None:
    found = grid(3, task=task)
    assert len({c.label for c in found}) == len(found)
    assert {c.network.backbone for c in found} == set(FAMILIES)
    assert all(c.network.task == task and c.network.classes == 3 for c in found)
    one = found[0].to_dict()
    assert {"detect": "expected_ap_percent", "segment": "expected_miou_percent"}[task] in one
    assert ("output_stride" in one) == (task == "segment")


@pytest.mark.parametrize("row", PUBLISHED_HEADS, ids=lambda r: f"{r.head}_{r.backbone}_{r.width}_{r.output_stride}")
def test_published_scores_are_about_what_is_expected(row: object) -> None:
    from mobilenets.zoo.published_heads import PublishedHead

    assert isinstance(row, PublishedHead)
    built = HEADS[row.head].build(scale(INDEX[row.backbone], row.width))
    built = replace(built, resolution=NATIVE[row.task], output_stride=row.output_stride)
    assert estimate_score(built) == pytest.approx(row.score, abs=0.7)


def test_published_rows_are_the_papers(reference: dict[str, dict[str, list[dict[str, object]]]]) -> None:
    printed = {
        "arXiv:1801.04381, Table 6": [r["mAP"] for r in reference["v2_table6"]["rows"]],
        "arXiv:1905.02244, Table 6": [r["mAP"] for r in reference["v3_table6"]["rows"]],
        "arXiv:1905.02244, Table 7": [r["mIOU"] for r in reference["v3_table7"]["rows"]],
        "arXiv:1905.02244, Table 8": [r["mIOU"] for r in reference["v3_table8"]["rows"]],
    }
    assert all(row.score in printed[row.source] for row in PUBLISHED_HEADS)


@pytest.mark.parametrize("task", HEADED)
def test_more_is_expected_of_wider_larger_and_denser_ones(task: Task) -> None:
    for body in families(task):
        scores = [estimate_score(scale(body, w, r)) for w, r in ((0.5, 128), (1.0, 128), (1.0, 256))]
        assert scores == sorted(scores) and scores[0] < scores[2]
    dense, sparse = network("lraspp_mobilenet_v2"), replace(network("lraspp_mobilenet_v2"), output_stride=32)
    assert estimate_score(dense) > estimate_score(sparse)


def test_families_are_told_by_their_backbone() -> None:
    timed = [replace(c, predicted_ms=c.macs * 1e-8) for c in grid(3, task="segment")]
    chosen = choose(timed, lambda c: c.expected, 6)
    assert max(Counter(c.network.backbone for c in chosen).values()) <= 3


def test_training_time_of_heads() -> None:
    for name in ("ssdlite_mobilenet_v3_small", "lraspp_mobilenet_v3_small"):
        assert seconds_per_image(with_classes(scale(network(name), 0.25, 96), 3), batch=2, repeats=1) > 0


def headed(name: str) -> Network:
    return with_classes(scale(network(name), 0.25, 96), 3)


@pytest.mark.parametrize(
    ("name", "outputs"),
    [("ssdlite_mobilenet_v2", ["boxes", "scores", "classes", "count"]), ("lraspp_mobilenet_v2", ["mask"])],
)
def test_what_is_timed_is_what_is_shipped(name: str, outputs: list[str]) -> None:
    import onnx

    net = headed(name)
    ending = ending_of(net.task)
    assert ending is not None and ending_of("classify") is None
    shipped = onnx.load_from_string(Model.random(net, "fp32", ending).files[0][1])
    assert [value.name for value in shipped.graph.output] == outputs
    assert not any(node.op_type in ("Exp", "Div") for node in shipped.graph.node) or net.task == "detect"
    (latency,) = time_networks(LOCAL, [net], ending=ending, runs=5, limit_s=0.05)
    assert latency.median_ms > 0


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of detectors and segmenters as they are shipped, from the smallest networks that have every kernel."""
    folder = tmp_path_factory.mktemp("cache")
    for task in HEADED:
        chosen: list[Network] = []
        seen: set[str] = set()
        for net in sorted(build_set(task), key=lambda n: cost(n).macs):
            new = {kernel.kind for kernel in kernels(net).values()} - seen
            if new or len(chosen) < 8:
                chosen.append(net)
                seen |= new
        with LOCAL.connect() as link:
            table = build_table(LOCAL, link, chosen[:14], task=task, ending=ending_of(task), quick=True)
        write_table(table, folder)
    return folder


def test_fit_of_a_detector(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(cache))
    scenes.write_detection(tmp_path / "data", train=24, val=8)
    result = mn.fit(tmp_path / "data", ["60ms", "40MMACs"], minutes=0.15, out=tmp_path / "fit", weights="none")
    report = json.loads((tmp_path / "fit" / "report.json").read_text())
    assert report == json.loads(json.dumps(result.report))
    winner = report["winner"]
    assert report["task"] == "detect" and winner["metric_name"] == "val_ap" and "AP50" in winner["beside"]
    assert winner["network"].startswith("ssdlite_") and winner["latency_ms"] <= 60 and winner["macs"] <= 40e6
    assert mn.evaluate(result.artifact, tmp_path / "data", split="val").metric == winner["metric"]
    assert {row["name"] for row in report["per_class"]["rows"]} == set(report["data"]["classes"])
    assert all((tmp_path / "fit" / one["picture"]).is_file() for one in report["drawn"]) and report["drawn"]
    page = (tmp_path / "fit" / "report.html").read_text()
    assert "COCO AP of the table" in page and "What it finds" in page
    images = np.random.default_rng(0).integers(0, 256, (2, winner["resolution"], winner["resolution"], 3), np.uint8)
    assert answers_on(LOCAL, result.artifact, images).top1_agreement == 1.0
    with pytest.raises(MisuseError, match="begun with task None, asked to go on with detect"):
        mn.fit(tmp_path / "data", ["60ms", "40MMACs"], out=tmp_path / "fit", weights="none", task="detect", resume=True)


@pytest.mark.slow
def test_fit_of_a_segmenter(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(cache))
    scenes.write_segmentation(tmp_path / "data", train=24, val=8)
    result = mn.fit(tmp_path / "data", ["60ms", "60MMACs"], minutes=0.15, out=tmp_path / "fit", weights="none")
    winner = result.report["winner"]
    assert result.report["task"] == "segment" and winner["metric_name"] == "val_miou"
    assert winner["latency_ms"] <= 60 and "pixel accuracy" in winner["beside"]
    assert mn.evaluate(result.artifact, tmp_path / "data", split="val").metric == pytest.approx(winner["metric"])
    assert "Cityscapes mIoU of the table" in (tmp_path / "fit" / "report.html").read_text()
