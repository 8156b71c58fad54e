import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mobilenets.data.folder import Sample, labelled, open_folder, relabelled
from mobilenets.errors import DataError, MisuseError


def make(root: Path, **counts: int) -> Path:
    """Folders of empty images: names with __ are nested, `train__cat=3`."""
    for name, count in counts.items():
        folder = root.joinpath(*name.split("__"))
        folder.mkdir(parents=True)
        for i in range(count):
            (folder / f"{i}.jpg").touch()
    return root


def per_class(folder, split):
    return [sum(s.label == i for s in folder.splits[split]) for i in range(len(folder.classes))]


def test_class_folders_are_split_by_class(tmp_path):
    folder = open_folder(make(tmp_path, cat=20, dog=40, emu=2))
    assert folder.classes == ("cat", "dog", "emu")
    assert set(folder.splits) == {"train", "val"}
    assert per_class(folder, "val") == [3, 6, 1]
    assert per_class(folder, "train") == [17, 34, 1]
    assert not {s.path for s in folder.splits["train"]} & {s.path for s in folder.splits["val"]}
    assert all(s.path.parent.name == folder.classes[s.label] for s in folder.splits["train"])


def test_split_follows_from_the_seed(tmp_path):
    make(tmp_path, cat=30, dog=30)
    assert open_folder(tmp_path) == open_folder(tmp_path)
    assert open_folder(tmp_path).splits["val"] != open_folder(tmp_path, seed=1).splits["val"]
    assert per_class(open_folder(tmp_path, val_fraction=0.5), "val") == [15, 15]


def test_train_and_val_folders(tmp_path):
    folder = open_folder(make(tmp_path, train__cat=3, train__dog=1, valid__cat=1, valid__dog=1))
    assert {name: len(samples) for name, samples in folder.splits.items()} == {"train": 4, "val": 2}


def test_val_is_taken_from_train_where_only_test_is_there(tmp_path):
    folder = open_folder(make(tmp_path, train__cat=10, train__dog=10, test__cat=2))
    assert {name: len(samples) for name, samples in folder.splits.items()} == {"train": 16, "val": 4, "test": 2}


def test_three_splits_and_capitals(tmp_path):
    counts = {f"{s}__{c}": 2 for s in ("Train", "Validation", "TEST") for c in ("a", "b")}
    assert set(open_folder(make(tmp_path, **counts)).splits) == {"train", "val", "test"}


def test_test_images_without_labels_are_left_out(tmp_path):
    assert set(open_folder(make(tmp_path, train__a=4, train__b=4, test=9)).splits) == {"train", "val"}


def test_natural_order_hidden_files_and_nesting(tmp_path):
    make(tmp_path, **{"class10": 2, "class2": 2, "class2__more__deep": 3, ".cache": 2})
    make(tmp_path / "__MACOSX", cat=2)
    (tmp_path / "class2" / ".DS_Store").touch()
    (tmp_path / "class2" / "._1.jpg").touch()
    (tmp_path / "readme.txt").touch()
    folder = open_folder(tmp_path)
    assert folder.classes == ("class2", "class10")
    assert len([s for samples in folder.splits.values() for s in samples if s.label == 0]) == 5


def test_a_class_called_train(tmp_path):
    assert open_folder(make(tmp_path, bus=3, train=3)).classes == ("bus", "train")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links(tmp_path):
    make(tmp_path / "far", cat=3, dog=3)
    (tmp_path / "near").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "near" / name).symlink_to(tmp_path / "far" / name)
    assert open_folder(tmp_path / "near").classes == ("cat", "dog")


# ---------------------------------------------------------------------------------------------------


def test_split_file_keeps_the_split(tmp_path):
    root, file = make(tmp_path / "d", cat=20, dog=20), tmp_path / "runs" / "split.json"
    first = open_folder(root, split_file=file)
    assert json.loads(file.read_text())["format"] == "mobilenets-split/1"
    assert [p.name for p in file.parent.iterdir()] == ["split.json"]
    assert open_folder(root, split_file=file, seed=5, val_fraction=0.4) == first
    (root / "cat" / "new.jpg").touch()
    assert open_folder(root, split_file=file) == first
    gone = first.splits["val"][0]
    gone.path.unlink()
    again = open_folder(root, split_file=file)
    assert again.splits == {"train": first.splits["train"], "val": first.splits["val"][1:]}


def test_split_file_moves_with_the_folder(tmp_path):
    file = tmp_path / "split.json"
    first = open_folder(make(tmp_path / "d", cat=20, dog=20), split_file=file)
    (tmp_path / "d").rename(tmp_path / "e")
    again = open_folder(tmp_path / "e", split_file=file)
    assert [s.path.name for s in again.splits["val"]] == [s.path.name for s in first.splits["val"]]


def test_split_files_that_do_not_fit(tmp_path):
    root, file = make(tmp_path / "d", cat=4, dog=4), tmp_path / "split.json"
    open_folder(root, split_file=file)
    other = make(tmp_path / "o", cat=4, emu=4)
    with pytest.raises(DataError, match=r"has other classes than .*: -dog \+emu .*Delete the file to split anew"):
        open_folder(other, split_file=file)
    renamed = tmp_path / "r"
    for name in ("cat", "dog"):
        (renamed / name).mkdir(parents=True)
        for i in range(4):
            (renamed / name / f"x{i}.jpg").touch()
    with pytest.raises(DataError, match=r"none of its 6 images for train is in"):
        open_folder(renamed, split_file=file)
    file.write_text("{}")
    with pytest.raises(DataError, match=r'not a split: expected `"format": "mobilenets-split/1"`'):
        open_folder(root, split_file=file)
    file.write_text("{")
    with pytest.raises(DataError, match=r"the split cannot be read: .* Delete the file"):
        open_folder(root, split_file=file)


# ---------------------------------------------------------------------------------------------------


def misuse(path: Path, message: str) -> None:
    with pytest.raises(MisuseError) as error:
        open_folder(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_paths_that_are_no_folder(tmp_path):
    misuse(tmp_path / "typo", "no such folder; expected one folder per class, such as cat/1.jpg")
    (tmp_path / "a.jpg").touch()
    misuse(tmp_path / "a.jpg", "is a file, not a folder; expected one folder per class")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("d.tar.xz", "mkdir -p {0}/d && tar -xf {0}/d.tar.xz -C {0}/d"),
        ("d.tgz", "mkdir -p {0}/d && tar -xf {0}/d.tgz -C {0}/d"),
        ("d.zip", "unzip {0}/d.zip -d {0}/d"),
        ("d.7z", "7z x {0}/d.7z -o{0}/d"),
    ],
)
def test_archives_come_with_the_command(tmp_path, name, command):
    (tmp_path / name).touch()
    misuse(tmp_path / name, "is an archive, not a folder; unpack it first: " + command.format(tmp_path))


def test_folders_without_classes(tmp_path):
    misuse(tmp_path, "no images: found nothing; expected one folder per class")
    (tmp_path / "a.txt").touch()
    misuse(tmp_path, "no images: found 1 .txt; expected one folder per class")
    (tmp_path / "a.jpg").touch()
    misuse(tmp_path, "1 images lie here without class folders; expected one folder per class")
    misuse(make(tmp_path / "one", cat=4), "one class only (cat), a classifier needs two or more")
    misuse(make(tmp_path / "eval", val__a=2, val__b=2), "has val but no train; rename")
    misuse(make(tmp_path / "two", train__a=2, train__b=2, val__a=1, val__b=1, valid__a=1), "two folders for one split")
    misuse(make(tmp_path / "mix", train__a=2, train__b=2, extra__a=2), "mixes splits (train) and other folders")


def test_val_fraction(tmp_path):
    with pytest.raises(MisuseError, match=r"val_fraction is 15; it must be above 0 and below 1"):
        open_folder(make(tmp_path, a=2, b=2), val_fraction=15)


def test_classes_that_cannot_be_used(tmp_path):
    with pytest.raises(
        DataError, match=r"class 'dog' has one image \(0\.jpg\), which cannot be both in train and in val"
    ):
        open_folder(make(tmp_path / "a", cat=4, dog=1))
    with pytest.raises(DataError, match=r"dog: no images in this class: found nothing; add some or remove the folder"):
        open_folder(make(tmp_path / "b", cat=4, dog=0))
    with pytest.raises(DataError, match=r"val has other classes than train: -dog \+emu \(- only in train"):
        open_folder(make(tmp_path / "c", train__cat=1, train__dog=1, val__cat=1, val__emu=1))
    with pytest.raises(DataError, match=r"test has other classes than train: -dog \+emu"):
        open_folder(make(tmp_path / "d", train__cat=2, train__dog=2, test__cat=1, test__emu=1))


# ---------------------------------------------------------------------------------------------------


def test_labelled_uses_the_models_order(tmp_path):
    samples = labelled(make(tmp_path, cat=1, dog=2), ["dog", "emu", "cat"])
    assert [s.label for s in samples] == [0, 0, 2]
    assert isinstance(samples[0], Sample)


def test_relabelled_has_the_models_classes_in_their_order(tmp_path):
    folder = open_folder(make(tmp_path, cat=3, dog=3))
    found = relabelled(folder, ["dog", "emu", "cat"])
    assert found.classes == ("dog", "emu", "cat")
    for split, samples in found.splits.items():
        assert [s.path for s in samples] == [s.path for s in folder.splits[split]]
        assert {(s.path.parent.name, s.label) for s in samples} == {("cat", 2), ("dog", 0)}
    with pytest.raises(DataError, match=r"1 labels are no class of the model: \+dog -emu "):
        relabelled(folder, ["cat", "emu"])
    several = replace(folder, task="multi-label", splits={"train": (Sample(tmp_path / "a.jpg", (0, 1)),)})
    assert relabelled(several, ["dog", "cat"]).splits["train"][0].label == (0, 1)


def test_labelled_takes_test_then_val_then_all(tmp_path):
    make(tmp_path, train__cat=5, val__cat=3)
    assert len(labelled(tmp_path, ["cat"])) == 3
    make(tmp_path, test__cat=2)
    assert len(labelled(tmp_path, ["cat"])) == 2
    assert len(labelled(tmp_path, ["cat"], split="train")) == 5
    assert len(labelled(tmp_path, ["cat"], split="validation")) == 3


def test_labelled_refuses(tmp_path):
    make(tmp_path / "a", cat=1, wolf=1)
    with pytest.raises(DataError, match=r"1 labels are no class of the model: \+wolf -dog "):
        labelled(tmp_path / "a", ["cat", "dog"])
    with pytest.raises(MisuseError, match=r"no split 'test': found images without splits"):
        labelled(tmp_path / "a", ["cat", "wolf"], split="test")
    with pytest.raises(MisuseError, match=r"no split 'test': found train"):
        labelled(make(tmp_path / "b", train__cat=1), ["cat"], split="test")
