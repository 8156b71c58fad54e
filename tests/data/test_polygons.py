import numpy as np
import pytest

from mobilenets.data.polygons import DrawnMask, Outline, Part, Runs, decode_runs

H, W = 4, 3


def outline(*polygons: list[float]) -> Outline:
    return Outline(tuple(np.array(polygon, np.float32).tobytes() for polygon in polygons))


def drawn(*polygons: list[float], size: tuple[int, int] = (40, 20)) -> np.ndarray:
    return DrawnMask(None, size, 0, (Part(1, outline(*polygons)),)).read()


def letters(counts: list[int]) -> str:
    """COCO's letters for run lengths, written from the format's description."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


def test_runs_go_down_the_columns():
    found = decode_runs(Runs((2, 3, 6, 1), H, W))
    assert found.dtype == np.bool_ and found.shape == (H, W)
    assert found.astype(int).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 1]]
    assert not decode_runs(Runs((12,), H, W)).any() and decode_runs(Runs((0, 12), H, W)).all()


def test_letters_are_the_same_runs():
    random = np.random.default_rng(0)
    for _ in range(50):
        counts = random.integers(1, 3000, random.integers(1, 12)).tolist()
        runs = tuple(counts)
        size = (1, sum(counts))
        assert np.array_equal(decode_runs(Runs(letters(counts), *size)), decode_runs(Runs(runs, *size)))


def test_letters_by_hand():
    # 6, 1, 40 and 33: 40 is 8 + 32 * 1; the fourth is told as 33 - 1 = 32
    assert decode_runs(Runs("61X1P1", 1, 80)).nonzero()[1].tolist() == [6, *range(47, 80)]


@pytest.mark.parametrize("counts", [(2, 3), (2, -3, 13), (13,), "6", "\x7f", "X"])
def test_runs_that_do_not_fill_the_image(counts):
    with pytest.raises(ValueError, match=r"expected 12|none of theirs|end"):
        decode_runs(Runs(counts, H, W))


def test_pixels_whose_middle_is_inside():
    found = drawn([10, 5, 18, 5, 18, 13, 10, 13])
    assert found.sum() == 64 and (found[5:13, 10:18] == 1).all()
    assert drawn([10.4, 5.4, 17.6, 5.4, 17.6, 12.6, 10.4, 12.6]).sum() == 64
    assert drawn([10.7, 5.7, 17.3, 5.7, 17.3, 12.3, 10.7, 12.3]).sum() == 36


def test_polygons_may_leave_the_image_and_be_several():
    assert drawn([-10, -10, 5, -10, 5, 5, -10, 5]).sum() == 25
    assert drawn([50, 0, 60, 0, 60, 9]).sum() == 0
    assert drawn([0, 0, 2, 0, 2, 2, 0, 2], [30, 10, 33, 10, 33, 13, 30, 13]).sum() == 4 + 9
    assert drawn([0, 0, 40, 0, 40, 20, 0, 20]).all()


def test_against_cocos_own_code():
    theirs = pytest.importorskip("faster_coco_eval.core.mask")  # the code of pycocotools
    random = np.random.default_rng(0)
    for _ in range(50):
        height, width = random.integers(1, 60, 2).tolist()
        mask = np.asfortranarray((random.random((height, width)) < random.random()).astype(np.uint8))
        text = theirs.encode(mask)["counts"].decode()
        assert np.array_equal(decode_runs(Runs(text, height, width)), mask == 1)
    overlaps = []
    for _ in range(50):
        angles = np.sort(random.random(12)) * 2 * np.pi
        radius = random.uniform(20, 60, 12)
        polygon = np.stack([100 + radius * np.cos(angles), 100 + radius * np.sin(angles)], 1).ravel().tolist()
        ours = drawn(polygon, size=(200, 200)) == 1
        other = theirs.decode(theirs.merge(theirs.frPyObjects([polygon], 200, 200))) == 1
        overlaps.append((ours & other).sum() / (ours | other).sum())
    assert np.mean(overlaps) > 0.98 and min(overlaps) > 0.9
