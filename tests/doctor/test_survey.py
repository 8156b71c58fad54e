"""Layouts are read as `open_folder` reads them where it does, and as far as possible where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mobilenets.doctor.survey import layout_findings, survey
from mobilenets.errors import MisuseError


def images(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((16, 16), 50).save(path)
    return root


def placed(root: Path) -> set[tuple[str, str, str]]:
    return {(item.path.name, item.split, item.label) for item in survey(root).items}


def test_without_splits(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "a/deep/2.png", "a/3.png", "b/4.png", "b/5.png", ".hidden/6.png", "a/.7.png")
    assert placed(tmp_path) == {(f"{i}.png", "all", "a" if i < 4 else "b") for i in range(1, 6)}
    assert layout_findings(survey(tmp_path)) == []


def test_splits_under_their_other_names(tmp_path: Path) -> None:
    images(tmp_path, "Training/a/1.png", "Training/b/2.png", "valid/a/3.png", "valid/b/4.png")
    assert {split for _, split, _ in placed(tmp_path)} == {"train", "val"}
    (tmp_path / "valid" / "c").mkdir()
    (finding,) = layout_findings(survey(tmp_path))
    assert finding.paths == (tmp_path / "valid" / "c",) and "no images" in finding.message


def test_a_class_called_train(tmp_path: Path) -> None:
    images(tmp_path, "train/1.png", "train/2.png", "tram/3.png", "tram/4.png")
    assert {label for _, _, label in placed(tmp_path)} == {"train", "tram"}


def test_unlabelled_test_images_are_nothing_to_remark_on(tmp_path: Path) -> None:
    images(tmp_path, "train/a/1.png", "train/a/2.png", "train/b/3.png", "train/b/4.png", "test/5.png")
    found = survey(tmp_path)
    assert len(found.items) == 4 and layout_findings(found) == []


def test_a_test_set_may_lack_classes(tmp_path: Path) -> None:
    images(tmp_path, "train/a/1.png", "train/a/2.png", "train/b/3.png", "train/b/4.png", "test/a/5.png")
    (finding,) = layout_findings(survey(tmp_path))
    assert finding.severity == "note" and "'b'" in finding.message


def test_all_that_differs_is_told_at_once(tmp_path: Path) -> None:
    images(tmp_path, "train/a/1.png", "train/b/2.png", "train/c/3.png", "val/a/4.png", "val/d/5.png", "val/e/6.png")
    findings = layout_findings(survey(tmp_path))
    assert [finding.paths[0].name for finding in findings] == ["d", "e", "b", "c"]
    assert {finding.severity for finding in findings} == {"fault"}


def test_one_class_only(tmp_path: Path) -> None:
    (finding,) = layout_findings(survey(images(tmp_path, "a/1.png", "a/2.png")))
    assert (finding.kind, finding.severity) == ("layout", "fault") and "one class only" in finding.message


def test_images_without_class_folders(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="without class folders"):
        survey(images(tmp_path, "1.png", "2.png"))
