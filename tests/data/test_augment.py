import numpy as np
import pytest
import torch
from PIL import Image

from mobilenets.data import augment as room
from mobilenets.data.augment import DEFAULT, LIGHT, NONE, RANDOM, STRONG, Augmentation, augment, mix, plain
from mobilenets.data.decode import resize_crop
from mobilenets.data.draws import Draws
from mobilenets.data.randaugment import OPERATIONS
from mobilenets.errors import MisuseError
from mobilenets.preprocessing import Preprocessing

STILL = {"flip": 0.0, "scale": (1.0, 1.0), "ratio": (1.0, 1.0), "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
# A shift too small to see: the way through the sampling grid, which NONE does not take.
GRID = Augmentation(**{**STILL, "translate": 1e-7})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    """Smooth coloured noise, n s s c."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (20, 6, 6, 3), np.uint8)
    return torch.from_numpy(np.stack([np.asarray(Image.fromarray(i).resize((40, 40), 3)) for i in small]))


def scaled(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("settings", [NONE, LIGHT, DEFAULT, STRONG])
@pytest.mark.parametrize("resolution", [16, 32, 40, 64])
def test_shape_range_and_memory(images, settings, resolution):
    before = images.clone()
    x = augment(images, resolution, settings, generator())
    assert x.shape == (20, 3, resolution, resolution) and x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x.min() >= 0 and x.max() <= 1
    assert torch.equal(images, before)


@pytest.mark.parametrize("settings", [DEFAULT, STRONG])
def test_only_the_generator_decides(images, settings):
    torch.manual_seed(1)
    a = augment(images, 32, settings, generator(3))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(augment(images, 32, settings, generator(3)), a)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(augment(images, 32, settings, generator(4)), a)


def test_nothing_is_plain(images):
    for resolution in (16, 40, 56):
        assert torch.equal(augment(images, resolution, NONE, generator()), plain(images, resolution))
    assert torch.allclose(plain(images, 40), scaled(images))


def test_the_grid_is_aligned(images):
    x = augment(images, 40, GRID, generator())
    assert torch.allclose(x, scaled(images), atol=1e-3)
    up = augment(images, 80, GRID, generator())
    assert (up - plain(images, 80)).abs().max() < 1.5 / 255
    down = augment(images, 20, GRID, generator())  # reduced first
    assert (down - plain(images, 20)).abs().max() < 1.5 / 255


def test_grid_is_affine_grid():
    theta = torch.randn(3, 2, 3, generator=generator())
    expected = torch.nn.functional.affine_grid(theta, [3, 1, 9, 9], align_corners=False)
    assert torch.allclose(room._grid(theta, 9), expected, atol=1e-5)


def test_flip_is_exact(images):
    mirrored = scaled(images).flip(3)
    assert torch.allclose(augment(images, 40, Augmentation(**{**STILL, "flip": 1.0}), generator()), mirrored)
    through_grid = Augmentation(**{**STILL, "flip": 1.0, "translate": 1e-7})
    assert torch.allclose(augment(images, 40, through_grid, generator()), mirrored, atol=1e-3)
    some = augment(images, 40, Augmentation(**{**STILL, "flip": 0.5}), generator())
    flipped = [torch.allclose(a, b) for a, b in zip(some, mirrored, strict=True)]
    assert 0 < sum(flipped) < 20


def test_turning_by_a_right_angle(images, monkeypatch):
    monkeypatch.setattr(Draws, "uniform", lambda self, n, low, high: torch.full((n,), float(high)))
    x = augment(images, 40, Augmentation(**{**STILL, "rotate": 90.0}), generator())
    assert torch.allclose(x, scaled(images).rot90(1, (2, 3)), atol=1e-3)


def test_shift_is_reflected(images, monkeypatch):
    monkeypatch.setattr(Draws, "uniform", lambda self, n, low, high: torch.full((n,), float(high)))
    x = augment(images, 40, Augmentation(**{**STILL, "translate": 0.25}), generator())
    source = scaled(images)
    expected = torch.cat([source[..., 10:], source[..., 30:].flip(3)], dim=3)
    expected = torch.cat([expected[:, :, 10:], expected[:, :, 30:].flip(2)], dim=2)
    assert torch.allclose(x, expected, atol=1e-3)


def test_crops_lie_inside_and_have_the_area():
    settings = Augmentation(scale=(0.25, 0.5), flip=0.0)
    theta = room._affine(2000, settings, Draws(generator(), 0, 2000, 2000))
    width, height = theta[:, 0, 0], theta[:, 1, 1]
    assert theta[:, 0, 1].abs().max() == theta[:, 1, 0].abs().max() == 0
    assert (theta[:, 0, 2].abs() + width).max() <= 1 + 1e-6 and (theta[:, 1, 2].abs() + height).max() <= 1 + 1e-6
    assert (width * height).min() >= 0.25 - 1e-3 and (width * height).max() <= 0.5 + 1e-3
    assert (width / height).min() >= 0.75 - 1e-3 and (width / height).max() <= 4 / 3 + 1e-3


def test_fine_patterns_do_not_alias():
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    images = torch.from_numpy(np.repeat(board[None, ..., None], 3, axis=3)).expand(4, -1, -1, -1)
    x = augment(images, 32, Augmentation(**{**STILL, "scale": (0.7, 1.0)}), generator())
    assert x.std() < 0.05


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour(images, monkeypatch, name):
    from PIL import ImageEnhance

    dark = images // 2  # nothing reaches white, where Pillow clips between its steps
    monkeypatch.setattr(Draws, "uniform", lambda self, n, low, high: torch.full((n,), float(high)))
    x = augment(dark, 40, Augmentation(**{**STILL, name: 0.3}), generator())
    kind = {"brightness": "Brightness", "contrast": "Contrast", "saturation": "Color"}[name]
    for got, image in zip(x, dark, strict=True):
        expected = np.asarray(getattr(ImageEnhance, kind)(Image.fromarray(image.numpy())).enhance(1.3))
        assert np.abs(got.permute(1, 2, 0).numpy() * 255 - expected).max() < 2.5


def test_erase(images):
    x = augment(images, 40, Augmentation(**{**STILL, "erase": 1.0}), generator())
    changed = ((x - scaled(images)).abs().sum(1) > 0).flatten(1).float().mean(1)
    assert changed.min() > 0.01 and changed.max() < 0.3
    some = augment(images, 40, Augmentation(**{**STILL, "erase": 0.5}), generator())
    untouched = [torch.allclose(a, b) for a, b in zip(some, scaled(images), strict=True)]
    assert 0 < sum(untouched) < 20


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", [1.0, 0.8])
@pytest.mark.parametrize("resolution", [24, 40, 64])
def test_plain_is_what_resize_crop_gives(images, resolution, crop, interpolation):
    chosen = Preprocessing(resolution, crop=crop, interpolation=interpolation)
    expected = np.stack([resize_crop(i.numpy(), chosen) for i in images])
    got = plain(images, resolution, crop=crop, interpolation=interpolation)
    assert np.abs(got.permute(0, 2, 3, 1).numpy() * 255 - expected).max() <= 1.01


def test_interpolation_changes_pixels(images):
    assert (plain(images, 24, interpolation="bicubic") - plain(images, 24)).abs().max() > 2 / 255


def test_empty_batch_is_no_reason_to_fail():
    assert augment(torch.zeros(0, 8, 8, 3, dtype=torch.uint8), 8, DEFAULT, generator()).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("flip", 2.0, r"flip is 2\.0; it must be 0 to 1"),
        ("scale", (0.0, 1.0), r"scale is \(0\.0, 1\.0\); it must be a range above 0, up to 1"),
        ("ratio", (2.0, 1.0), r"ratio is \(2\.0, 1\.0\); it must be a range above 0"),
        ("rotate", -1.0, r"rotate is -1\.0 degrees; it must be 0 to 180"),
        ("mosaic", 1.5, r"mosaic is 1\.5; it must be 0 to 1"),
        ("expand", 0.5, r"expand is 0\.5; it must be 1 \(never\) to 8 sides of the image"),
        ("least_overlap", (), r"least_overlap is \(\); it must be one or more values of 0 to 1"),
        ("least_overlap", (0.5, 2.0), r"least_overlap is \(0\.5, 2\.0\); it must be one or more values of 0 to 1"),
    ],
)
def test_settings_out_of_range(field, value, message):
    with pytest.raises(MisuseError, match=message):
        Augmentation(**{field: value})


# ---------------------------------------------------------------------------------------------------


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.eye(4)
    return labels[:, :, None, None].expand(4, 4, 8, 8).contiguous(memory_format=torch.channels_last), labels


@pytest.mark.parametrize("seed", range(12))
def test_mixed_labels_are_the_shares_of_pixels(seed):
    images, labels = pair()  # channel k is 1 where an image is of class k
    x, y = mix(images, labels, 1.0, generator(seed))
    assert torch.allclose(x.mean((2, 3)), y, atol=1e-5)
    assert torch.allclose(y.sum(1), torch.ones(4))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, pair()[0]) and torch.equal(labels, torch.eye(4))
    again = mix(images, labels, 1.0, generator(seed))
    assert torch.equal(again[0], x) and torch.equal(again[1], y)


def test_mix_does_both_and_can_be_off():
    images, labels = pair()
    cut = [bool(((x == 0) | (x == 1)).all()) for x, _ in (mix(images, labels, 1.0, generator(s)) for s in range(30))]
    assert 5 < sum(cut) < 25
    assert mix(images, labels, 0.0, generator())[0] is images


@pytest.mark.parametrize("settings", [DEFAULT, RANDOM, STRONG])
def test_parts_of_a_batch_are_drawn_as_in_the_whole(images, settings):
    """Two processes that share a batch see what one would see."""
    whole = augment(images, 32, settings, generator())
    parts = [augment(images[a:b], 32, settings, generator(), first=a) for a, b in ((0, 6), (6, 17), (17, 20))]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)


def test_each_operation_of_randaugment_keeps_the_range_and_most_change_pixels(images):
    x = 0.2 + 0.6 * scaled(images)
    changed = {}
    for name, operation in OPERATIONS.items():
        for m in (-0.5, 0.5):
            y = operation(x.clone(), torch.full((len(x),), m)).clamp(0.0, 1.0)
            assert y.shape == x.shape and y.isfinite().all()
            changed[name] = float((y - x).abs().mean())
    assert {name for name, difference in changed.items() if difference < 1e-3} == {"identity"}


def test_equalize_and_posterize_do_what_their_names_say(images):
    x = scaled(images)
    equal = OPERATIONS["equalize"](x, torch.zeros(len(x)))
    assert abs(float(equal.mean()) - 0.5) < 0.05
    assert len(OPERATIONS["posterize"](x, torch.ones(len(x))).unique()) <= 16
