from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.annotations import IGNORED, Boxes
from mobilenets.data.cache import load_squares
from mobilenets.data.decode import load_image
from mobilenets.data.masks import IndexMask
from mobilenets.data.splits import Sample
from mobilenets.data.stretched import load_pictures
from mobilenets.errors import DataError, MisuseError
from mobilenets.preprocessing import Preprocessing

WHOLE = Preprocessing(16, shaping="stretch")


def photo(path: Path, seed: int) -> Path:
    """40 x 20 pixels."""
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 40, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def boxed(tmp_path) -> list[Sample]:
    boxes = Boxes(((0.0, 5.0, 20.0, 20.0), (10.0, 0.0, 40.0, 10.0)), (1, 0), (False, True), (40, 20))
    empty = Boxes((), (), (), (40, 20))
    return [Sample(photo(tmp_path / f"{i}.png", i), boxes if i % 2 else empty) for i in range(8)]


@pytest.fixture
def masked(tmp_path) -> list[Sample]:
    found = []
    for i in range(8):
        values = np.zeros((20, 40), np.uint8)
        values[:, 20:], values[:5] = 1, 2
        Image.fromarray(values).save(tmp_path / f"{i}_mask.png")
        mask = IndexMask(tmp_path / f"{i}_mask.png", (0, 1, IGNORED))
        found.append(Sample(photo(tmp_path / f"{i}.png", i), mask))
    return found


def test_boxes_are_parts_of_the_whole_image(boxed, tmp_path):
    found = load_pictures(boxed, 16, cache_folder=tmp_path / "kept", keep_bytes=1 << 20)
    assert len(found) == 8 and found.samples == tuple(boxed) and found.skipped == ()
    assert found.images.shape == (8, 16, 16, 3)
    assert np.array_equal(found.images[3], load_image(boxed[3].path, WHOLE))
    corners, labels, hard = found.truth[1]
    assert corners.dtype == np.float32 and labels.dtype == np.int64 and hard.dtype == np.bool_
    assert corners.tolist() == [[0.0, 0.25, 0.5, 1.0], [0.25, 0.0, 1.0, 0.5]]
    assert labels.tolist() == [1, 0] and hard.tolist() == [False, True]
    assert [x.shape for x in found.truth[0]] == [(0, 4), (0,), (0,)]


def test_masks_are_stretched_as_their_images_are(masked, tmp_path):
    seen: list[tuple[int, int]] = []
    found = load_pictures(masked, 16, keep_bytes=0, on_progress=lambda done, count: seen.append((done, count)))
    assert found.truth.shape == (8, 16, 16) and found.truth.dtype == np.uint8
    assert (found.truth[:, :4] == IGNORED).all()
    assert (found.truth[:, 4:, :8] == 0).all() and (found.truth[:, 4:, 8:] == 1).all()
    assert seen[-1] == (16, 16) and seen == sorted(seen)


def test_a_mask_or_an_image_that_cannot_be_read_takes_the_other_with_it(masked, tmp_path):
    (tmp_path / "2_mask.png").write_bytes(b"text")
    Image.new("L", (40, 20), 7).save(tmp_path / "3_mask.png")
    (tmp_path / "5.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"2 of 8 images cannot be read"):
        load_pictures(masked, 16, keep_bytes=0)
    found = load_pictures(masked, 16, cache_folder=tmp_path / "kept", keep_bytes=1 << 20, max_unreadable=0.5)
    assert [path.name for path, _ in found.skipped] == ["2.png", "3.png", "5.png"]
    assert "2_mask.png: the mask cannot be read" in found.skipped[0][1]
    assert "has pixels of 7; the list of classes goes to 2" in found.skipped[1][1]
    left = [i for i in range(8) if i not in (2, 3, 5)]
    assert [sample.path.name for sample in found.samples] == [f"{i}.png" for i in left]
    assert len(found.truth) == 5
    for row, i in enumerate(left):
        assert np.array_equal(found.images[row], load_image(masked[i].path, WHOLE))
    again = load_pictures(masked, 16, cache_folder=tmp_path / "kept", keep_bytes=1 << 20, max_unreadable=0.5)
    assert np.array_equal(again.images, found.images) and again.skipped == found.skipped
    assert isinstance(again.images, np.memmap) and not isinstance(found.images, np.memmap)


def test_squares_and_pictures_are_kept_apart(boxed, tmp_path):
    pictures = load_pictures(boxed, 16, cache_folder=tmp_path / "kept", keep_bytes=1 << 20)
    squares = load_squares([Sample(s.path, 0) for s in boxed], 16, cache_folder=tmp_path / "kept", keep_bytes=1 << 20)
    assert not np.array_equal(pictures.images, squares.images)
    assert len(list((tmp_path / "kept" / "squares").iterdir())) == 2


def test_drafts_are_nearly_the_exact_pictures(tmp_path):
    smooth = np.linspace(0, 255, 480, dtype=np.uint8)[None, :, None].repeat(300, 0).repeat(3, 2)
    Image.fromarray(smooth).save(tmp_path / "a.jpg")
    samples = [Sample(tmp_path / "a.jpg", Boxes((), (), (), (480, 300)))]
    exact, draft = (load_pictures(samples, 32, exact=way, keep_bytes=0).images.astype(int) for way in (True, False))
    assert draft.shape == (1, 32, 32, 3) and np.abs(exact - draft).max() <= 2


def test_grey_pictures_have_one_channel(boxed):
    assert load_pictures(boxed, 16, channels=1, keep_bytes=0).images.shape == (8, 16, 16, 1)


def test_images_with_classes_are_refused(boxed, tmp_path):
    with pytest.raises(MisuseError, match="not all boxes or all masks"):
        load_pictures([*boxed, Sample(tmp_path / "0.png", 1)], 16)
    with pytest.raises(DataError, match="no images to load"):
        load_pictures([], 16)
