import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from mobilenets.data.cache import load_squares, native_size
from mobilenets.data.decode import decode, image_size
from mobilenets.data.folder import labelled, open_folder
from mobilenets.errors import DataError, MisuseError

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'mobilenets[parquet]'")
parquet = pytest.importorskip("pyarrow.parquet")


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def written(file: Path, columns: dict[str, list], *, metadata: dict[str, str] | None = None, group: int = 4) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    parquet.write_table(table.replace_schema_metadata(metadata), file, row_group_size=group)
    return file


def pictures(count: int, start: int = 0) -> dict[str, list]:
    return {
        "image": [picture(i) for i in range(start, start + count)],
        "label": ["cat" if i % 2 else "dog" for i in range(start, start + count)],
    }


def test_paths_and_labels(tmp_path):
    names = [f"{i}.png" for i in range(8)]
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(picture(i))
    file = written(tmp_path / "x.parquet", {"file": names, "class": [10, 2] * 4, "split": ["train"] * 6 + ["val"] * 2})
    folder = open_folder(file)
    assert folder.classes == ("2", "10")
    assert [(s.path, s.label) for s in folder.splits["val"]] == [(tmp_path / "7.png", 0), (tmp_path / "6.png", 1)]
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match=r"x\.parquet: 1 of 8 rows name images that are not there: row 3"):
        open_folder(file)


@pytest.mark.parametrize("group", [3, 100])
def test_images_in_rows(tmp_path, group):
    file = written(tmp_path / "x.parquet", pictures(20), group=group)
    folder = open_folder(file, split_file=tmp_path / "split.json")
    assert folder.classes == ("cat", "dog") and {s: len(v) for s, v in folder.splits.items()} == {"train": 16, "val": 4}
    samples = folder.splits["train"]
    for sample in samples:
        assert decode(sample.path)[0, 0, 0] == sample.path.index and image_size(sample.path) == (24, 16)
        assert str(sample.path) == f"{file}/row {sample.path.index}" and sample.path.suffix == ""
        assert pickle.loads(pickle.dumps(sample)) == sample
    squares = load_squares(samples, native_size(samples, 64), workers=4)
    assert squares.images[:, 0, 0, 0].tolist() == [s.path.index for s in samples]
    assert open_folder(file, split_file=tmp_path / "split.json") == folder
    assert len(labelled(file, ["dog", "cat"])) == 20


def test_row_groups_beyond_the_limit_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("mobilenets.data.parquet._GROUPS.limit_bytes", 1)
    samples = labelled(written(tmp_path / "x.parquet", pictures(12), group=2), ["cat", "dog"])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda s: int(decode(s.path)[0, 0, 0]), samples))
    assert found == [s.path.index for s in samples]


def test_hugging_face_columns_in_files_of_splits(tmp_path):
    names = '{"info": {"features": {"label": {"names": ["wolf", "ant"], "_type": "ClassLabel"}}}}'
    for split, start in (("train", 0), ("test", 20)):
        for part in range(2):
            images = [{"bytes": picture(i), "path": f"{i}.png"} for i in range(start, start + 4)]
            columns = {"image": images, "label": [0, 1, 0, 1]}
            file = tmp_path / "data" / f"{split}-0000{part}-of-00002.parquet"
            written(file, columns, metadata={"huggingface": names})
    folder = open_folder(tmp_path)
    assert folder.classes == ("wolf", "ant")
    assert {split: len(found) for split, found in folder.splits.items()} == {"train": 6, "val": 2, "test": 8}
    first = folder.splits["test"][0]
    assert first.path.suffix == ".png" and first.path.name == "row 0 20.png" and decode(first.path)[0, 0, 0] == 20


def test_several_labels(tmp_path):
    columns = pictures(4) | {"label": [["cat", "dog"], ["cat"], [], ["dog"]]}
    found = labelled(written(tmp_path / "x.parquet", columns), ["dog", "cat"])
    assert [s.label for s in found] == [(0, 1), (1,), (), (0,)]
    columns = {"image": columns["image"], "cat": [1, 1, 0, 0], "dog": [True, False, False, True]}
    folder = open_folder(written(tmp_path / "y.parquet", columns))
    assert folder.multi_label and folder.classes == ("cat", "dog")


def refused(file: Path) -> str:
    with pytest.raises(DataError) as error:
        open_folder(file)
    assert str(error.value).startswith(f"{file}: ")
    return str(error.value).removeprefix(f"{file}: ")


def test_files_that_cannot_be_used(tmp_path):
    whole = written(tmp_path / "x.parquet", pictures(8)).read_bytes()
    bad = tmp_path / "bad.parquet"
    for data in (b"", b"hello", whole[:-40], whole[: len(whole) // 2], b"PAR1" + bytes(100) + b"PAR1"):
        bad.write_bytes(data)
        assert refused(bad).startswith("cannot be read as Parquet: ") and "\n" not in refused(bad)
    with pytest.raises(MisuseError, match=r"typo\.parquet: no such file"):
        open_folder(tmp_path / "typo.parquet")
    assert refused(written(bad, {"a": ["x"], "label": [1]})).startswith(
        "no column of images: found a, label; expected image bytes, or paths under one of path, file, "
    )
    assert refused(written(bad, {"image": [b"x"], "kind": ["cat"]})).startswith("no column of labels: found kind; ")
    assert refused(written(bad, {"image": pyarrow.array([], pyarrow.binary()), "label": []})).startswith("no rows")
    message = refused(written(bad, pictures(3) | {"label": ["cat", None, ""]}))
    assert message.startswith("2 rows have no label: row 1, row 2.")


def test_rows_that_cannot_be_read(tmp_path):
    images = [picture(0), None, b"text", picture(3)]
    file = written(tmp_path / "x.parquet", {"image": images, "label": ["a", "a", "b", "b"]})
    samples = labelled(file, ["a", "b"])
    with pytest.raises(DataError, match=r"x\.parquet: row 1: no image in this row\."):
        decode(samples[1].path)
    with pytest.raises(DataError, match=r"x\.parquet/row 2: not an image: begins with b'text'"):
        decode(samples[2].path)
    assert len(load_squares(samples, 8, max_unreadable=0.5)) == 2
    gone = labelled(written(tmp_path / "y.parquet", pictures(4)), ["cat", "dog"])
    (tmp_path / "y.parquet").unlink()
    with pytest.raises(DataError, match=r"y\.parquet: row group 0 cannot be read: "):
        decode(gone[0].path)
