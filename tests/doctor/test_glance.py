"""A glance before training: one line a remark, and nothing to say of clean data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mobilenets.data.folder import Folder, Sample, open_folder
from mobilenets.doctor import glance

END = " `mobilenets check DATA` shows more."


@pytest.fixture
def data(small_scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_scenes, tmp_path / "data"))


def test_clean_scenes_give_no_remark(small_scenes: Path) -> None:
    assert glance(open_folder(small_scenes)) == []


def test_copies_across_splits(data: Path) -> None:
    car = sorted((data / "train" / "car").iterdir())
    shutil.copy(car[0], data / "val" / "car" / "copy.jpg")
    shutil.copy(car[1], data / "val" / "car" / "other.jpg")
    (remark,) = glance(open_folder(data))
    assert remark.startswith("2 of val lie in train too") and remark.endswith(END) and "\n" not in remark
    assert "copy.jpg" in remark and car[0].name in remark


def test_files_of_one_size_are_not_taken_for_copies(data: Path) -> None:
    ours, theirs = (sorted((data / split / "car").iterdir())[0] for split in ("train", "val"))
    longest = max(ours.stat().st_size, theirs.stat().st_size)
    for path in (ours, theirs):
        path.write_bytes(path.read_bytes().ljust(longest, b"\0"))
    assert glance(open_folder(data)) == []


def test_a_val_taken_from_train(data: Path) -> None:
    shutil.rmtree(data / "val")
    for path in sorted((data / "train" / "car").iterdir()):
        shutil.copy(path, path.with_stem(f"{path.stem}-again"))
    remarks = glance(open_folder(data / "train"))
    assert len(remarks) == 1 and "of val lie in train too" in remarks[0]


def test_empty_files_and_unequal_classes(data: Path) -> None:
    for path in sorted((data / "train" / "car").iterdir())[1:]:
        path.unlink()
    next((data / "train" / "car").iterdir()).write_bytes(b"")
    empty, few = glance(open_folder(data))
    assert empty.startswith("1 file is empty (0 bytes)") and empty.endswith(END)
    assert few == f"Class 'car' has 1 images to learn from, 'bottle' 12.{END}" or "'car' 1." in few


class Member:
    """A file in an archive, as a reader of archives may give it: not a path of the file system."""

    name, suffix = "1.jpg", ".jpg"


def test_files_that_lie_in_no_folder_are_not_compared(tmp_path: Path) -> None:
    samples = tuple(Sample(Member(), i % 2) for i in range(40))  # type: ignore[arg-type]
    assert glance(Folder(tmp_path, ("a", "b"), {"train": samples, "val": samples})) == []
