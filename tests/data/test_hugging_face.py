import io
import os
import pickle
import subprocess
import sys

import pytest
from PIL import Image

from mobilenets.data.cache import load_squares
from mobilenets.data.decode import decode
from mobilenets.data.folder import labelled, open_folder
from mobilenets.errors import DataError, MisuseError

datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'mobilenets[datasets]'")


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def made(labels: list, kind, start: int = 0, **more):
    features = datasets.Features({"picture": datasets.Image(), "label": kind, "note": datasets.Value("string")})
    images = [{"bytes": picture(start + i), "path": None} for i in range(len(labels))]
    columns = {"picture": images, "label": labels, "note": ["x"] * len(labels)}
    return datasets.Dataset.from_dict(columns, features=features)


KIND = datasets.ClassLabel(names=["wolf", "ant"])


def test_splits_saved_to_disk(tmp_path):
    parts = {"train": made([0, 1] * 5, KIND), "test": made([1, 0, -1], KIND, 100)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    folder = open_folder(tmp_path / "d", split_file=tmp_path / "split.json")
    assert folder.classes == ("wolf", "ant")
    assert {split: len(found) for split, found in folder.splits.items()} == {"train": 8, "val": 2, "test": 2}
    for sample in folder.splits["train"]:
        assert sample.path.index % 2 == sample.label and decode(sample.path)[0, 0, 0] == sample.path.index
    squares = load_squares(folder.splits["test"], 16, workers=2)
    assert squares.images[:, 0, 0, 0].tolist() == [101, 100]
    assert str(squares.paths[0]) == f"{tmp_path}/d/test/row 1"
    assert open_folder(tmp_path / "d", split_file=tmp_path / "split.json").splits == folder.splits
    assert [s.label for s in labelled(tmp_path / "d", ["ant", "wolf"])] == [0, 1]
    again = pickle.loads(pickle.dumps(folder.splits["test"][0]))
    assert again == folder.splits["test"][0] and decode(again.path)[0, 0, 0] == 101


def test_one_split_and_images_beside(tmp_path):
    paths = []
    for i in range(6):
        paths.append(str(tmp_path / f"{i}.png"))
        (tmp_path / f"{i}.png").write_bytes(picture(i))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    one = datasets.Dataset.from_dict({"image": paths, "label": ["cat", "dog"] * 3}, features=features)
    one.save_to_disk(tmp_path / "d")
    folder = open_folder(tmp_path / "d", val_fraction=0.34)
    assert folder.classes == ("cat", "dog") and [len(v) for v in folder.splits.values()] == [4, 2]
    assert sorted(decode(s.path)[0, 0, 0] for v in folder.splits.values() for s in v) == list(range(6))


def test_several_labels(tmp_path):
    made([[0, 1], [], [1], [0]], datasets.Sequence(KIND)).save_to_disk(tmp_path / "d")
    assert open_folder(tmp_path / "d").multi_label
    assert [s.label for s in labelled(tmp_path / "d", ["wolf", "ant"])] == [(0, 1), (), (1,), (0,)]


def test_what_cannot_be_used(tmp_path):
    one = made([0, 1], KIND)
    datasets.DatasetDict({"extra": one}).save_to_disk(tmp_path / "a")
    with pytest.raises(DataError, match=r"a: no split that is known: found extra; expected train, validation, test\."):
        open_folder(tmp_path / "a")
    one.remove_columns("picture").save_to_disk(tmp_path / "b")
    with pytest.raises(DataError, match=r"one column of images in all, has 0: found label \(ClassLabel\), note"):
        open_folder(tmp_path / "b")
    one.remove_columns("label").save_to_disk(tmp_path / "c")
    with pytest.raises(DataError, match=r"c: no column of labels: found note; expected one of label, class"):
        open_folder(tmp_path / "c")
    one.save_to_disk(tmp_path / "d")
    next((tmp_path / "d").glob("*.arrow")).write_bytes(b"x")
    with pytest.raises(DataError, match=r"d: cannot be read as a Hugging Face data set: "):
        open_folder(tmp_path / "d")
    for given in ("hf://datasets/", "hf://models/a/b", "hf://datasets/a/b/c"):
        with pytest.raises(MisuseError, match="expected the address of a data set, such as hf://datasets/owner/name"):
            open_folder(given)


def test_no_network_is_one_line(tmp_path):
    code = "from mobilenets.data.folder import open_folder; open_folder('hf://datasets/mobilenets/not-there')"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("mobilenets.errors.DataError: hf://datasets/mobilenets/not-there: cannot be loaded: ")
    assert line.endswith("Check the name and the network, or give a folder.")
