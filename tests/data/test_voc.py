import numpy as np
import pytest
from PIL import Image

from annotated import mask, photo, unpacked, voc, xml
from mobilenets.data.annotations import IGNORED, Boxes
from mobilenets.data.folder import labelled, open_folder, relabelled
from mobilenets.errors import DataError, MisuseError

CAT, DOG = ("cat", (1, 1, 20, 20)), ("dog", (11, 6, 40, 20))


def test_lists_tell_the_splits(tmp_path):
    voc(tmp_path, {"a": [CAT], "b": [DOG, CAT], "c": [DOG], "d": [CAT]}, {"train": ["b", "a"], "val": ["c"]})
    folder = open_folder(tmp_path)
    assert folder.task == "detect" and not folder.multi_label and folder.classes == ("cat", "dog")
    assert [s.path.stem for s in folder.splits["train"]] == ["b", "a"]
    assert folder.splits["train"][0].label == Boxes(
        ((10.0, 5.0, 40.0, 20.0), (0.0, 0.0, 20.0, 20.0)), (1, 0), (), (40, 20)
    )
    assert [s.path.stem for s in folder.splits["val"]] == ["c"] and folder.oddities == ()


def test_trainval_is_train_where_there_is_no_train(tmp_path):
    data = {name: [CAT] for name in "abcdef"}
    voc(tmp_path, data, {"trainval": list("abcde"), "test": ["f"]})
    folder = open_folder(tmp_path)
    assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 4, "val": 1, "test": 1}
    voc(tmp_path, {}, {"train": list("abc"), "val": list("de")})
    assert {split: len(samples) for split, samples in open_folder(tmp_path).splits.items()} == {
        "train": 3,
        "val": 2,
        "test": 1,
    }


def test_without_lists_val_is_taken_by_the_rarest_class(tmp_path):
    data = {f"{i:02}": [CAT, DOG] if i < 4 else [CAT] if i < 18 else [] for i in range(20)}
    folder = open_folder(voc(tmp_path, data), val_fraction=0.5)
    held = [sum(1 in s.label.labels for s in folder.splits[split]) for split in ("train", "val")]
    assert held == [2, 2]
    assert [sum(not s.label.labels for s in folder.splits[split]) for split in ("train", "val")] == [1, 1]
    again = open_folder(tmp_path, val_fraction=0.5, split_file=tmp_path / "split.json")
    assert again == folder == open_folder(tmp_path, val_fraction=0.1, split_file=tmp_path / "split.json")


def test_files_beside_images(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("valid", "c")):
        photo(tmp_path / split / f"{name}.png")
        xml(tmp_path / split / f"{name}.xml", [CAT])
    folder = open_folder(tmp_path)
    assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 2, "val": 1}
    assert folder.classes == ("cat",)


def test_hard_objects_and_missing_sizes(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "train").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "train" / "a.jpg", exif=exif)
    xml(tmp_path / "train" / "a.xml", [CAT, DOG], size=None, hard=[1])
    xml(photo(tmp_path / "val" / "b.jpg").with_suffix(".xml"), [CAT, DOG], size=(0, 0))
    folder = open_folder(tmp_path)
    assert folder.splits["train"][0].label.hard == (False, True)
    assert folder.splits["train"][0].label.size == (20, 40)  # upright
    assert folder.splits["val"][0].label.size == (40, 20)


def test_boxes_are_clipped_or_left_out_and_that_is_told(tmp_path):
    objects = [
        ("cat", (0, 0, 40, 20)),  # counted from 0, as many tools do: nothing to tell
        ("cat", (31, 1, 55, 20)),
        ("cat", (60, 1, 70, 20)),
        ("cat", (10, 10, 9, 15)),
        ("dog", ("nan", 1, 5, 5)),
        ("dog", (5, 5, 5, 5)),  # one pixel
    ]
    folder = open_folder(voc(tmp_path, {"a": objects, "b": [DOG]}, {"train": ["a"], "val": ["b"]}))
    boxes = folder.splits["train"][0].label
    assert boxes.corners == ((0.0, 0.0, 40.0, 20.0), (30.0, 0.0, 40.0, 20.0), (4.0, 4.0, 5.0, 5.0))
    assert boxes.labels == (0, 0, 1)
    told = [(odd.kind, odd.file.name, odd.image.name, odd.detail) for odd in folder.oddities]
    assert told == [
        ("outside", "a.xml", "a.jpg", "cat (30, 0, 55, 20) of 40x20"),
        ("outside", "a.xml", "a.jpg", "cat (59, 0, 70, 20) of 40x20"),
        ("no area", "a.xml", "a.jpg", "cat (9, 9, 9, 15)"),
        ("no area", "a.xml", "a.jpg", "dog (nan, 0, 5, 5)"),
    ]


def test_what_has_no_other_half_is_told(tmp_path):
    voc(tmp_path, {name: [CAT] for name in "abc"})
    photo(tmp_path / "JPEGImages" / "bare.jpg")
    xml(tmp_path / "Annotations" / "lost.xml", [CAT])
    folder = open_folder(tmp_path)
    assert [(odd.kind, odd.file.name) for odd in folder.oddities] == [
        ("no image", "lost.xml"),
        ("no annotation", "bare.jpg"),
    ]
    assert sum(map(len, folder.splits.values())) == 3


def test_a_stated_list_of_classes_is_the_list(tmp_path):
    voc(tmp_path, {"a": [CAT], "b": [CAT]}, {"train": ["a"], "val": ["b"]})
    (tmp_path / "labels.txt").write_text("dog\ncat\nemu\n")
    assert open_folder(tmp_path).classes == ("dog", "cat", "emu")
    assert open_folder(tmp_path).splits["train"][0].label.labels == (1,)
    (tmp_path / "labels.txt").write_text("dog\nemu\n")
    with pytest.raises(DataError, match=r"2 objects are of no class.*a\.xml \(cat\).*The classes are dog, emu\."):
        open_folder(tmp_path)
    with pytest.raises(DataError, match=r"of no class"):
        labelled(tmp_path, ["cat", "dog"])
    (tmp_path / "labels.txt").write_text("dog\ndog\n")
    with pytest.raises(DataError, match=r"labels\.txt: lists 'dog' twice"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation><object>", "no element found|unclosed|mismatched"),
        ("<annotation><object><name>cat</name></object></annotation>", "an object without xmin"),
        ("", "no element found"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, text, said):
    voc(tmp_path, {"a": [CAT], "b": [CAT]}, {"train": ["a"], "val": ["b"]})
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(DataError, match=rf"1 annotations cannot be read: .*a\.xml \(.*({said})"):
        open_folder(tmp_path)


def test_refuses(tmp_path):
    voc(tmp_path / "a", {"a": [CAT]}, {"train": ["a", "gone"]})
    with pytest.raises(DataError, match=r"1 listed images are not there: gone \(train\)\. They should lie in"):
        open_folder(tmp_path / "a")
    voc(tmp_path / "b", {"a": [CAT], "b": [DOG]}, {"train": ["a"], "val": ["b"]})
    with pytest.raises(DataError, match=r"val has other classes than train: -cat \+dog|\+dog"):
        open_folder(tmp_path / "b")
    xml(tmp_path / "c" / "Annotations" / "a.xml", [CAT])
    with pytest.raises(DataError, match="no image has an annotation of its name"):
        open_folder(tmp_path / "c")
    with pytest.raises(
        MisuseError, match=r"holds data sets as Pascal VOC lays them out; give one of them, such as .*a\."
    ):
        open_folder(tmp_path)
    voc(tmp_path / "d", {"a": [CAT], "b": [CAT]})
    with pytest.raises(MisuseError, match=r"is labelled to detect, not to segment"):
        open_folder(tmp_path / "d", task="segment")


def test_labels_follow_the_model(tmp_path):
    voc(tmp_path, {"a": [CAT], "b": [DOG, CAT]}, {"train": ["a", "b"], "val": ["b"]})
    assert [s.label.labels for s in labelled(tmp_path, ["dog", "emu", "cat"], split="train")] == [(2,), (0, 2)]
    moved = relabelled(open_folder(tmp_path), ["dog", "emu", "cat"])
    assert moved.task == "detect" and moved.splits["train"][1].label.labels == (0, 2)
    with pytest.raises(DataError, match=r"1 labels are no class of the model: \+dog"):
        labelled(tmp_path, ["cat"])
    assert len(labelled(tmp_path, ["cat", "dog"], task="detect")) == 1


def test_masks_beside_boxes_are_asked_for(tmp_path):
    voc(tmp_path, {name: [CAT, DOG] for name in "abc"}, {"train": ["a", "b"], "val": ["c"]})
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    values = np.zeros((20, 40), np.uint8)
    values[:, 10:], values[0] = 2, 255
    for name in "ac":
        mask(tmp_path / "SegmentationClass" / f"{name}.png", values, palette=[0] * 768)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir()
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("c\n")
    assert open_folder(tmp_path).task == "detect"
    folder = open_folder(tmp_path, task="segment")
    assert folder.task == "segment" and folder.classes == ("background", "cat", "dog")
    assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 1, "val": 1}
    read = folder.splits["train"][0].label.read()
    assert (read[0] == IGNORED).all() and (read[1:, :10] == 0).all() and (read[1:, 10:] == 2).all()


def test_masks_alone_have_vocs_classes(tmp_path):
    for name in "abcd":
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
        mask(tmp_path / "SegmentationClass" / f"{name}.png", np.full((20, 40), 20), palette=[0] * 63)
    photo(tmp_path / "JPEGImages" / "without.jpg")
    folder = open_folder(tmp_path)
    assert folder.task == "segment" and len(folder.classes) == 21 and folder.oddities == ()
    assert folder.classes[0] == "background" and folder.classes[20] == "tvmonitor"
    assert sum(map(len, folder.splits.values())) == 4


def test_blood_cells(shared, tmp_path):
    folder = open_folder(unpacked(shared / "data" / "bccd_voc.tar", tmp_path))
    assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 205, "val": 87}
    assert folder.classes == ("Platelets", "RBC", "WBC") and folder.task == "detect"
    for sample in folder.splits["train"]:
        corners, _, _ = sample.label.arrays()
        assert (corners >= 0).all() and (corners <= 1).all() and (corners[:, :2] < corners[:, 2:]).all()
