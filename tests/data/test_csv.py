import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.cache import load_squares
from mobilenets.data.folder import Folder, labelled, open_folder
from mobilenets.errors import DataError, MisuseError


def table(root: Path, header: str, *rows: str, name: str = "labels.csv", images: bool = True) -> Path:
    """A CSV file and the empty images that the first cells of its rows name."""
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    if images:
        for row in csv.reader(rows, delimiter="\t" if name.endswith("tsv") else ","):
            path = root / (row[0] if row else "")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.is_dir() or path.touch()
    return file


def pets(count: int = 10) -> list[str]:
    return [f"{name}/{i}.jpg,{name}" for name in ("dog", "cat") for i in range(count)]


def named(folder: Folder, split: str) -> dict[str, object]:
    return {sample.path.name: sample.label for sample in folder.splits[split]}


def test_paths_and_labels_are_split_by_class(tmp_path):
    folder = open_folder(table(tmp_path, "path,label", *pets()))
    assert folder.classes == ("cat", "dog") and not folder.multi_label
    assert [len(folder.splits[split]) for split in ("train", "val")] == [16, 4]
    for sample in folder.splits["train"]:
        assert sample.path.is_file() and sample.path.parent.name == folder.classes[sample.label]


def test_the_same_files_give_the_same_split_as_class_folders(tmp_path):
    file = table(tmp_path / "d", "path,label", *pets())
    by_table = open_folder(file)
    file.rename(tmp_path / "labels.csv")
    assert open_folder(tmp_path / "d").splits == by_table.splits


@pytest.mark.parametrize(
    ("name", "header", "rows"),
    [
        ("a.csv", "Filename,Category", ["a.jpg,cat", "b.jpg,cat", "c.jpg,dog", "d.jpg,dog"]),
        ("a.csv", " id , target , image_path ", ["0,cat,a.jpg", "1,cat,b.jpg", "2,dog,c.jpg", "3,dog,d.jpg"]),
        ("a.csv", "file;class", ["a.jpg;cat", "b.jpg;cat", "c.jpg;dog", '"d.jpg";"dog"']),
        ("a.tsv", "image\tlabel", ["a.jpg\tcat", "b.jpg\tcat", "", "c.jpg\tdog", "d.jpg\tdog"]),
    ],
)
def test_usual_columns_and_separators(tmp_path, name, header, rows):
    for letter in "abcd":
        (tmp_path / f"{letter}.jpg").touch()
    folder = open_folder(table(tmp_path, header, *rows, name=name, images=False), val_fraction=0.5)
    assert folder.classes == ("cat", "dog")
    assert named(folder, "train") | named(folder, "val") == {"a.jpg": 0, "b.jpg": 0, "c.jpg": 1, "d.jpg": 1}


def test_whole_numbers_are_names_in_natural_order(tmp_path):
    rows = [f"{i}{k}.jpg,{i}" for i in (10, 2, 0) for k in "ab"]
    assert open_folder(table(tmp_path, "path,label", *rows)).classes == ("0", "2", "10")


def test_byte_order_mark_and_quoted_names(tmp_path):
    file = table(tmp_path, "\ufeffpath,label", '"a, b.jpg",Zoë', "c.jpg,Zoë", "d.jpg,x", "e.jpg,x")
    folder = open_folder(file)
    assert folder.classes == ("Zoë", "x")
    assert "a, b.jpg" in named(folder, "train") | named(folder, "val")


def test_split_column(tmp_path):
    rows = ["a.jpg,cat,train", "b.jpg,dog,Training", "c.jpg,cat,valid", "d.jpg,dog,test", "e.jpg,,test"]
    folder = open_folder(table(tmp_path, "path,label,subset", *rows))
    assert {split: sorted(named(folder, split)) for split in folder.splits} == {
        "train": ["a.jpg", "b.jpg"],
        "val": ["c.jpg"],
        "test": ["d.jpg"],  # e.jpg's label is kept back
    }


def test_split_file_names_the_images(tmp_path):
    file, split_file = table(tmp_path / "d", "path,label", *pets()), tmp_path / "split.json"
    first = open_folder(file, split_file=split_file)
    saved = json.loads(split_file.read_text())["splits"]
    assert "dog/0.jpg" in saved["train"] + saved["val"]
    assert open_folder(file, split_file=split_file, seed=4) == first
    file.parent.rename(tmp_path / "moved")
    again = open_folder(tmp_path / "moved" / "labels.csv", split_file=split_file)
    assert named(again, "val") == named(first, "val")


def test_images_beside_the_folder(tmp_path):
    (tmp_path / "images").mkdir()
    for letter in "abcd":
        (tmp_path / "images" / f"{letter}.jpg").touch()
    rows = ["../images/a.jpg,x", "../images/b.jpg,x", f"{tmp_path}/images/c.jpg,y", "../images/d.jpg,y"]
    file = table(tmp_path / "labels", "path,label", *rows, images=False)
    first = open_folder(file, split_file=tmp_path / "split.json")
    assert open_folder(file, split_file=tmp_path / "split.json") == first


def test_labelled_uses_the_models_order(tmp_path):
    file = table(tmp_path, "path,label,split", "a.jpg,cat,train", "b.jpg,dog,val", "c.jpg,cat,val")
    assert [(s.path.name, s.label) for s in labelled(file, ["dog", "emu", "cat"])] == [("b.jpg", 0), ("c.jpg", 2)]
    assert len(labelled(file, ["dog", "cat"], split="train")) == 1
    with pytest.raises(DataError, match=r"1 labels are no class of the model: \+dog -emu"):
        labelled(file, ["cat", "emu"])
    with pytest.raises(MisuseError, match=r"no split 'test': found train, val"):
        labelled(file, ["cat", "dog"], split="test")


# ---------------------------------------------------------------------------------------------------


def refused(file: Path) -> str:
    with pytest.raises(DataError) as error:
        open_folder(file)
    assert str(error.value).startswith(f"{file}: ")
    return str(error.value).removeprefix(f"{file}: ")


def test_missing_images_are_counted_and_shown_with_their_lines(tmp_path):
    file = table(tmp_path, "path,label", *pets())
    for i in range(7):
        (tmp_path / "dog" / f"{i}.jpg").unlink()
    assert refused(file) == (
        "7 of 20 rows name images that are not there: line 2 (dog/0.jpg), line 3 (dog/1.jpg), line 4 (dog/2.jpg), "
        f"line 5 (dog/3.jpg), line 6 (dog/4.jpg), and 2 more. Paths are relative to {tmp_path}; correct or remove "
        "these rows."
    )


def test_missing_columns(tmp_path):
    assert refused(table(tmp_path, "a.jpg,cat", "b.jpg,dog")).startswith(
        "no column of image paths: found a.jpg, cat; expected a header line with one of path, file, filename, image,"
    )
    assert refused(table(tmp_path, "path,kind,split", "b.jpg,dog,train")).startswith(
        "no column of labels: found kind, split; expected one of label, class, category, target, "
    )
    assert "no column of labels: found none" in refused(table(tmp_path, "path", "b.jpg"))


def test_empty_and_broken_files(tmp_path):
    (tmp_path / "a.csv").touch()
    assert refused(tmp_path / "a.csv") == ("empty; expected a header line such as path,label and one line per image.")
    assert refused(table(tmp_path, "path,label")) == "no rows; expected one row per image."
    (tmp_path / "b.csv").write_bytes(b"path,label\n\xff\xfe,cat\n")
    assert refused(tmp_path / "b.csv").startswith("cannot be read as CSV: 'utf-8' codec can't decode")
    message = refused(table(tmp_path, "path,label", "a.jpg,cat", "b.jpg", "c.jpg,dog,dog"))
    assert message == "2 lines do not have 2 columns as the first has: line 3 (1), line 4 (3). Correct them."


def test_rows_without_a_label_or_with_an_unknown_split(tmp_path):
    message = refused(table(tmp_path, "path,label", "a.jpg,cat", "b.jpg,", "c.jpg, "))
    assert message.startswith("2 rows have no label: line 3, line 4. Label or remove them; only multi-label data")
    message = refused(table(tmp_path, "path,label,split", "a.jpg,cat,train", "b.jpg,dog,holdout", "c.jpg,dog,"))
    assert message == "2 rows have an unknown split: line 3 (holdout), line 4 (). Write train, val or test."


def test_images_listed_twice(tmp_path):
    file = table(tmp_path, "path,label", "a.jpg,x", "a.jpg,x", "b.jpg,x", "c.jpg,y", "d.jpg,y")
    assert sum(map(len, open_folder(file).splits.values())) == 4
    message = refused(table(tmp_path, "path,label", "a.jpg,cat", "a.jpg,dog", "b.jpg,dog"))
    assert message.startswith(f"1 images are listed twice with different labels: {tmp_path}/a.jpg (cat and dog). List")


def test_classes_of_the_splits(tmp_path):
    rows = ["a.jpg,cat,train", "b.jpg,dog,train", "c.jpg,emu,val"]
    message = refused(table(tmp_path, "path,label,split", *rows))
    assert message.startswith("val has other classes than train: -cat -dog +emu (- only in train, + only in val).")
    assert "class 'dog' has one image (b.jpg)" in refused(
        table(tmp_path, "path,label", "a.jpg,x", "c.jpg,x", "b.jpg,dog")
    )
    with pytest.raises(MisuseError, match=r"one class only \(cat\), a classifier needs two or more"):
        open_folder(table(tmp_path, "path,label", "a.jpg,cat", "b.jpg,cat"))
    with pytest.raises(MisuseError, match=r"labels\.csv: has val but no train"):
        open_folder(table(tmp_path, "path,label,split", "a.jpg,cat,val", "b.jpg,dog,val"))
    with pytest.raises(MisuseError, match=r"typo\.csv: no such file\."):
        open_folder(tmp_path / "typo.csv")


# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("path,tags", ["a.jpg,cat|dog", "b.jpg,cat", "c.jpg,", "d.jpg, dog | cat "]),
        ("path,label", ["a.jpg,cat;dog", "b.jpg,cat", "c.jpg,", "d.jpg,dog;cat;dog"]),
        ("path,cat,dog", ["a.jpg,1,1", "b.jpg,1,0", "c.jpg,0,0", "d.jpg,1.0,1"]),
    ],
)
def test_several_labels(tmp_path, header, rows):
    folder = open_folder(table(tmp_path, header, *rows))
    assert folder.multi_label and folder.classes == ("cat", "dog")
    assert named(folder, "train") | named(folder, "val") == {
        "a.jpg": (0, 1),
        "b.jpg": (0,),
        "c.jpg": (),
        "d.jpg": (0, 1),
    }


def test_several_labels_are_split_by_the_rarest(tmp_path):
    rows = [f"{i}.jpg,day{'|rain' * (i % 2)}{'|snow' * (i % 10 == 0)}" for i in range(60)] + ["x.jpg,day|hail"]
    rows += [f"none{i}.jpg," for i in range(10)]
    folder = open_folder(table(tmp_path, "path,label", *rows), val_fraction=0.2)
    assert folder.classes == ("day", "hail", "rain", "snow")
    val = folder.splits["val"]
    count = {name: sum(folder.classes.index(name) in s.label for s in val) for name in folder.classes}
    assert count == {"day": 12, "hail": 0, "rain": 6, "snow": 1}
    assert sum(s.label == () for s in val) == 2
    assert len(folder.splits["train"]) + len(val) == 71


def test_squares_of_several_labels_have_a_matrix(tmp_path):
    rows = [f"{i}.png,{i % 2},1,0,{'val' if i == 3 else 'train'}" for i in range(4)]
    file = table(tmp_path, "path,cat,dog,emu,split", *rows, "4.png,0,0,1,train")
    for path in tmp_path.glob("*.png"):
        Image.new("RGB", (8, 8)).save(path)
    samples = open_folder(file).splits["train"]
    squares = load_squares(samples, 8, classes=3)
    assert squares.labels.dtype == np.float32
    assert squares.labels.tolist() == [[0, 1, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]]
    with pytest.raises(MisuseError, match="`classes` must say how many"):
        load_squares(samples, 8)
