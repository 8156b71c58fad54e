"""The generated scenes: repeatable, labelled rightly, and no easier than they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.scenes import KINDS, Scene, scene, write_classification

SIZE = 64
TRAIN, VAL = 60, 20  # images per class of the sample


@pytest.fixture(scope="module")
def sample() -> list[Scene]:
    """Return scenes of all kinds in turn."""
    count = len(KINDS) * (TRAIN + VAL)
    return [scene(n, size=SIZE, kind=n % len(KINDS)) for n in range(count)]


def _accuracy(features: NDArray[np.float64], labels: NDArray[np.int64], ridge: float) -> float:
    """Return the validation accuracy of ridge regression onto one-hot labels (features n d)."""
    split = len(KINDS) * TRAIN
    mean, spread = features[:split].mean(axis=0), features[:split].std(axis=0) + 1e-6
    scaled = (features - mean) / spread / np.sqrt(features.shape[1])
    train, val = scaled[:split], scaled[split:]
    target = np.eye(len(KINDS))[labels[:split]] - 1.0 / len(KINDS)
    # The dual form: a system as large as the sample, not as the image.
    dual = np.linalg.solve(train @ train.T + ridge * np.eye(split), target)
    return float(((val @ (train.T @ dual)).argmax(axis=1) == labels[split:]).mean())


def test_kinds_are_distinct_and_sorted() -> None:
    assert len(KINDS) >= 8
    assert list(KINDS) == sorted(set(KINDS))


def test_same_seed_same_scene() -> None:
    a, b = scene(7, size=SIZE, objects=3), scene(7, size=SIZE, objects=3)
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.mask, b.mask)
    assert (a.label, a.box, a.boxes, a.labels) == (b.label, b.box, b.boxes, b.labels)


def test_other_seed_other_scene() -> None:
    assert not np.array_equal(scene(7, size=SIZE).image, scene(8, size=SIZE).image)


def test_shapes_and_types() -> None:
    drawn = scene(3)
    assert drawn.image.shape == (128, 128, 3)
    assert drawn.mask.shape == (128, 128)
    assert drawn.image.dtype == drawn.mask.dtype == np.uint8


def test_every_kind_can_be_drawn_without_asking() -> None:
    assert {scene(n, size=32).label for n in range(80)} == set(range(len(KINDS)))


def test_box_is_the_extent_of_the_mask(sample: list[Scene]) -> None:
    for drawn in sample:
        assert set(np.unique(drawn.mask)) == {0, drawn.label + 1}
        ys, xs = np.nonzero(drawn.mask)
        assert drawn.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert drawn.boxes == (drawn.box,)
        assert drawn.labels == (drawn.label,)


def test_objects_are_not_too_small(sample: list[Scene]) -> None:
    sides = [max(d.box[2] - d.box[0], d.box[3] - d.box[1]) / SIZE for d in sample]
    assert min(sides) > 0.2  # 0.35 drawn, less what an occluder hides at an end
    assert max(sides) <= 0.9


@pytest.mark.parametrize("objects", [2, 4])
def test_several_objects(objects: int) -> None:
    for seed in range(20):
        drawn = scene(seed, objects=objects)
        assert 1 <= len(drawn.boxes) == len(drawn.labels) <= objects
        assert (drawn.box, drawn.label) == (drawn.boxes[0], drawn.labels[0])
        assert set(np.unique(drawn.mask)) == {0, *(k + 1 for k in drawn.labels)}
        for (x0, y0, x1, y1), label in zip(drawn.boxes, drawn.labels, strict=True):
            assert 0 <= x0 < x1 <= 128
            assert 0 <= y0 < y1 <= 128
            assert (drawn.mask[y0:y1, x0:x1] == label + 1).any()


def test_mean_colour_does_not_tell_the_kind(sample: list[Scene]) -> None:
    labels = np.array([d.label for d in sample])
    colours = np.stack([d.image.mean(axis=(0, 1)) for d in sample])
    inside = np.stack([d.image[d.mask > 0].mean(axis=0) for d in sample])
    split = len(KINDS) * TRAIN
    for values in (colours, inside):
        means = np.stack([values[:split][labels[:split] == k].mean(axis=0) for k in range(len(KINDS))])
        nearest = ((values[split:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        # Chance is 1 / 8; the margin is three standard deviations of 160 draws.
        assert (nearest == labels[split:]).mean() < 0.21


@pytest.mark.parametrize("side", [32, 64])
def test_a_linear_model_on_pixels_fails(sample: list[Scene], side: int) -> None:
    labels = np.array([d.label for d in sample])
    small = [np.asarray(Image.fromarray(d.image).resize((side, side))) for d in sample]
    pixels = np.stack(small).reshape(len(sample), -1) / 255.0
    assert max(_accuracy(pixels, labels, ridge) for ridge in (0.1, 1.0, 10.0)) < 0.4


def test_outlines_do_tell_the_kind(sample: list[Scene]) -> None:
    """The outlines alone, at one size and place, hold enough for the same linear model."""
    labels = np.array([d.label for d in sample])
    cut = [Image.fromarray((d.mask > 0).astype(np.uint8) * 255).crop(d.box).resize((24, 24)) for d in sample]
    outlines = np.stack([np.asarray(c) for c in cut]).reshape(len(sample), -1) / 255.0
    assert _accuracy(outlines, labels, 1.0) > 0.6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"size": 8}, "size is 8"), ({"kind": 99}, "kind is 99"), ({"objects": 0}, "objects is 0")],
)
def test_wrong_arguments_are_named(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        scene(0, **arguments)


def test_writer(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "shapes"
    write_classification(folder, per_class_train=3, per_class_val=2, size=48)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["shapes"]
    assert sorted(p.name for p in folder.iterdir()) == ["train", "val"]
    seen = set()
    for split, count in (("train", 3), ("val", 2)):
        assert sorted(p.name for p in (folder / split).iterdir()) == list(KINDS)
        for kind in KINDS:
            files = sorted((folder / split / kind).iterdir())
            assert [f.name for f in files] == [f"{n:04d}.jpg" for n in range(1, count + 1)]
            for file in files:
                with Image.open(file) as image:
                    assert (image.format, image.size, image.mode) == ("JPEG", (48, 48), "RGB")
                    seen.add(image.tobytes())
    assert len(seen) == 5 * len(KINDS)


def test_writer_gives_the_same_files_with_more_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        write_classification(tmp_path / str(workers), per_class_train=2, per_class_val=1, size=32, workers=workers)
    for file in (tmp_path / "1").rglob("*.jpg"):
        other = tmp_path / "2" / file.relative_to(tmp_path / "1")
        assert other.read_bytes() == file.read_bytes()


def test_writer_refuses_an_existing_folder(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("mine")
    with pytest.raises(ValueError, match="already exists"):
        write_classification(tmp_path, per_class_train=1, per_class_val=1)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_writer_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_classification(tmp_path / "out", per_class_train=1, per_class_val=1, size=32)
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_empty_splits(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images per class"):
        write_classification(tmp_path / "out", per_class_train=1, per_class_val=0)
