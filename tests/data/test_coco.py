import json

import numpy as np
import pytest

from annotated import coco, photo
from mobilenets.data.annotations import IGNORED
from mobilenets.data.folder import labelled, open_folder
from mobilenets.errors import DataError, MisuseError

NAMES = {3: "cat", 7: "dog"}


def image(key: int, **more: object) -> dict[str, object]:
    return {"id": key, "file_name": f"{key}.jpg", "width": 40, "height": 20, **more}


def box(key: int, of: int, category: int, bbox: object, **more: object) -> dict[str, object]:
    return {"id": key, "image_id": of, "category_id": category, "bbox": bbox, "iscrowd": 0, **more}


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


@pytest.fixture
def root(tmp_path):
    """Two splits as COCO lays them out: images 1 to 4, and 5."""
    boxes = [box(1, 1, 7, [0, 0, 10, 10]), box(2, 1, 3, [5.5, 5, 20, 10.25]), box(3, 2, 3, [0, 0, 40, 20], iscrowd=1)]
    coco(tmp_path / "annotations" / "instances_train2017.json", [image(i) for i in (1, 2, 3, 4)], boxes, NAMES)
    coco(tmp_path / "annotations" / "instances_val2017.json", [image(5)], [box(1, 5, 7, [1, 1, 2, 2])], NAMES)
    (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    for key in (1, 2, 3, 4):
        photo(tmp_path / "train2017" / f"{key}.jpg")
    photo(tmp_path / "val2017" / "5.jpg")
    return tmp_path


def test_boxes_of_a_folder(root):
    folder = open_folder(root)
    assert folder.task == "detect" and folder.classes == ("cat", "dog") and folder.oddities == ()
    assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 4, "val": 1}
    first, second, third, _ = (sample.label for sample in folder.splits["train"])
    assert first.corners == ((0.0, 0.0, 10.0, 10.0), (5.5, 5.0, 25.5, 15.25)) and first.labels == (1, 0)
    assert first.hard == () and first.size == (40, 20)
    assert second.hard == (True,) and third.corners == ()


def test_a_file_by_itself(root):
    for file in ("train", "val"):
        assert len(labelled(root / "annotations" / f"instances_{file}2017.json", ["dog", "cat"])) in (4, 1)
    (root / "annotations" / "instances_train2017.json").rename(root / "train2017" / "things.json")
    folder = open_folder(root / "train2017" / "things.json", val_fraction=0.3)
    assert sum(map(len, folder.splits.values())) == 4 and set(folder.splits) == {"train", "val"}


def test_a_file_in_each_split(tmp_path):
    names = {0: "animals", 1: "cat"}
    for split, keys in (("train", (1, 2)), ("valid", (3,)), ("test", (4,))):
        file = coco(
            tmp_path / split / "_annotations.coco.json",
            [image(i, width=None) for i in keys],
            [box(i, i, 1, [0, 0, 9, 9]) for i in keys if i < 4],
            names,
        )
        said = json.loads(file.read_text())
        said["categories"] = [
            {"id": 0, "name": "animals", "supercategory": "none"},
            {"id": 1, "name": "cat", "supercategory": "animals"},
        ]
        file.write_text(json.dumps(said))
        for key in keys:
            photo(tmp_path / split / f"{key}.jpg")
    folder = open_folder(tmp_path)
    assert folder.classes == ("cat",)  # the group is none
    assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 2, "val": 1}
    assert folder.splits["val"][0].label.size == (40, 20)  # from the file's header


def test_what_is_wrong_is_told_or_refused(root):
    (root / "train2017" / "4.jpg").unlink()
    file = root / "annotations" / "instances_train2017.json"
    boxes = [
        box(1, 1, 7, [30, 0, 30, 10]),
        box(2, 1, 3, [5, 5, 0, 5]),
        box(3, 1, 3, [5, 5, -3, 5]),
        box(4, 1, 3, [5, 5]),
        box(5, 99, 3, [5, 5, 5, 5]),
    ]
    coco(file, [image(i) for i in (1, 2, 3, 4)], boxes, NAMES)
    folder = open_folder(root)
    assert [(odd.kind, odd.image.name if odd.image else None, odd.detail) for odd in folder.oddities] == [
        ("no image", None, "4.jpg is not there"),
        ("no image", None, "annotation 5 is of image 99, which is not listed"),
        ("outside", "1.jpg", "dog (30, 0, 60, 10) of 40x20"),
        ("no area", "1.jpg", "cat (5, 5, 5, 10)"),
        ("no area", "1.jpg", "cat (5, 5, 2, 10)"),
        ("no area", "1.jpg", "cat (0, 0, 0, 0)"),
    ]
    assert len(folder.splits["train"]) == 3
    coco(file, [image(1)], [box(1, 1, 8, [0, 0, 5, 5])], NAMES)
    with pytest.raises(DataError, match=r"1 objects are of no class that is listed: .*train2017\.json \(category 8\)"):
        open_folder(root)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "found list; expected lists called images, annotations and categories"),
        ('{"images": [], "annotations": []}', "found images, annotations; expected"),
        ('{"images": [], "annotations": [], "categories": []}', "lists no images"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "KeyError.'file_name'"),
        ('{"images": [{"id": 1, "file_name": "no.jpg"}], "annotations": [], "categories": []}', "none of its 1 images"),
    ],
)
def test_files_that_are_none_of_cocos(tmp_path, text, said):
    (tmp_path / "coco.json").write_text(text)
    for path in (tmp_path, tmp_path / "coco.json"):
        with pytest.raises(DataError, match=rf"coco\.json: .*{said}"):
            open_folder(path)
    with pytest.raises(MisuseError, match=r"gone\.json: no such file"):
        open_folder(tmp_path / "gone.json")


def test_masks_from_outlines_and_runs(root):
    file = root / "annotations" / "instances_train2017.json"
    runs = [0] * 800
    runs[20 * 30 : 20 * 40] = [1] * 200  # column by column: the ten columns on the right
    objects = [
        box(1, 1, 7, [10, 5, 8, 8], area=64, segmentation=square(10, 5, 8)),
        box(2, 1, 3, [0, 0, 30, 20], area=600, segmentation=[[0, 0, 30, 0, 30, 20, 0, 20]]),
        box(3, 1, 3, [30, 0, 10, 20], iscrowd=1, segmentation={"counts": [600, 200], "size": [20, 40]}),
        box(4, 1, 3, [30, 0, 10, 20], segmentation=[[1, 2, 3, 4]]),
        box(5, 2, 3, [30, 0, 10, 20], segmentation={"counts": [600, 100], "size": [20, 40]}),
        box(6, 3, 3, [30, 0, 10, 20], segmentation={"counts": [800], "size": [40, 20]}),
    ]
    coco(file, [image(i) for i in (1, 2, 3)], objects, NAMES)
    folder = open_folder(root, task="segment")
    assert folder.task == "segment" and folder.classes == ("background", "cat", "dog")
    first, second, third = (sample.label for sample in folder.splits["train"])
    assert first.labels == (1, 2)
    expected = np.ones((20, 40), np.uint8)
    expected[5:13, 10:18], expected[:, 30:] = 2, IGNORED
    assert np.array_equal(first.read(), expected)
    assert [(odd.kind, odd.detail) for odd in folder.oddities] == [
        ("no area", "cat, annotation 4: no outline"),
        ("no area", "dog, annotation 1: no outline"),
    ]
    with pytest.raises(DataError, match=r"2\.jpg: runs of its mask cannot be read: they have 700 pixels, expected 800"):
        second.read()
    with pytest.raises(DataError, match=r"3\.jpg: 40x20, runs of its mask are for 20x40"):
        third.read()
    assert open_folder(root).task == "detect"


def test_the_image_is_background_where_the_file_names_it(root):
    for split in ("train", "val"):
        keys = (1, 2) if split == "train" else (5,)
        objects = [box(i, i, 3, [0, 0, 5, 5], segmentation=square(0, 0, 5)) for i in keys]
        names = {3: "cat", 9: "background"}
        coco(root / "annotations" / f"instances_{split}2017.json", [image(i) for i in keys], objects, names)
    folder = open_folder(root, task="segment")
    assert folder.classes == ("cat", "background")
    read = folder.splits["val"][0].label.read()
    assert (read[:5, :5] == 0).all() and (read[5:] == 1).all()


def test_boxes_alone_give_no_masks(root):
    with pytest.raises(MisuseError, match="its objects have boxes and no outlines"):
        open_folder(root, task="segment")
    with pytest.raises(MisuseError, match="is labelled to detect, not to classify"):
        open_folder(root, task="classify")


def test_two_files_for_one_split(root):
    coco(root / "annotations" / "instances_train_train2017.json", [image(1)], [], NAMES)
    with pytest.raises(MisuseError, match=r"two files for one split: instances_train2017\.json \(train\), "):
        open_folder(root)


def test_val_is_taken_with_the_rarest_class(tmp_path):
    objects = [box(i, i, 7 if i % 5 == 0 else 3, [0, 0, 5, 5], segmentation=square(0, 0, 5)) for i in range(20)]
    for key in range(20):
        photo(tmp_path / f"{key}.jpg")
    file = coco(tmp_path / "coco.json", [image(i) for i in range(20)], objects, NAMES)
    for task, dog in (("detect", 1), ("segment", 2)):
        folder = open_folder(file, val_fraction=0.25, task=task)
        assert len(folder.splits["val"]) == 5
        assert sum(dog in sample.label.labels for sample in folder.splits["val"]) == 1


def test_many_annotations(tmp_path):
    photo(tmp_path / "0.jpg")
    for key in range(1, 1000):
        (tmp_path / f"{key}.jpg").hardlink_to(tmp_path / "0.jpg")
    objects = [box(i, i % 1000, 3, [1, 1, 5, 5]) for i in range(100_000)]
    file = coco(tmp_path / "coco.json", [image(i) for i in range(1000)], objects, NAMES)
    assert {len(sample.label.labels) for sample in labelled(file, ["cat"])} == {100}
