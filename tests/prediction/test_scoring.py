"""Detectors and segmenters scored on labelled images: on their own answers they are perfect."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mobilenets as mn
from making import pixels
from mobilenets.cli import evaluate as verb
from mobilenets.data.annotations import IGNORED, Boxes
from mobilenets.data.folder import Sample
from mobilenets.errors import DataError, MisuseError
from mobilenets.exports import write
from mobilenets.prediction import (
    BoxMistakes,
    DetectionEvaluation,
    MaskMistakes,
    SegmentationEvaluation,
    charts,
    evaluate_boxes,
    evaluate_masks,
    open_model,
    predict,
)


@dataclass(frozen=True)
class Drawn:
    """A mask in memory, told apart by its name."""

    name: str
    rows: bytes
    size: tuple[int, int]
    labels: tuple[int, ...] = ()

    def read(self) -> NDArray[np.uint8]:
        if not self.rows:
            raise DataError(f"{self.name}: cannot be read")
        return np.frombuffer(self.rows, np.uint8).reshape(self.size[1], self.size[0])


def mask(array: NDArray[np.uint8]) -> Drawn:
    return Drawn("mask", array.tobytes(), (array.shape[1], array.shape[0]))


@pytest.fixture
def boxed(detector: Any, photos: Path) -> list[Sample]:
    """What the detector finds, as the truth; its boxes of a file that cannot be read are somewhere."""
    found = predict(detector.memory, photos, score=0.02, top=100, threads=1)
    return [
        Sample(
            each.path,
            Boxes(
                tuple(one.box for one in each.detections or ()), tuple(one.number for one in each.detections or ()),
                (), each.size or (120, 100),
            ),
        )
        for each in found
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["memory", "artifact"])
def test_a_detector_scores_1_on_its_own_boxes(detector: Any, boxed: list[Sample], kind: str) -> None:
    told: list[tuple[int, int]] = []
    predictor = open_model(getattr(detector, kind), threads=1)
    result = evaluate_boxes(predictor, boxed, on_progress=lambda *n: told.append(n))
    assert result.scores.ap50 == pytest.approx(1.0, abs=0.01)
    assert result.metric == result.scores.ap == pytest.approx(1.0, abs=0.02)
    assert result.images == 3 and told[-1] == (4, 4)
    assert [path.name for path, _ in result.skipped] == ["c.jpg"]
    assert result.classes == ("cell", "platelet", "bubble")
    told_json = json.loads(json.dumps(result.to_dict()))
    assert told_json["task"] == "detect" and told_json["ap"] == result.metric
    assert told_json["skipped_files"][0]["path"].endswith("c.jpg")


def test_boxes_are_scored_in_the_images_own_pixels(detector: Any, boxed: list[Sample]) -> None:
    """The same truth, moved by a fifth of each box, is worse; on a larger image with the same parts it is not."""
    predictor = open_model(detector.memory, threads=1)
    twice = [
        Sample(s.path, Boxes(tuple(tuple(2 * v for v in c) for c in s.label.corners), s.label.labels, (), (240, 200)))
        for s in boxed
    ]
    assert evaluate_boxes(predictor, twice).scores.ap50 == pytest.approx(1.0, abs=0.01)
    moved = [
        Sample(s.path, Boxes(tuple((a + 0.2 * (c - a), b, c + 0.2 * (c - a), d) for a, b, c, d in s.label.corners),
                             s.label.labels, (), s.label.size))
        for s in boxed
    ]  # fmt: skip
    assert evaluate_boxes(predictor, moved).scores.ap < 0.7


@pytest.mark.parametrize("kind", ["memory", "artifact"])
def test_a_segmenter_scores_1_on_its_own_masks(segmenter: Any, photos: Path, kind: str) -> None:
    model = getattr(segmenter, kind)
    samples = [
        Sample(each.path, mask(found if (found := each.mask()) is not None else np.zeros((1, 1), np.uint8)))
        for each in predict(model, photos, threads=1)
    ]
    result = evaluate_masks(open_model(model, threads=1), samples)
    assert result.metric == result.scores.miou == 1.0
    assert result.scores.counts.sum() == 3 * 12000, "at the images' own size"
    assert (result.images, [path.name for path, _ in result.skipped]) == (3, ["c.jpg"])
    assert json.loads(json.dumps(result.to_dict()))["miou"] == 1.0


def test_ignored_pixels_do_not_count_and_a_broken_mask_is_skipped(segmenter: Any, photos: Path) -> None:
    (own,) = (each.mask() for each in predict(segmenter.memory, photos / "a.png", threads=1))
    assert own is not None
    wrong = ((own + 1) % 4).astype(np.uint8)
    wrong[:50] = own[:50]
    ignored = wrong.copy()
    ignored[50:] = IGNORED
    predictor = open_model(segmenter.memory, threads=1)
    half = evaluate_masks(predictor, [Sample(photos / "a.png", mask(wrong))])
    assert half.scores.accuracy == pytest.approx(0.5)
    samples = [Sample(photos / "a.png", mask(ignored)), Sample(photos / "b.jpg", Drawn("b_mask.png", b"", (0, 0)))]
    result = evaluate_masks(predictor, samples)
    assert result.scores.accuracy == 1.0
    assert result.skipped == ((photos / "b.jpg", "b_mask.png: cannot be read"),)


def test_data_of_another_task_is_refused(detector: Any, segmenter: Any, photos: Path) -> None:
    found, masks = open_model(detector.memory, threads=1), open_model(segmenter.memory, threads=1)
    with pytest.raises(DataError, match=r"the model finds boxes, and this image has a class"):
        evaluate_boxes(found, [Sample(photos / "a.png", 0)])
    with pytest.raises(DataError, match=r"the model finds boxes, and this image has a mask"):
        evaluate_boxes(found, [Sample(photos / "a.png", mask(np.zeros((2, 2), np.uint8)))])
    with pytest.raises(DataError, match="the model gives masks, and this image has boxes"):
        evaluate_masks(masks, [Sample(photos / "a.png", Boxes((), (), (), (120, 100)))])


def test_no_readable_image_is_an_error(detector: Any, photos: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 1 images can be read; the first: .*c\.jpg"):
        evaluate_boxes(open_model(detector.memory, threads=1), [Sample(photos / "c.jpg", Boxes((), (), (), (9, 9)))])


def scored(detector: Any, segmenter: Any, boxed: list[Sample], photos: Path) -> list[Any]:
    masks = [Sample(photos / "a.png", mask(np.ones((100, 120), np.uint8)))]
    return [
        evaluate_boxes(open_model(detector.memory, threads=1), boxed),
        evaluate_masks(open_model(segmenter.memory, threads=1), masks),
    ]


def test_tables_and_pictures(
    detector: Any, segmenter: Any, boxed: list[Sample], photos: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    boxes, masks = scored(detector, segmenter, boxed, photos)
    assert isinstance(boxes, DetectionEvaluation) and isinstance(masks, SegmentationEvaluation)
    verb._show(boxes)
    shown = capsys.readouterr().out
    assert "AP50 100.0%" in shown and "on 3 images, 1 unreadable skipped" in shown and "platelet" in shown
    verb._show(masks)
    shown = capsys.readouterr().out
    assert "mIoU" in shown and "away from boundaries" in shown and "road" in shown
    for i, result in enumerate((boxes, masks)):
        verb._plot(result, tmp_path / f"{i}.png")
        with Image.open(tmp_path / f"{i}.png") as picture:
            assert min(picture.size) > 100
    charts.precision_recall(evaluate_boxes(open_model(detector.memory, threads=1), [
        Sample(photos / "a.png", Boxes((), (), (), (120, 100)))]).scores, tmp_path / "none.png")  # fmt: skip
    assert (tmp_path / "none.png").is_file(), "nothing to find is no error"


def test_box_mistakes(detector: Any, boxed: list[Sample], tmp_path: Path) -> None:
    """The first image's truth: without its best box; with a class changed; with an object where nothing is found."""
    sample = boxed[0]
    assert isinstance(sample.label, Boxes)
    corners, labels = sample.label.corners, list(sample.label.labels)
    labels[1] = (labels[1] + 1) % 3
    there = Boxes((*corners[1:], (0.0, 0.0, 3.0, 3.0)), (*labels[1:], 0), (), sample.label.size)
    found = BoxMistakes(("cell", "platelet", "bubble"), limit=200)
    evaluate_boxes(open_model(detector.memory, threads=1), [Sample(sample.path, there)], on_batch=found.see)
    told = found.write(tmp_path)
    assert (told["images"], told["wrong"]) == (1, 1)
    kinds = {one["kind"] for one in told["shown"]}
    assert "missed" in kinds and kinds & {"false positive", "wrong class"}
    assert [one["confidence"] for one in told["shown"]] == sorted(
        (o["confidence"] for o in told["shown"]), reverse=True
    )
    for one in told["shown"]:
        assert (one["predicted"] == "nothing") == (one["kind"] == "missed")
        assert (one["true"] == "nothing") == (one["kind"] == "false positive")
        with Image.open(tmp_path / one["picture"]) as picture:
            assert max(picture.size) <= 160
    json.dumps(told)


def test_perfect_models_make_no_mistakes_and_the_limit_holds(
    detector: Any, segmenter: Any, photos: Path, tmp_path: Path
) -> None:
    sure = predict(detector.memory, photos / "a.png", top=100, threads=1)[0]
    assert sure.detections
    truth = Boxes(tuple(d.box for d in sure.detections), tuple(d.number for d in sure.detections), (), (120, 100))
    predictor = open_model(detector.memory, threads=1)
    none = BoxMistakes(("cell", "platelet", "bubble"))
    evaluate_boxes(predictor, [Sample(photos / "a.png", truth)], on_batch=none.see)
    assert none.write(tmp_path / "none")["shown"] == []
    few = BoxMistakes(("cell", "platelet", "bubble"), limit=2)
    nothing = Boxes((), (), (), (120, 100))
    evaluate_boxes(predictor, [Sample(photos / "a.png", nothing)], on_batch=few.see)
    shown = few.write(tmp_path / "few")["shown"]
    assert [one["confidence"] for one in shown] == pytest.approx([d.score for d in sure.detections[:2]], abs=1e-5)
    hard = Boxes(truth.corners, tuple((n + 1) % 3 for n in truth.labels), (True,) * len(truth.labels), truth.size)
    ignored = BoxMistakes(("cell", "platelet", "bubble"))
    evaluate_boxes(predictor, [Sample(photos / "a.png", hard)], on_batch=ignored.see)
    assert ignored.wrong == 0, "what lies on a hard object is no mistake"


def test_mask_mistakes(segmenter: Any, photos: Path, tmp_path: Path) -> None:
    own = predict(segmenter.memory, photos / "a.png", threads=1)[0].mask()
    assert own is not None
    wrong = own.copy()
    wrong[:20] = (own[0, 0] + 1) % 4
    found = MaskMistakes(("background", "road", "tree", "sky"))
    samples = [Sample(photos / "a.png", mask(wrong)), Sample(photos / "b.jpg", mask(own))]
    evaluate_masks(open_model(segmenter.memory, threads=1), samples, on_batch=found.see)
    told = found.write(tmp_path)
    assert told["images"] == 2 and told["wrong"] == 2
    parts = [one["confidence"] for one in told["shown"]]
    assert parts == sorted(parts, reverse=True)
    assert all(one["true"] != one["predicted"] for one in told["shown"])
    with Image.open(tmp_path / told["shown"][0]["picture"]) as picture:
        assert picture.size[0] > picture.size[1], "the image's own shape"


def test_auto_says_that_it_is_for_classifiers(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    write(mn.build(mn.scale(mn.network("lraspp_mobilenet_v3_small"), 0.35, 64), ["a", "b"]), file)
    Image.fromarray(pixels(1, 64)[0]).save(tmp_path / "a.png")
    with pytest.raises(MisuseError, match=r"judges runtimes by class probabilities, .* mask: name a run"):
        mn.predict(file, tmp_path / "a.png", runtime="auto")
