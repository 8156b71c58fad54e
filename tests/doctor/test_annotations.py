"""Every fault planted in boxes and masks is found and its file named; clean ones give nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotated import coco, mask, photo, voc, xml
from mobilenets.cli import _run
from mobilenets.data.folder import open_folder
from mobilenets.doctor import Report, check, glance
from mobilenets.doctor.survey import survey
from mobilenets.errors import DataError, MisuseError

CAT, DOG = ("cat", (1, 1, 20, 20)), ("dog", (21, 1, 40, 20))
CLEAN = {f"{i:02}": [CAT, DOG] for i in range(12)}
LISTS = {"train": [f"{i:02}" for i in range(10)], "val": ["10", "11"]}


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "classes.txt").write_text("cat\ndog\n")
    return voc(tmp_path / "boxes", CLEAN, LISTS)


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    root = tmp_path / "masks"
    values = np.zeros((20, 40), np.uint8)
    values[:, 20:], values[0] = 1, 255
    for i in range(12):
        split = "train" if i < 10 else "val"
        photo(root / "images" / split / f"{i:02}.jpg")
        mask(root / "masks" / split / f"{i:02}.png", values)
    (root / "classes.txt").write_text("road\nsky\n")
    return root


def told(report: Report) -> dict[str, list[tuple[list[str], str]]]:
    found: dict[str, list[tuple[list[str], str]]] = {}
    for finding in report.findings:
        found.setdefault(finding.kind, []).append(([path.name for path in finding.paths], finding.message))
    return found


def test_clean_boxes_and_masks_give_nothing(boxes: Path, masks: Path) -> None:
    for root, task, counts in (
        (boxes, "detect", {"train": {"cat": 10, "dog": 10}, "val": {"cat": 2, "dog": 2}}),
        (masks, "segment", {"train": {"road": 10, "sky": 10}, "val": {"road": 2, "sky": 2}}),
    ):
        done: list[tuple[int, int]] = []
        report = check(root, resolution=32, on_progress=lambda *at: done.append(at))  # noqa: B023
        assert report.findings == () and report.task == task and report.counts == counts
        assert report.images == 12 and report.sizes == {"train": 10, "val": 2} and done[-1] == (12, 12)
        assert report.to_dict()["labelled"] == task
        assert glance(open_folder(root)) == []


def test_faults_of_boxes_are_found_and_named(boxes: Path) -> None:
    def write(stem: str, *objects: tuple[str, Any], size: tuple[int, int] = (40, 20)) -> None:
        xml(boxes / "Annotations" / f"{stem}.xml", objects, size)

    write("00", ("cat", (1, 1, 90, 20)), DOG)
    write("01", ("cat", (5, 5, 4, 20)), DOG)
    write("02", CAT, ("emu", (1, 1, 20, 20)))
    write("03", CAT, CAT, DOG)
    write("04", CAT, ("dog", (1, 1, 20, 20)))
    write("05", CAT, DOG, size=(80, 40))
    write("06", CAT, DOG, size=(20, 40))
    write("07")
    write("08", ("cat", (1, 1, 2, 20)), DOG)
    (boxes / "Annotations" / "09.xml").write_text("<annotation")
    write("lost", CAT)
    (boxes / "Annotations" / "11.xml").unlink()
    found = told(check(boxes, resolution=32))
    assert found.pop("unreadable annotation")[0][0] == ["09.jpg"]
    assert found == {
        "unknown class": [(["02.jpg"], "02.xml: emu. Correct it, or list the class.")],
        "outside image": [
            (["00.jpg"], "00.xml: cat (0, 0, 90, 20) of 40x20. Training clips it to the image."),
            (["06.jpg"], "06.xml: dog (20, 0, 40, 20) of 20x40. Training clips it to the image."),
        ],
        "no area": [(["01.jpg"], "01.xml: cat (4, 4, 4, 20). Training leaves it out.")],
        "duplicate box": [
            (["03.jpg"], "cat and cat at (0, 0, 20, 20): 2 boxes in one place; keep one."),
            (["04.jpg"], "cat and dog at (0, 0, 20, 20): 2 boxes in one place; keep one."),
        ],
        "annotation size": [
            (["05.jpg"], "40x20 px, its annotation says 80x40 px. Correct the annotation."),
            (
                ["06.jpg"],
                "40x20 px, its annotation says 20x40 px; its boxes may be for the image as it is before its EXIF turns "
                "it. Correct the annotation.",
            ),
        ],
        "no image": [(["lost.xml"], "no image of this name. Training leaves it out.")],
        "no annotation": [
            (
                ["11.jpg"],
                "no XML file of this name. Training leaves it out; an image without objects needs an empty one.",
            )
        ],
        "no objects": [(["07.jpg"], "images without an object: all of them is background.")],
        "few objects": [([], "fewer than 10 objects to learn from: dog (6), cat (8).")],
        "tiny objects": [
            (
                ["08.jpg"],
                "1 of 16 objects (6.2%) have a side below 4 px in an input of 32 px, and are hardly found: a higher "
                "resolution shows more of them.",
            )
        ],
    }


def test_faults_of_masks_are_found_and_named(masks: Path) -> None:
    train = masks / "masks" / "train"
    mask(train / "00.png", np.zeros((10, 20)))
    mask(train / "01.png", np.full((20, 40), 2))
    (train / "02.png").write_bytes(b"text")
    mask(train / "03.png", np.full((20, 40), 255))
    mask(train / "lost.png", np.zeros((20, 40)))
    photo(masks / "images" / "val" / "bare.jpg")
    report = check(masks, resolution=32)
    found = told(report)
    assert {kind: [names for names, _ in of] for kind, of in found.items()} == {
        "mask size": [["00.jpg"]],
        "mask values": [["01.jpg"]],
        "unreadable mask": [["02.jpg"]],
        "no objects": [["03.jpg"]],
        "no image": [["lost.png"]],
        "no annotation": [["bare.jpg"]],
        "few objects": [[]],
    }
    assert found["mask size"][0][1] == "40x20 px, its mask is 20x10 px. Bring the mask that belongs to it."
    assert "01.png: has pixels of 2; the list of classes goes to 1" in found["mask values"][0][1]
    assert "fewer than 10 images with them to learn from: sky (6), road (7)" in found["few objects"][0][1]
    assert [f.severity for f in report.findings if f.kind in ("mask size", "mask values")] == ["fault", "fault"]


def test_broken_images_and_leaks_are_found_there_too(boxes: Path) -> None:
    images = boxes / "JPEGImages"
    (images / "10.jpg").write_bytes((images / "00.jpg").read_bytes())
    (images / "03.jpg").write_bytes((images / "02.jpg").read_bytes())
    (images / "04.jpg").write_bytes(b"text")
    photo(images / "05.jpg", (80, 20))
    xml(boxes / "Annotations" / "05.xml", [CAT, DOG], (80, 20))
    found = told(check(boxes, resolution=32))
    assert set(found) == {"leak", "duplicate", "unreadable"}  # a wide image is seen whole: its aspect is no fault
    assert found["duplicate"][0][1] == "the same file, 2 times; keep one."


def test_glance_tells_what_was_mended(boxes: Path) -> None:
    xml(boxes / "Annotations" / "00.xml", [("cat", (1, 1, 90, 20)), ("dog", (5, 5, 4, 20)), CAT, DOG])
    xml(boxes / "Annotations" / "lost.xml", [CAT])
    photo(boxes / "JPEGImages" / "10.jpg")
    outside, area, lost = glance(open_folder(boxes))
    assert (
        outside.startswith("1 boxes go beyond their images and are clipped, such as ") and "00.xml (cat (0" in outside
    )
    assert area.startswith("1 objects have no area and are left out, such as ")
    assert lost.startswith("1 annotations have no image and are left out") and lost.endswith("shows more.")


def test_the_task_is_asked_for_where_there_are_both(tmp_path: Path) -> None:
    for key in (1, 2):
        photo(tmp_path / f"{key}.jpg")
    images = [{"id": key, "file_name": f"{key}.jpg", "width": 40, "height": 20} for key in (1, 2)]
    outline = [[0, 0, 10, 0, 10, 10, 0, 10]]
    objects = [
        {"id": key, "image_id": key, "category_id": 3, "bbox": [0, 0, 10, 10], "segmentation": outline}
        for key in (1, 2)
    ]
    file = coco(tmp_path / "coco.json", images, objects, {3: "cat"})
    assert check(file).counts == {"all": {"cat": 2}}
    assert check(file, task="segment").counts == {"all": {"background": 2, "cat": 2}}
    assert survey(file).task == "detect"


def test_refuses(boxes: Path, small_scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="is labelled to detect, not to segment"):
        check(boxes, task="segment")
    with pytest.raises(MisuseError, match="has neither boxes nor masks that are known, so there is nothing to detect"):
        check(small_scenes, task="detect")
    (tmp_path / "coco.json").write_text("{")
    with pytest.raises(DataError, match=r"coco\.json: cannot be read as JSON"):
        check(tmp_path / "coco.json")


def test_the_verb(boxes: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xml(boxes / "Annotations" / "00.xml", [("cat", (1, 1, 90, 20)), DOG])
    assert _run(["check", str(boxes), "--out", str(tmp_path / "a"), "--resolution", "32"]) == 0
    printed = capsys.readouterr().out
    assert "2 classes, objects" in printed and "00.jpg: 00.xml: cat" in printed.replace("\n", " ")
    assert "12 images: 0 faults, 1 warnings, 0 notes" in printed
    sheet = np.asarray(Image.open(tmp_path / "a" / "contact.png").convert("RGB")).reshape(-1, 3).astype(int)
    green = np.abs(sheet - [13, 242, 78]).sum(1) < 60  # the second class's frame
    assert green.any()
    (masks / "masks" / "train" / "00.png").write_bytes(b"text")
    mask(masks / "masks" / "train" / "01.png", np.zeros((10, 20)))
    assert _run(["check", str(masks), "--json", "--strict", "--out", str(tmp_path / "b")]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["labelled"] == "segment" and report["faults"] == 2 and report["images"] == 12
    assert (tmp_path / "b" / "contact.png").exists()
    assert _run(["check", str(boxes), "--task", "segment"]) == 2
    assert "is labelled to detect" in capsys.readouterr().err
