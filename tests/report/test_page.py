"""The page of a report: what data says is shown, what it does not say is not, and nothing escapes into the page."""

from __future__ import annotations

import base64
import html.parser
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilenets.report import write_page
from mobilenets.report.page import NOTHING, fixed, interval, milliseconds, percent, plain, size
from mobilenets.report.schema import Report

NASTY = "<script>alert(\"1\")</script> & 🦉 'quoted' {{ 7 * 7 }} </style>"


def candidate(network: str, ms: float, top1: float, status: str = "front", **more: Any) -> dict[str, Any]:
    return {
        "network": network, "width": 0.5, "resolution": 96, "expected_top1_percent": top1, "predicted_ms": ms,
        "measured_ms": None, "search_top1": None, "status": status, "reason": "", **more,
    }  # fmt: skip


def whole(folder: Path, name: str = "cat") -> dict[str, Any]:
    """A report with every section; `name` stands wherever a user's text does."""
    (folder / "mistakes").mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(folder / "mistakes" / "01.jpg")
    Image.new("RGB", (8, 8), "blue").save(folder / "roof.png")
    classes = [name, "dog", "owl"]
    counts = [[8, 2, 0], [1, 9, 0], [0, 0, 0]]
    report: Report = {
        "verb": "fit",
        "date": "2026-01-31 14:05:00+01:00",
        "seconds": 96.0,
        "asked": {"data": f"{name}/photos", "budget": "2ms", "minutes": 1.6, "resume": False, "weights": None},
        "commands": [{"what": f"again, {name}", "line": f"mobilenets fit {name}"}],
        "task": "classify",
        "budget": {"text": "2 ms", "latency_ms": 2.0},
        "device": {"name": name, "threads": 1, "cores": 2, "runtime": "onnxruntime 1.22", "precision": "fp32"},
        "winner": {
            "network": name, "width": 0.5, "resolution": 96, "params": 200_048, "macs": 1_882_496,
            "peak_activation_bytes": 184_320, "file_bytes": 808_232, "latency_ms": 0.1247, "latency_p90_ms": 0.26,
            "latency_runs": 200, "metric": 0.85, "test_top1": 0.81,
        },
        "verification": {"images": 80, "max_difference": 6.4e-7, "tolerance": 1e-4, "passed": True},
        "data": {"classes": classes, "train_images": 100, "val_images": 20, "test_images": 30},
        "notes": [name],
        "stepped_down": [name],
        "prediction": {"median_error": 0.06, "measured": 1},
        "candidates": [
            candidate(name, 0.5, 40.0, "winner", measured_ms=0.6, search_top1=0.6),
            candidate("v2", 1.0, 50.0, "tried", measured_ms=1.1, search_top1=0.7, reason=name),
            candidate("v2", 9.0, 60.0, "slow"),
        ],
        "artifacts": [
            {
                "file": f"{name}.onnx", "format": "ONNX", "precision": "fp32", "runtime": "onnxruntime 1.22",
                "file_bytes": 808_232, "metric": 0.85, "images": 20, "batch": "free", "operators": {"float": 62},
                "latency": {"median_ms": 0.125, "p90_ms": 0.15, "threads": 1, "device": name}, "state": "passed",
                "parity": {"images": 80, "max_difference": 6.4e-7, "top1_agreement": 1.0}, "sha256": "ab" * 32,
            },
            {"file": "x.mlpackage", "format": "Core ML", "state": "not run here", "reason": name},
            {
                "file": "x.tflite", "format": "LiteRT", "precision": "int8", "state": "failed", "latency": None,
                "parity": {"images": 8, "max_difference": 0.5, "top1_agreement": 0.4, "first_departure": name},
                "islands": [name] * 9, "operators": {"int8": 50, "float": 9},
            },
        ],
        "quantization": {
            "images": 20, "max_drop_points": 1.0, "float_metric": 0.85, "chosen": name,
            "rungs": [
                {"name": "min-max", "metric": 0.7, "drop_points": 15.0, "passed": False},
                {"name": name, "what": name, "metric": 0.845, "drop_points": 0.5, "passed": True},
            ],
            "nodes": [{"name": name, "op": "conv", "snr_db": 31.2, "precision": "int8"}, {"name": "b", "snr_db": None}],
        },
        "history": [
            {"epoch": 1.0, "train_loss": 2.0, "val_loss": 2.1, "val_top1": 0.2},
            {"epoch": 2.0, "train_loss": 1.0, "val_loss": 1.1, "val_top1": 0.85},
        ],
        "confusion": {
            "images": 20, "right": 17, "of": name, "counts": counts,
            "classes": [
                {"name": classes[0], "images": 10, "recall": 0.8},
                {"name": "dog", "images": 10, "recall": 0.9},
                {"name": "owl", "images": 0, "recall": None},
            ],
            "pairs": [{"true": name, "predicted": "dog", "count": 2, "images": 10}],
        },
        "mistakes": {
            "images": 20, "wrong": 3,
            "shown": [
                {
                    "name": f"{name}.jpg", "picture": "mistakes/01.jpg", "true": name, "predicted": "dog",
                    "confidence": 0.9, "true_confidence": 0.01,
                },
                {"name": "gone", "picture": "mistakes/99.jpg", "true": "dog", "predicted": name, "confidence": 0.5},
            ],
        },
        "costs": {
            "conventions": "macs: one multiply and one add", "params": 200_048, "macs": 1_882_496,
            "peak_activation_bytes": 184_320,
            "rows": [
                {"name": "row01", "op": name, "output_shape": [8, 48, 48], "params": 232, "macs": 497_664,
                 "activation_bytes": 73_728},
                {"name": "row02", "op": "pool", "output_shape": [8, 1, 1], "params": 0, "macs": 0},
            ],
        },
        "pictures": [{"title": name, "file": "roof.png", "note": name}],
        "files": [{"file": f"{name}.safetensors", "file_bytes": 900, "sha256": "cd" * 32}],
        "licences": [{"what": "weights", "source": name, "licence": "apache-2.0", "note": name}],
        "versions": {"torch": "2.9", "platform": name},
    }  # fmt: skip
    return dict(report)


class Tags(html.parser.HTMLParser):
    """Tags that are opened and closed as they should be, ids, and the text between them."""

    VOID = {"meta", "link", "img", "br", "hr", "input"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        named = dict(attrs)
        self.ids += [v for k, v in attrs if k == "id" and v]
        self.sources += [v or "" for k, v in attrs if k in ("src", "href")]
        assert not any(key.startswith("on") for key in named)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def read(report: dict[str, Any], folder: Path) -> tuple[Tags, str, str]:
    text = write_page(report, folder / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == [], f"never closed: {tags.open}"
    return tags, text, re.sub(r"\s+", " ", " ".join(tags.words))


ALL = [
    "asked",
    "candidates",
    "artifacts",
    "quantization",
    "training",
    "confusion",
    "mistakes",
    "costs",
    "pictures",
    "origins",
]


def test_every_section_is_there_and_loads_nothing(tmp_path: Path) -> None:
    tags, text, words = read(whole(tmp_path), tmp_path)
    assert tags.ids == ALL
    assert all(source.startswith("data:") for source in tags.sources), "all is inside"
    assert not {"script", "iframe", "object", "form"} & set(tags.seen)
    assert "default-src 'none'" in text and "http" not in re.sub(r"http-equiv", "", text)
    picture = base64.b64encode((tmp_path / "mistakes" / "01.jpg").read_bytes()).decode()
    assert f"data:image/jpeg;base64,{picture}" in tags.sources
    for said in (
        "cat ×0.5 at 96 px", "85.0 %", "20 validation images", "81.0 %", "0.125 ms", "median of 200 runs", "808.2 kB",
        "1.9 M", "6.4e-07", "mobilenets fit cat", "3 candidates", "over the latency budget",
        "3 exported files", "not run here", "Chosen: cat", "+15.00", "31.2", "17 of 20 images right",
        "3 of 20 images are wrong", "mistakes/99.jpg is not there", "497,664", "apache-2.0", "ab" * 32, "cd" * 32,
        "float islands: cat, cat, cat, cat, cat, cat and 3 more", "departs at cat",
    ):  # fmt: skip
        assert said in words, said


def test_what_users_write_stays_text(tmp_path: Path) -> None:
    report = whole(tmp_path, NASTY)
    tags, text, words = read(report, tmp_path)
    assert "script" not in tags.seen and "<script" not in text.lower()
    assert NASTY in words, "it is shown as it was written"
    assert "49" not in re.findall(r"🦉[^<]{0,40}", text)[0], "no template runs in data"
    assert text.count("</style>") == 1
    plain_tags = read(whole(tmp_path, "cat"), tmp_path)[0]
    assert tags.seen == plain_tags.seen, "a name changes no structure"


@pytest.mark.parametrize("missing", sorted(Report.__annotations__))
def test_any_part_may_be_missing(missing: str, tmp_path: Path) -> None:
    report = {key: value for key, value in whole(tmp_path).items() if key != missing}
    _, text, _ = read(report, tmp_path)
    assert "Undefined" not in text and "None" not in text and ">nan" not in text


@pytest.mark.parametrize("present", sorted(Report.__annotations__))
def test_any_part_may_stand_alone(present: str, tmp_path: Path) -> None:
    report = {key: value for key, value in whole(tmp_path).items() if key == present}
    _, text, _ = read(report, tmp_path)
    assert "Undefined" not in text and "None" not in text


def test_an_empty_report_is_a_page(tmp_path: Path) -> None:
    tags, _, words = read({}, tmp_path)
    assert tags.ids == [] and "mobilenets report" in words


@pytest.mark.parametrize(
    "key", ["candidates", "artifacts", "history", "notes", "commands", "pictures", "files", "licences"]
)
def test_empty_lists_are_no_sections(key: str, tmp_path: Path) -> None:
    tags, _, _ = read({key: []}, tmp_path)
    assert tags.ids == []


def hollow(value: Any) -> Any:
    """The same structure with nothing measured: every number that is not needed for the structure is gone."""
    if isinstance(value, dict):
        return {k: hollow(v) for k, v in value.items()}
    if isinstance(value, list):
        return [hollow(v) for v in value]
    return None if isinstance(value, float) else value


def test_what_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    _, text, words = read(hollow(whole(tmp_path)), tmp_path)
    assert NOTHING in words
    assert "None" not in text and "nan" not in words


def test_numbers_that_are_none_draw_no_marks(tmp_path: Path) -> None:
    report = whole(tmp_path)
    report["candidates"] += [
        candidate("v1", math.nan, 50.0),
        candidate("v1", 0.0, 50.0),
        candidate("v1", math.inf, 1.0),
    ]
    report["history"] += [{"epoch": 3.0, "train_loss": math.nan, "val_loss": math.inf, "val_top1": None}]
    _, text, _ = read(report, tmp_path)
    assert not re.search(r'[="\s,](nan|inf)[",\s]', text)


def test_filled_marks_are_measured_and_the_budget_is_drawn(tmp_path: Path) -> None:
    _, text, _ = read(whole(tmp_path), tmp_path)
    scatter = text[text.index('id="candidates"') : text.index("</figure>")]
    assert len(re.findall(r'class="k\d measured"', scatter)) == 2
    assert len(re.findall(r'class="k\d predicted"', scatter)) == 1
    assert scatter.count('class="star"') == 1 and "budget 2 ms" in scatter
    assert "v2 ×0.5 @96: 50.0 % on ImageNet, 1.1 ms measured; cat" in scatter
    without = whole(tmp_path)
    del without["budget"]
    assert 'class="budget"' not in read(without, tmp_path)[1]


def classes(n: int) -> dict[str, Any]:
    report: dict[str, Any] = {"task": "classify", "data": {"classes": [f"class {i}" for i in range(n)]}}
    report["confusion"] = {
        "images": 2 * n, "right": 2 * n - 1,
        "classes": [{"name": f"class {i}", "images": 2, "recall": 0.5 if i == 0 else 1.0} for i in range(n)],
        "pairs": [{"true": "class 0", "predicted": f"class {n - 1}", "count": 1, "images": 2}],
    }  # fmt: skip
    if n <= 100:
        counts = [[2 * (i == j) for j in range(n)] for i in range(n)]
        counts[0][0], counts[0][n - 1] = 1, 1 if n > 1 else 2
        report["confusion"]["counts"] = counts
    return report


@pytest.mark.parametrize(("n", "cells"), [(1, 1), (2, 3), (100, 101), (1000, 0)])
def test_one_class_and_a_thousand(n: int, cells: int, tmp_path: Path) -> None:
    _, text, words = read(classes(n), tmp_path)
    assert len(re.findall(r'<rect [^>]*class="(?:right|wrong)"', text)) == cells
    assert "Most often confused" in words
    assert (f"class {n - 1}" in words) and len(text) < 200_000
    assert ("Classes that are recognised least" in words) == (n > 20)
    if n > 20:
        assert f"and {n - 20} more" in words


def test_a_float_that_is_kept_is_said(tmp_path: Path) -> None:
    report = {"quantization": {"chosen": None, "rungs": [{"name": "min-max", "passed": False}]}}
    assert "No rung holds its accuracy: float is kept." in read(report, tmp_path)[2]
    assert "is kept" not in read({"quantization": {"chosen": "min-max", "rungs": []}}, tmp_path)[2]


def test_numbers_for_people() -> None:
    assert [milliseconds(v) for v in (0.1247, 12.34, 1234.5, 0.0, None, "x", math.nan)] == [
        "0.125 ms", "12.3 ms", "1,234 ms", "0 ms", NOTHING, NOTHING, NOTHING,
    ]  # fmt: skip
    assert [size(v) for v in (12, 1200, 4_231_976)] == ["12 B", "1.2 kB", "4.23 MB"]
    assert percent(0.35625) == "35.6 %" and percent(None) == NOTHING
    assert fixed(None, "%.1f s") == NOTHING and fixed(3, "%.1f s") == "3.0 s"
    assert [plain(v) for v in (None, True, 1.5, ["a", 2], [])] == [NOTHING, "yes", "1.5", "a, 2", NOTHING]


def test_the_interval_is_wilsons() -> None:
    report = {"task": "classify", "winner": {"metric": 0.35625}, "data": {"val_images": 480}}
    assert interval(report) == pytest.approx(4.27, abs=0.01)
    assert interval({**report, "task": "multi-label"}) is None
    assert interval({**report, "data": {}}) is None
    certain = {"task": "classify", "winner": {"metric": 1.0}, "data": {"val_images": 20}}
    assert 5 < (interval(certain) or 0) < 10, "20 of 20 right is not 100 % for sure"


def test_a_report_that_was_json_gives_the_same_page(tmp_path: Path) -> None:
    report = whole(tmp_path)
    first = write_page(report, tmp_path / "a.html").read_text(encoding="utf-8")
    again = write_page(json.loads(json.dumps(report)), tmp_path / "sub" / "b.html", folder=tmp_path)
    assert again.read_text(encoding="utf-8") == first


def detector(folder: Path, name: str = "cat") -> dict[str, Any]:
    """A report of a detector: classes and drawn images in place of a confusion matrix."""
    Image.new("RGB", (16, 8), "green").save(folder / "drawn.png")
    report = whole(folder, name) | {
        "task": "detect",
        "verification": {"images": 16, "rule": "agreement", "top1_agreement": 0.9987, "floor": 0.99, "passed": True},
        "history": [{"epoch": 1.0, "train_loss": 2.0, "val_loss": 2.1, "val_ap": 0.2, "val_ap50": 0.4}],
        "candidates": [
            {
                "network": "ssdlite_mobilenet_v2", "width": 0.5, "resolution": 192, "expected_ap_percent": 12.5,
                "predicted_ms": 3.0, "measured_ms": 3.1, "search_ap": 0.3, "status": "winner", "reason": "",
            }
        ],
        "per_class": {
            "of": name, "unit": "objects", "columns": ["AP", "AP50"],
            "rows": [
                {"name": name, "count": 1234, "scores": [0.5, 0.875]},
                {"name": "dog", "count": 0, "scores": [None, None]},
            ],
        },
        "drawn": [
            {"name": f"{name}.jpg", "picture": "drawn.png", "note": "3 boxes"},
            {"name": "gone.jpg", "picture": "gone.png", "note": ""},
        ],
    }  # fmt: skip
    del report["confusion"]
    report["winner"] = report["winner"] | {"beside": {"AP50": 0.9}, "test_ap": 0.44}
    report["mistakes"]["shown"][0]["kind"] = "missed"
    return report


def test_a_detector_has_its_own_words(tmp_path: Path) -> None:
    text = write_page(detector(tmp_path), tmp_path / "report.html").read_text()
    shown = [
        "COCO AP of the table, %", "AP on COCO that published detectors", "loss of boxes and classes", "AP50",
        "validation AP, %", "boldest wrong boxes", "missed: ", "Class by class", "1,234", "87.5 %", "What it finds",
        "3 boxes", "gone.png is not there", "agreement with PyTorch", "99.87 %", "AP on test images", "ssdlite_v2",
    ]  # fmt: skip
    assert [words for words in shown if words not in text] == []
    assert not any(words in text for words in ("ImageNet", "top-1", "cross-entropy"))


def test_a_segmenter_is_ranked_by_cityscapes_and_told_by_its_stride(tmp_path: Path) -> None:
    one = {"network": "lraspp_mobilenet_v2", "width": 1.0, "resolution": 256, "output_stride": 8, "status": "front"}
    report = {"task": "segment", "candidates": [one | {"expected_miou_percent": 60.0, "predicted_ms": 9.0}]}
    text = write_page(report, tmp_path / "report.html").read_text()
    assert (
        "Cityscapes mIoU of the table, %" in text
        and "lraspp_v2 ×1 @256 os8: 60.0 % mIoU on Cityscapes, 9 ms predicted" in text
    )


def test_nasty_names_of_a_detector_do_not_escape(tmp_path: Path) -> None:
    text = write_page(detector(tmp_path, NASTY), tmp_path / "report.html").read_text()
    assert "<script>" not in text
