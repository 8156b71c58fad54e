import pickle

import numpy as np
import pytest
from PIL import Image

from annotated import mask, photo, unpacked
from mobilenets.data.annotations import IGNORED
from mobilenets.data.folder import labelled, open_folder, relabelled
from mobilenets.errors import DataError, MisuseError

VALUES = np.zeros((20, 40), np.uint8)
VALUES[:, 20:], VALUES[:5], VALUES[-1] = 1, 2, 255


@pytest.fixture
def road(tmp_path):
    for split, names in (("train", "abc"), ("val", "d")):
        for name in names:
            photo(tmp_path / "images" / split / f"{name}.jpg")
            mask(tmp_path / "masks" / split / f"{name}.png", VALUES)
    (tmp_path / "classes.txt").write_text("road\nvoid\nsky\n")
    return tmp_path


def test_index_masks(road):
    folder = open_folder(road)
    assert folder.task == "segment" and folder.classes == ("road", "sky")
    assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 3, "val": 1}
    read = folder.splits["train"][0].label.read()
    assert read.dtype == np.uint8 and read.shape == (20, 40)
    assert (read[:5] == 1).all() and (read[5:-1, :20] == 0).all()
    assert (read[5:-1, 20:] == IGNORED).all() and (read[-1] == IGNORED).all()
    assert pickle.loads(pickle.dumps(folder)) == folder and len(set(folder.splits["train"])) == 3


def test_splits_above_or_none(road, tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for half in ("images", "masks"):
            (road / half / split).rename(tmp_path / split / half)
    for half in ("images", "masks"):
        (tmp_path / half).rmdir()
    assert {name: len(of) for name, of in open_folder(tmp_path).splits.items()} == {"train": 3, "val": 1}
    (tmp_path / "train" / "labels.txt").write_text("road\nvoid\nsky\n")
    flat = open_folder(tmp_path / "train", val_fraction=0.4)
    assert {name: len(of) for name, of in flat.splits.items()} == {"train": 2, "val": 1}


def test_labels_follow_the_model(road):
    (sample,) = labelled(road, ["sky", "sea", "road"])
    read = sample.label.read()
    assert (read[:5] == 0).all() and (read[5:-1, :20] == 2).all() and (read[-1] == IGNORED).all()
    folder = relabelled(open_folder(road), ["sky", "road"])
    assert folder.classes == ("sky", "road") and (folder.splits["val"][0].label.read()[:5] == 0).all()
    with pytest.raises(DataError, match=r"1 labels are no class of the model: \+sky"):
        labelled(road, ["road", "sea"])


def test_what_has_no_other_half_is_told(road):
    photo(road / "images" / "train" / "bare.jpg")
    mask(road / "masks" / "val" / "lost.png", VALUES)
    told = [(odd.kind, odd.file.name) for odd in open_folder(road).oddities]
    assert told == [("no annotation", "bare.jpg"), ("no image", "lost.png")]


def test_masks_that_cannot_be_read(road):
    masks = road / "masks" / "train"
    mask(masks / "a.png", np.full((20, 40), 3))
    photo(masks / "b.png")
    (masks / "c.png").write_bytes(b"text")
    a, b, c = (sample.label for sample in open_folder(road).splits["train"])
    with pytest.raises(DataError, match=r"a\.png: has pixels of 3; the list of classes goes to 2 \(255 is ignored\)"):
        a.read()
    with pytest.raises(DataError, match=r"b\.png: a mask with colours; .*class_dict\.csv"):
        b.read()
    with pytest.raises(DataError, match=r"c\.png: the mask cannot be read: "):
        c.read()


def test_masks_in_colours(road):
    red = np.zeros((20, 40, 3), np.uint8)
    red[..., 0], red[:5] = 255, (10, 20, 30)
    Image.fromarray(red).save(road / "masks" / "train" / "a.png")
    Image.fromarray(red).convert("P", palette=Image.Palette.ADAPTIVE).save(road / "masks" / "train" / "b.png")
    (road / "class_dict.csv").write_text("name,r,g,b\nwall, 255, 0, 0\nUnlabelled,10,20,30\nfloor,0,0,0\n")
    folder = open_folder(road)
    assert folder.classes == ("wall", "floor")
    for sample in folder.splits["train"][:2]:
        assert (sample.label.read()[:5] == IGNORED).all() and (sample.label.read()[5:] == 0).all()
    red[0, 0] = (1, 2, 3)
    Image.fromarray(red).save(road / "masks" / "train" / "c.png")
    with pytest.raises(DataError, match=r"c\.png: 0\.1% of the pixels have colours of no class \(#010203\)"):
        folder.splits["train"][2].label.read()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,r,g\nwall,1,2\n", "the colours of classes cannot be read"),
        ("name,r,g,b\nwall,1,2,red\n", "the colours of classes cannot be read"),
        ("name,r,g,b\nwall,1,2,300\n", "from 0 to 255"),
        ("name,r,g,b\nwall,1,2,3\nfloor,1,2,3\n", r"lists '\(1, 2, 3\)' twice"),
    ],
)
def test_colours_are_checked(road, text, said):
    (road / "class_dict.csv").write_text(text)
    with pytest.raises(DataError, match=rf"class_dict\.csv: .*{said}"):
        open_folder(road)


def test_refuses(road):
    (road / "classes.txt").write_text("road\n\nsky\n")
    with pytest.raises(DataError, match=r"classes\.txt: line 2 is empty"):
        open_folder(road)
    (road / "classes.txt").write_text("road\nvoid\n")
    with pytest.raises(MisuseError, match=r"one class only \(road\); name the background too"):
        open_folder(road)
    (road / "classes.txt").unlink()
    with pytest.raises(MisuseError, match=r"masks without names: expected classes\.txt or labels\.txt"):
        open_folder(road)
    with pytest.raises(MisuseError, match="masks without names"):
        open_folder(road, task="detect")


def test_streets(shared, tmp_path):
    folder = open_folder(unpacked(shared / "data" / "camvid.tar", tmp_path))
    assert {split: len(samples) for split, samples in folder.splits.items()} == {"train": 367, "val": 101}
    assert len(folder.classes) == 11 and "Unlabelled" not in folder.classes and folder.task == "segment"
    found = np.unique(np.stack([sample.label.read() for sample in folder.splits["val"][:20]]))
    assert set(found.tolist()) <= {*range(11), IGNORED} and IGNORED in found
