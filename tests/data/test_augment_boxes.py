"""Boxes follow their objects through crops, expansion, flips and mosaics."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mobilenets.data.annotations import Objects
from mobilenets.data.augment import BOXES, DEFAULT, LIGHT, NONE, RANDOM, STRONG, Augmentation, plain
from mobilenets.data.augment_boxes import augment_boxes
from mobilenets.errors import MisuseError

SIDE = 60
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
MOVES = replace(BOXES, brightness=0.0, contrast=0.0, saturation=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int, n: int) -> tuple[torch.Tensor, list[Objects]]:
    """Black squares with a rectangle of each colour, apart from each other: label k has colour k; the green is hard."""
    random = np.random.default_rng(seed)
    images, truth = np.zeros((n, SIDE, SIDE, 3), np.uint8), []
    for image in images:
        corners = []
        for k in range(3):
            x, y = random.integers(0, SIDE // 2, 2)
            w, h = random.integers(4, 20, 2)
            top = k * SIDE // 3
            x1, y0 = min(x + w, SIDE), top + y // 3
            y1 = min(y0 + h, top + SIDE // 3)
            image[y0:y1, x:x1] = COLOURS[k]
            corners.append((x, y0, x1, y1))
        truth.append((np.array(corners, np.float32) / SIDE, np.arange(3), np.array([False, True, False])))
    return torch.from_numpy(images), truth


def seen(image: torch.Tensor, label: int) -> np.ndarray | None:
    """Corners in pixels of what has a label's colour, to where it has half of its strength."""
    ys, xs = np.nonzero(image[label].numpy() > 0.5)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) if len(xs) else None


@hypothesis_settings(deadline=None)
@given(seed=st.integers(0, 10_000), resolution=st.sampled_from([40, 60, 97]))
def test_a_box_is_where_its_object_is(seed: int, resolution: int) -> None:
    images, truth = drawn(seed, 4)
    settings = replace(MOVES, mosaic=0.0)
    augmented, found = augment_boxes(images, truth, resolution, settings, generator(seed))
    for image, (corners, labels, hard) in zip(augmented, found, strict=True):
        assert len(corners) == len(labels) == len(hard)
        assert np.array_equal(hard, labels == 1)
        for box, label in zip(corners * resolution, labels, strict=True):
            edges = seen(image, label)
            assert edges is not None or (box[2:] - box[:2]).min() < 2
            if edges is not None:
                assert np.abs(edges - box).max() <= 2.0, (edges, box)


@hypothesis_settings(deadline=None)
@given(seed=st.integers(0, 10_000), mosaic=st.sampled_from([0.0, 0.5, 1.0]))
def test_boxes_are_valid(seed: int, mosaic: float) -> None:
    images, truth = drawn(seed, 8)
    augmented, found = augment_boxes(images, truth, 50, replace(BOXES, mosaic=mosaic), generator(seed))
    assert augmented.shape == (8, 3, 50, 50) and augmented.is_contiguous(memory_format=torch.channels_last)
    assert augmented.min() >= 0 and augmented.max() <= 1
    for corners, labels, hard in found:
        assert (corners.dtype, labels.dtype, hard.dtype) == (np.float32, np.int64, np.bool_)
        assert corners.shape == (len(labels), 4) and len(hard) == len(labels)
        assert (corners >= 0).all() and (corners <= 1).all()
        assert ((corners[:, 2:] - corners[:, :2]) * 50 > 0.999).all()


@hypothesis_settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_boxes_of_a_mosaic_hold_their_colour(seed: int) -> None:
    images, truth = drawn(seed, 8)
    settings = replace(MOVES, mosaic=1.0)
    augmented, found = augment_boxes(images, truth, 80, settings, generator(seed))
    for image, (corners, labels, _) in zip(augmented, found, strict=True):
        for (x0, y0, x1, y1), label in zip(corners * 80, labels, strict=True):
            inside = image[:, int(y0 + 0.5) : int(y1 + 0.5), int(x0 + 0.5) : int(x1 + 0.5)].mean((1, 2)).numpy()
            assert inside.argmax() == label
            assert inside[label] > 0.6 or min(x1 - x0, y1 - y0) < 4  # edges are soft


def test_a_mosaic_is_of_four_neighbours() -> None:
    images = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 20, 20, 1) * 20
    settings = Augmentation(**{**as_none(), "mosaic": 1.0})
    augmented, _ = augment_boxes(images, [no_objects()] * 10, 40, settings, generator())
    for i, image in enumerate(augmented):
        expected = set(range(i // 4 * 4, i // 4 * 4 + 4)) if i < 8 else {i}  # the last two have no neighbours
        assert {round(value * 255 / 20) for value in image.unique().tolist()} == expected


def no_objects() -> Objects:
    return np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_)


def as_none() -> dict[str, object]:
    return {name: getattr(NONE, name) for name in NONE.__slots__}


def test_nothing_changes_nothing() -> None:
    images, truth = drawn(0, 4)
    whole = replace(NONE, least_overlap=(1.0,))
    for settings in (NONE, whole):
        augmented, found = augment_boxes(images, truth, 33, settings, generator())
        assert torch.equal(augmented, plain(images, 33))
        for (corners, labels, hard), (before, *rest) in zip(found, truth, strict=True):
            assert np.allclose(corners, before, atol=1e-6)
            assert np.array_equal(labels, rest[0]) and np.array_equal(hard, rest[1])


def test_images_without_objects() -> None:
    images, _ = drawn(0, 20)
    augmented, found = augment_boxes(images, [no_objects()] * 20, 40, replace(BOXES, expand=4.0), generator())
    assert len(augmented) == len(found) == 20
    assert all(corners.shape == (0, 4) for corners, _, _ in found)
    empty, none = augment_boxes(images[:0], [], 40, BOXES, generator())
    assert empty.shape == (0, 3, 40, 40) and none == []


@pytest.mark.parametrize("least", [0.3, 0.7])
def test_crops_overlap_an_object_as_far_as_asked(least: float) -> None:
    """One object of half the image's sides: its overlap with the crop follows from the box after it."""
    images = torch.zeros(64, SIDE, SIDE, 3, dtype=torch.uint8)
    truth = [(np.array([[0.25, 0.25, 0.75, 0.75]], np.float32), np.zeros(1, np.int64), np.zeros(1, np.bool_))] * 64
    settings = replace(MOVES, mosaic=0.0, expand=1.0, flip=0.0, least_overlap=(least,))
    _, found = augment_boxes(images, truth, 100, settings, generator())
    boxes = np.concatenate([corners for corners, _, _ in found])
    parts = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])  # intersection over the crop's area
    whole = np.isclose(boxes, truth[0][0]).all(1)  # where no crop overlapped as far
    assert parts[~whole].min() >= least - 0.03  # pixels are whole
    assert np.std(parts[~whole]) > 0.02 and (~whole).sum() > 10


def test_expanded_images_have_their_mean_colour_around() -> None:
    images = torch.full((100, SIDE, SIDE, 3), 200, dtype=torch.uint8)
    images[:, : SIDE // 2] = 100
    truth = [(np.array([[0.4, 0.4, 0.6, 0.6]], np.float32), np.zeros(1, np.int64), np.zeros(1, np.bool_))] * 100
    settings = replace(MOVES, mosaic=0.0, expand=3.0, least_overlap=(1.0,))
    augmented, found = augment_boxes(images, truth, SIDE, settings, generator())
    sides = np.array([corners[0, 2] - corners[0, 0] for corners, _, _ in found])
    assert 0.5 < (sides > 0.199).mean() < 0.9 and sides.min() > 0.06
    for image, side in zip(augmented, sides, strict=True):
        grey = ((image * 255 - 150).abs().amax(0) < 8).float().mean()
        assert abs(float(grey) - (1 - (side / 0.2) ** 2)) < 0.08


@pytest.mark.parametrize("settings", [BOXES, replace(BOXES, mosaic=1.0), DEFAULT])
def test_shares_are_drawn_as_in_the_whole_and_only_the_generator_decides(settings: Augmentation) -> None:
    images, truth = drawn(0, 24)
    whole, found = augment_boxes(images, truth, 40, settings, generator())
    shares = [(0, 8), (8, 12), (12, 24)] if settings.mosaic else [(0, 5), (5, 17), (17, 24)]
    parts = [augment_boxes(images[a:b], truth[a:b], 40, settings, generator(), first=a) for a, b in shares]
    assert torch.allclose(torch.cat([part for part, _ in parts]), whole, atol=1e-6)
    for ours, theirs in zip([t for _, share in parts for t in share], found, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    other, _ = augment_boxes(images, truth, 40, settings, generator(1))
    assert not torch.allclose(other, whole)


def test_threads_change_nothing() -> None:
    images, truth = drawn(0, 16)
    one, found = augment_boxes(images, truth, 40, MOVES, generator())
    torch.set_num_threads(2)
    two, again = augment_boxes(images, truth, 40, MOVES, generator())
    assert torch.equal(one, two)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (LIGHT, r"translate is 0\.06, which boxes and masks do not follow; it must be 0 for them\. BOXES and MASKS"),
        (replace(STRONG, translate=0.0), "rotate is 10"),
        (replace(RANDOM, erase=0.0), "randaugment is 2"),
    ],
)
def test_what_boxes_do_not_follow_is_refused(settings: Augmentation, words: str) -> None:
    images, truth = drawn(0, 2)
    with pytest.raises(MisuseError, match=words):
        augment_boxes(images, truth, 40, settings, generator())
