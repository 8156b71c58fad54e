"""The generated scenes: repeatable, labelled rightly, and no easier than they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.scenes import KINDS, Scene, scene, write_classification, write_detection, write_segmentation

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


# ---------------------------------------------------------------------------------------------------
# Several objects: boxes and masks

FEW = ("car", "house", "mushroom")


def _trees(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_only_the_asked_kinds_are_drawn() -> None:
    seen = {label for seed in range(20) for label in scene(seed, size=32, objects=3, kinds=FEW).labels}
    assert {KINDS[label] for label in seen} == set(FEW)
    assert np.array_equal(scene(4, size=32).image, scene(4, size=32, kinds=KINDS).image)


def test_boxes_in_vocs_layout(tmp_path: Path) -> None:
    write_detection(tmp_path / "set", train=5, val=2, size=64, objects=(1, 3), kinds=FEW)
    files = _trees(tmp_path / "set")
    stems = [f"train{n:04d}" for n in range(1, 6)] + [f"val{n:04d}" for n in range(1, 3)]
    assert files["ImageSets/Main/train.txt"].decode().split() == stems[:5]
    assert files["ImageSets/Main/val.txt"].decode().split() == stems[5:]
    assert files["classes.txt"].decode().split() == list(FEW)
    assert len(files) == 3 + 2 * len(stems)
    counts = []
    for n, stem in enumerate(stems):
        drawn = scene(n if n < 5 else 1_000_000 + n - 5, size=64, objects=1 + (n if n < 5 else n - 5) % 3, kinds=FEW)
        found = []
        for each in ElementTree.fromstring(files[f"Annotations/{stem}.xml"]).iterfind("object"):
            x0, y0, x1, y1 = (int(each.findtext(f"bndbox/{side}") or 0) for side in ("xmin", "ymin", "xmax", "ymax"))
            found.append((KINDS.index(each.findtext("name") or ""), (x0 - 1, y0 - 1, x1, y1)))
        assert found == list(zip(drawn.labels, drawn.boxes, strict=True))
        counts.append(len(found))
        with Image.open(tmp_path / "set" / "JPEGImages" / f"{stem}.jpg") as image:
            assert (image.format, image.size) == ("JPEG", (64, 64))
            assert np.abs(np.asarray(image).astype(int) - drawn.image).mean() < 12
    assert max(counts) > 1


def test_masks_beside_their_images(tmp_path: Path) -> None:
    write_segmentation(tmp_path / "set", train=4, val=2, size=64, objects=(2, 2), kinds=FEW)
    files = _trees(tmp_path / "set")
    assert files["classes.txt"].decode().split() == ["background", *FEW]
    names = [f"train/train{n:04d}" for n in range(1, 5)] + ["val/val0001", "val/val0002"]
    assert set(files) == {"classes.txt"} | {f"images/{n}.jpg" for n in names} | {f"masks/{n}.png" for n in names}
    for n, name in enumerate(names[:4]):
        drawn = scene(n, size=64, objects=2, kinds=FEW)
        with Image.open(tmp_path / "set" / "masks" / f"{name}.png") as mask:
            assert (mask.mode, mask.size) == ("P", (64, 64))
            numbers = np.asarray(mask)
        assert np.array_equal(numbers > 0, drawn.mask > 0)
        assert {FEW[k - 1] for k in np.unique(numbers) if k} == {KINDS[label] for label in drawn.labels}


@pytest.mark.parametrize("write", [write_detection, write_segmentation])
def test_sets_are_the_same_from_one_seed_and_more_workers(write: Callable[..., None], tmp_path: Path) -> None:
    for name, seed, workers in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        write(tmp_path / name, train=3, val=1, size=32, seed=seed, workers=workers)
    assert _trees(tmp_path / "a") == _trees(tmp_path / "b") != _trees(tmp_path / "c")
    with pytest.raises(ValueError, match="already exists"):
        write(tmp_path / "a", train=1, val=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kinds": ("car", "boat")}, "it must name some of bottle, butterfly"),
        ({"kinds": ("car", "car")}, "each once"),
        ({"kinds": ()}, r"kinds is \(\)"),
        ({"objects": (3, 1)}, r"objects is \(3, 1\); the least number comes first"),
        ({"objects": (0, 1)}, "objects is 0"),
        ({"val": 0}, r"images to train and to validate are \(1, 0\)"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_sets_out_of_range_are_named_and_leave_nothing(arguments: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        write_detection(tmp_path / "set", **{"train": 1, "val": 1, "size": 32} | arguments)
    assert list(tmp_path.iterdir()) == []
