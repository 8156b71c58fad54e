"""Images to boxes and masks: values, COCO's form, pictures, the command line."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenets.cli import _run
from mobilenets.data import decode
from mobilenets.errors import MisuseError
from mobilenets.heads import detections_in, masks_in
from mobilenets.model import MobileNet, with_info
from mobilenets.prediction import open_model, predict, to_coco
from mobilenets.prediction.answers import anchors_of
from mobilenets.table import Network, scale
from mobilenets.weights import load_weights
from mobilenets.zoo import INDEX
from mobilenets.zoo.heads import raspp, ssd


@pytest.mark.parametrize("kind", ["memory", "checkpoint", "artifact"])
def test_boxes_are_in_the_images_pixels(detector: Any, photos: Path, kind: str) -> None:
    model = getattr(detector, kind)
    found = predict(model, photos, score=0.4, top=5, threads=1)
    assert [each.path.relative_to(photos).as_posix() for each in found] == ["a.png", "b.jpg", "c.jpg", "more/a.png"]
    predictor = open_model(model, threads=1)
    image = decode.load_image(photos / "a.png", predictor.preprocessing)
    assert predictor.preprocessing.shaping == "stretch"
    (by_hand,) = detections_in(predictor.outputs(image[None]), anchors_of(predictor), score=0.4, most=5)
    first = found[0]
    assert first.size == (120, 100) and first.detections is not None and len(first.detections) == 5
    boxes = [each.box for each in first.detections]
    assert np.array(boxes) == pytest.approx(by_hand.boxes * [120, 100, 120, 100], abs=0.05)
    assert [each.label for each in first.detections] == [("cell", "platelet", "bubble")[i] for i in by_hand.classes]
    assert (first.label, first.score) == (first.detections[0].label, first.detections[0].score)


@pytest.mark.parametrize("kind", ["memory", "checkpoint", "artifact"])
def test_masks_are_of_the_images_size(segmenter: Any, photos: Path, kind: str) -> None:
    model = getattr(segmenter, kind)
    first = predict(model, photos / "a.png", threads=1)[0]
    predictor = open_model(model, threads=1)
    image = decode.load_image(photos / "a.png", predictor.preprocessing)
    (by_hand,) = masks_in(predictor.outputs(image[None]), [(120, 100)])
    np.testing.assert_array_equal(first.mask(), by_hand)
    assert first.regions is not None
    assert sum(each.pixels for each in first.regions) == 12000
    assert [each.pixels for each in first.regions] == sorted((each.pixels for each in first.regions), reverse=True)
    assert json.loads(json.dumps(first.to_dict()))["regions"][0]["part"] == first.regions[0].pixels / 12000


def test_a_broken_image_is_an_entry_and_has_no_picture(
    detector: Any, segmenter: Any, photos: Path, tmp_path: Path
) -> None:
    for i, made in enumerate((detector, segmenter)):
        found = predict(made.memory, photos, draw=tmp_path / str(i), threads=1)
        assert [each.error is None for each in found] == [True, True, False, True]
        assert found[2].size is None and "c.jpg" in str(found[2].error)
        drawn = {path.relative_to(tmp_path / str(i)).as_posix() for path in (tmp_path / str(i)).rglob("*.*")}
        assert drawn == {"a.png", "b.jpg", "more/a.png"}
        with Image.open(tmp_path / str(i) / "b.jpg") as picture:
            assert picture.format == "JPEG" and picture.width == 120


def test_pictures_never_replace_an_image(detector: Any, photos: Path) -> None:
    before = (photos / "a.png").read_bytes()
    with pytest.raises(MisuseError, match=r"a\.png is one of the images: choose another folder"):
        predict(detector.memory, photos, draw=photos, threads=1)
    with pytest.raises(MisuseError, match="is a file; pictures need a folder"):
        predict(detector.memory, photos / "b.jpg", draw=photos / "a.png", threads=1)
    assert (photos / "a.png").read_bytes() == before


def test_options_that_a_model_has_not_are_refused(toy: Any, detector: Any, segmenter: Any, photos: Path) -> None:
    for score in (-0.1, 1.5):
        with pytest.raises(MisuseError, match="must be between 0 and 1"):
            predict(detector.memory, photos, score=score, threads=1)
    for model in (toy, segmenter.memory):
        with pytest.raises(MisuseError, match="this model gives no boxes"):
            predict(model, photos, score=0.5, threads=1)
    with pytest.raises(MisuseError, match="this model gives a mask"):
        predict(segmenter.memory, photos, top=3, threads=1)


def test_coco_reads_the_boxes(detector: Any, photos: Path) -> None:
    from faster_coco_eval import COCO

    found = predict(detector.memory, photos, score=0.4, threads=1)
    told = json.loads(json.dumps(to_coco(found)))
    assert [image.get("error") is None for image in told["images"]] == [True, True, False, True]
    read = COCO(told)
    (box,) = read.loadAnns(read.getAnnIds(imgIds=[1])[:1])
    assert found[0].detections is not None
    best = found[0].detections[0]
    x0, y0, x1, y1 = best.box
    assert box["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=0.02)
    assert read.loadCats([box["category_id"]])[0]["name"] == best.label == box["category_name"]
    assert box["category_id"] == best.number + 1 and box["score"] == best.score
    assert box["file_name"] == str(photos / "a.png")


def test_coco_reads_the_masks(segmenter: Any, photos: Path) -> None:
    from faster_coco_eval import COCO

    (one,) = predict(segmenter.memory, photos / "b.jpg", threads=1)
    read = COCO(json.loads(json.dumps(to_coco([one]))))
    mask = np.full((100, 120), 255)
    for each in read.loadAnns(read.getAnnIds(imgIds=[1])):
        mask[read.annToMask(each) > 0] = each["category_id"]
        assert each["area"] == read.annToMask(each).sum()
    np.testing.assert_array_equal(mask, one.mask())


def test_the_command_line(
    detector: Any, segmenter: Any, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(photos / "a.png"), str(photos / "c.jpg")]
    command = ["predict", str(detector.artifact), *files, "--threads", "1", "--score", "0.4", "--top", "2"]
    assert _run([*command, "--draw", str(tmp_path / "drawn")]) == 0
    shown = capsys.readouterr().out
    assert "boxes" in shown and "unreadable" in shown and "pictures:" in shown
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["a.png"]
    assert _run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["annotations"]) == 2 and {"bbox", "score", "category_name"} <= set(told["annotations"][0])
    assert _run([*command, "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "path,label,score,x,y,width,height,error" and len(lines) == 4
    assert _run([*command, "--out", str(tmp_path / "found.json")]) == 0
    assert json.loads((tmp_path / "found.json").read_text()) == told
    capsys.readouterr()
    assert _run(["predict", str(segmenter.artifact), *files, "--threads", "1", "--csv"]) == 0
    assert capsys.readouterr().out.startswith("path,label,pixels,part,error\n")
    assert _run(["predict", str(segmenter.artifact), *files, "--threads", "1"]) == 0
    assert "of the pixels" in capsys.readouterr().out
    assert _run(["predict", str(detector.artifact), files[1], "--threads", "1"]) == 1, "nothing could be read"


def test_classifiers_are_drawn_too(toy: Any, photos: Path, tmp_path: Path) -> None:
    predict(toy, photos / "a.png", draw=tmp_path, threads=1)
    with Image.open(tmp_path / "a.png") as drawn, Image.open(photos / "a.png") as before:
        assert drawn.size == before.size
        assert drawn.getpixel((0, 0)) == (0, 0, 0), "the label's ground"
        assert np.array_equal(np.asarray(drawn)[60:], np.asarray(before)[60:])


SSD, DEEPLAB = "tf_ssd_mobilenet_v1_075_300_coco", "tf_deeplabv3_mobilenet_v2_513_voc"


def published(shared: Path, name: str, network: Network, bird: int) -> MobileNet:
    file = shared / "weights" / f"{name}.safetensors"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    model = load_weights(network, file)
    names = ("bird" if i == bird else str(i) for i in range(model.network.classes))
    return with_info(model, classes=tuple(names))


@pytest.fixture
def hen(shared: Path, tmp_path: Path) -> Path:
    """A photo of a hen's head and breast, from the upper edge to the lower one, left of the right third."""
    tar = shared / "data" / "photos_80.tar"
    if not tar.is_file():
        pytest.skip(f"{tar} is not there")
    with tarfile.open(tar) as archive:
        archive.extract("photos_80/0008.jpg", tmp_path, filter="data")
    return tmp_path / "photos_80" / "0008.jpg"


def test_the_published_detector_finds_the_hen(shared: Path, hen: Path, tmp_path: Path) -> None:
    network = replace(scale(ssd(INDEX["mobilenet_v1"], 90, kernel=1), 0.75), resolution=300)
    (found,) = predict(published(shared, SSD, network, 15), hen, draw=tmp_path / "drawn", threads=1)
    assert found.size == (500, 333) and found.detections is not None
    (one,) = found.detections
    assert one.label == "bird" and one.score > 0.7
    x0, y0, x1, y1 = one.box
    assert x0 < 60 and y0 < 20 and 320 < x1 < 380 and y1 > 310, "in pixels of the whole photo"
    assert (tmp_path / "drawn" / "0008.jpg").is_file()


def test_the_published_segmenter_finds_the_hen(shared: Path, hen: Path) -> None:
    network = replace(raspp(INDEX["mobilenet_v2"]), resolution=513)
    (found,) = predict(published(shared, DEEPLAB, network, 3), hen, threads=1)
    mask = found.mask()
    assert mask is not None and mask.shape == (333, 500)
    assert 0.3 < (mask == 3).mean() < 0.42
    assert (mask[150:300, 150:280] == 3).mean() > 0.85 and (mask[:, 400:] == 3).mean() < 0.05
