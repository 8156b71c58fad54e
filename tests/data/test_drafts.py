import numpy as np
import pytest
from PIL import Image

from mobilenets.data.cache import load_squares
from mobilenets.data.decode import decode, load_image
from mobilenets.data.drafts import draft_square
from mobilenets.data.folder import Sample
from mobilenets.preprocessing import Preprocessing


def photo(path, width, height, **options):
    y, x = np.mgrid[0:height, 0:width] / height
    waves = [128 + 60 * np.sin(9 * x + k) + 60 * np.cos(7 * y * (k + 1)) for k in range(3)]
    Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(path, **options)
    return path


def decibels(a, b):
    return 10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize(("width", "height"), [(90, 120), (121, 90), (40, 30), (32, 32)])
def test_as_the_exact_square_but_for_rounding(tmp_path, suffix, width, height):
    path = photo(tmp_path / f"a{suffix}", width, height)
    got, exact = draft_square(path, 32), load_image(path, Preprocessing(32))
    assert got.shape == (32, 32, 3) and got.dtype == np.uint8
    odd = (max(width, height) - min(width, height)) % 2
    assert decibels(got, exact) > (35 if odd else 50)


def test_large_photos_are_decoded_smaller_but_not_below_twice_the_square(tmp_path):
    path = photo(tmp_path / "a.jpg", 640, 480)
    assert decode(path, at_least_px=64).shape == (120, 160, 3)
    assert decode(path, at_least_px=120).shape == (120, 160, 3)
    assert decode(path, at_least_px=121).shape == (180, 240, 3)
    assert decode(path, at_least_px=241).shape == (480, 640, 3)
    assert decode(path, at_least_px=999).shape == (480, 640, 3)
    assert decode(photo(tmp_path / "a.png", 640, 480), at_least_px=64).shape == (480, 640, 3)
    assert decibels(draft_square(path, 32), load_image(path, Preprocessing(32))) > 37


def test_turned_photos(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = photo(tmp_path / "a.jpg", 640, 480, exif=exif)
    assert decode(path, at_least_px=120).shape == (160, 120, 3)
    assert decibels(draft_square(path, 32), load_image(path, Preprocessing(32))) > 37


def test_exact_squares_are_not_mistaken_for_drafts(tmp_path):
    samples = [Sample(photo(tmp_path / f"{i}.jpg", 301 + i, 200), i) for i in range(4)]
    options = {"cache_folder": tmp_path / "cache", "keep_bytes": 1 << 20}
    draft = load_squares(samples, 48, exact=False, **options)
    for squares in (load_squares(samples, 48, **options), load_squares(samples, 48, **options)):
        for i, image in enumerate(squares.images):
            assert np.array_equal(image, load_image(samples[i].path, Preprocessing(48)))
    again = load_squares(samples, 48, exact=False, **options)
    assert np.array_equal(draft.images, again.images) and np.array_equal(
        draft.images[1], draft_square(samples[1].path, 48)
    )
