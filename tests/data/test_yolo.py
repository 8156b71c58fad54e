from pathlib import Path

import pytest

from annotated import photo
from mobilenets.data.folder import labelled, open_folder
from mobilenets.data.yolo_yaml import read_description
from mobilenets.errors import DataError, MisuseError


def labels(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def root(tmp_path):
    for split, names in (("train", "abc"), ("val", "d")):
        for name in names:
            photo(tmp_path / "images" / split / f"{name}.jpg")
            if name != "c":
                labels(tmp_path / "labels" / split / f"{name}.txt", "1 0.5 0.5 0.25 0.5\n\n0 0.25 0.25 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    return tmp_path


def test_folders_with_a_list_of_classes(root):
    folder = open_folder(root)
    assert folder.task == "detect" and folder.classes == ("cat", "dog") and folder.oddities == ()
    assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 3, "val": 1}
    a, _, c = (sample.label for sample in folder.splits["train"])
    assert a.corners == ((15.0, 5.0, 25.0, 15.0), (0.0, 0.0, 20.0, 10.0)) and a.labels == (1, 0)
    assert a.size == (40, 20) and c.corners == ()
    assert [sample.label.labels for sample in labelled(root, ["dog", "cat"])] == [(0, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train\nval: images/val\nnames: [red, green]\n",
        "path: .\ntrain: ../images/train\nval: ['images/val']\nnc: 2\n"
        "names:\n  0: red\n  1: green # the other\nroboflow:\n  license: CC BY 4.0\n",
    ],
)
def test_a_description(root, text):
    (root / "data.yaml").write_text(text)
    for path in (root, root / "data.yaml"):
        folder = open_folder(path)
        assert folder.classes == ("red", "green")
        assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 3, "val": 1}


def test_splits_above_images_and_lists_of_images(root):
    (root / "list.txt").write_text("./images/train/a.jpg\nimages/val/d.jpg\n")
    (root / "data.yaml").write_text("train: list.txt\nval: images/val/d.jpg\nnames: {0: red, 1: 'green'}\n")
    folder = open_folder(root)
    assert [sample.path.name for sample in folder.splits["train"]] == ["a.jpg", "d.jpg"]
    assert folder.splits["train"][1].label.labels == (1, 0) and len(folder.splits["val"]) == 1


def test_labels_beside_images(tmp_path):
    for split in ("train", "val"):
        labels(photo(tmp_path / split / "a.jpg").with_suffix(".txt"), "0 0.5 0.5 1 1\n")
    (tmp_path / "data.yaml").write_text("train: train\nval: val\nnames: [cat]\n")
    assert open_folder(tmp_path).splits["train"][0].label.corners == ((0.0, 0.0, 40.0, 20.0),)


def test_outlines_are_boxed(root):
    labels(root / "labels" / "val" / "d.txt", "1 0.1 0.5 0.5 0.1 0.75 0.5 0.5 1.0\n")
    assert open_folder(root).splits["val"][0].label.corners == (pytest.approx((4.0, 2.0, 30.0, 20.0)),)


def test_what_is_wrong_is_told_or_refused(root):
    labels(root / "labels" / "train" / "a.txt", "0 0.9 0.5 0.5 0.5\n1 0.5 0.5 0 0.5\n")
    labels(root / "labels" / "train" / "lost.txt", "0 0.5 0.5 0.5 0.5\n")
    told = [(odd.kind, odd.file.name, odd.detail) for odd in open_folder(root).oddities]
    assert told == [
        ("outside", "a.txt", "cat (26, 5, 46, 15) of 40x20"),
        ("no area", "a.txt", "dog (20, 5, 20, 15)"),
        ("no image", "lost.txt", "no image of this name"),
    ]
    labels(root / "labels" / "train" / "b.txt", "2 0.5 0.5 0.5 0.5\n")
    with pytest.raises(DataError, match=r"no class that is listed: .*b\.txt \(class 2\)\. The classes are cat, dog"):
        open_folder(root)
    for text in ("0 0.5 0.5 0.5", "cat 0.5 0.5 0.5 0.5", "0.5 0.5 0.5 0.5 0.5", "0 a b c d"):
        labels(root / "labels" / "train" / "b.txt", text)
        with pytest.raises(DataError, match=r"1 annotations cannot be read: .*b\.txt \("):
            open_folder(root)


def test_an_image_that_cannot_be_read_is_told_when_it_is_loaded(root):
    (root / "images" / "train" / "a.jpg").write_bytes(b"text")
    assert open_folder(root).splits["train"][0].label.arrays()[0].tolist() == [
        [0.375, 0.25, 0.625, 0.75],
        [0.0, 0.0, 0.5, 0.5],
    ]


def test_refuses(root):
    (root / "classes.txt").unlink()
    with pytest.raises(MisuseError, match=r"boxes of numbered classes without names: expected data\.yaml"):
        open_folder(root)
    (root / "data.yaml").write_text("train: pictures\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"data\.yaml: names pictures, which is not there: looked at .*/pictures"):
        open_folder(root)
    (root / "other.yaml").write_text("channels: [main]\n")
    with pytest.raises(DataError, match=r"other\.yaml: describes no data set: expected names: and train:"):
        open_folder(root / "other.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "names: [a b, 'c, d', \"e\"]",
        "names: [a b,\n  'c, d',\n  \"e\",\n]",
        "names: ['a b', \"c, d\", e]  # three",
        "names:\n- a b\n- c, d\n- e",
        "names:\n  - a b\n  - 'c, d'\n  - e",
        'names:\n  0: a b\n  1: c, d\n  2: "e"',
        "names: {0: a b, 1: 'c, d', 2: e}",
        "names:\n  2: e\n  0: a b\n  '1': c, d",
    ],
)
def test_names_in_yamls_plain_forms(tmp_path, text):
    (tmp_path / "d.yaml").write_text(f"# data\nval: {{}}\n---\n{text}\nnc: 3\n".replace("val: {}\n", ""))
    assert read_description(tmp_path / "d.yaml").names == ("a b", "c, d", "e")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("names: *anchor", "it says '\\*anchor'"),
        ("names: [a, b", r"it says .\[a, b., without a closing \]"),
        ("names:\n  0: a\n  2: b", r"the numbers of its names are \[0, 2\], not 0 to 1"),
        ("names:\n  a\n  b", "one of its names says 'a'"),
        ("names: [a, a]", "the name 'a' is there twice"),
        ("names: []", "it has no names"),
        ("names: [a]\ntrain:\n  x: y\n  z: w", "it says 'x: y z: w'"),
    ],
)
def test_what_is_not_understood_is_told(tmp_path, text, said):
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(DataError, match=rf"d\.yaml: {said}.*which is not understood; expected such as train:"):
        read_description(tmp_path / "d.yaml")


def test_it_reads_as_yaml_does(tmp_path):
    yaml = pytest.importorskip("yaml")
    text = (
        "path: ../sets/one # here\ntrain:\n  - images/train\n  - more\nval: 'images/val'\ntest:\n\n"
        "names:\n  0: a's\n  1: 'b # c'\n"
    )
    (tmp_path / "d.yaml").write_text(text)
    theirs, ours = yaml.safe_load(text), read_description(tmp_path / "d.yaml")
    assert ours.path == theirs["path"] and ours.splits == {"train": tuple(theirs["train"]), "val": (theirs["val"],)}
    assert ours.names == tuple(theirs["names"].values())
