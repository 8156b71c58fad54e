"""Masks follow their images through scales, crops and flips."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mobilenets.data.annotations import IGNORED
from mobilenets.data.augment import DEFAULT, LIGHT, MASKS, NONE, Augmentation, plain
from mobilenets.data.augment_masks import augment_masks
from mobilenets.errors import MisuseError

SIDE = 48
MOVES = replace(MASKS, brightness=0.0, contrast=0.0, saturation=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def painted(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Blocks of three classes: class k has 255 in channel k alone."""
    random = np.random.default_rng(seed)
    masks = random.integers(0, 3, (n, 4, 4), np.uint8).repeat(SIDE // 4, 1).repeat(SIDE // 4, 2)
    return torch.from_numpy(np.eye(3, dtype=np.uint8)[masks] * 255), torch.from_numpy(masks)


@hypothesis_settings(deadline=None)
@given(seed=st.integers(0, 10_000), resolution=st.sampled_from([36, 48, 75]))
def test_masks_move_with_their_images(seed: int, resolution: int) -> None:
    images, masks = painted(seed, 4)
    augmented, moved = augment_masks(images, masks, resolution, MOVES, generator(seed))
    assert moved.shape == (4, resolution, resolution) and moved.dtype == torch.int64
    known = moved != IGNORED
    best = augmented.argmax(1)
    pure = augmented.amax(1) > 0.8  # at a corner three blocks have 0.75
    assert (best == moved)[known & pure].all()
    assert pure[known].float().mean() > 0.5
    assert known.flatten(1).float().mean(1).min() > 0.2  # half the sides, and rounding


@hypothesis_settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_beyond_the_image_is_ignored_and_has_its_mean_colour(seed: int) -> None:
    images, masks = painted(seed, 4)
    images, masks = images // 2 + 64, torch.zeros_like(masks)
    augmented, moved = augment_masks(images, masks, 40, replace(MOVES, scale=(1.0, 1.0)), generator(seed))
    for image, mask, source in zip(augmented, moved, images, strict=True):
        beyond = image[:, mask == IGNORED]
        mean = source[::8, ::8].float().mean((0, 1)) / 255
        assert beyond.numel() == 0 or (beyond - mean[:, None]).abs().max() < 1 / 255


def test_scales_are_drawn_evenly_between_half_and_double() -> None:
    images = torch.zeros(400, 8, 8, 3, dtype=torch.uint8)
    _, moved = augment_masks(images, images[..., 0], 40, replace(MOVES, flip=0.0), generator())
    shown = (moved != IGNORED).flatten(1).float().mean(1).sqrt()  # less than one where the image was made smaller
    assert abs(float((shown < 0.99).float().mean()) - 1 / 3) < 0.08  # (1 - 0.5) / (2 - 0.5)
    assert 0.45 < shown.min() < 0.55


def test_nothing_changes_nothing() -> None:
    images, masks = painted(0, 4)
    augmented, moved = augment_masks(images, masks, SIDE, NONE, generator())
    assert torch.equal(augmented, plain(images, SIDE)) and torch.equal(moved, masks.long())
    mirrored, flipped = augment_masks(images, masks, SIDE, replace(NONE, flip=1.0), generator())
    assert torch.equal(mirrored, plain(images, SIDE).flip(3)) and torch.equal(flipped, masks.long().flip(2))


def test_only_known_values_come_out() -> None:
    images, masks = painted(0, 16)
    masks = torch.where(masks == 2, IGNORED, masks)
    _, moved = augment_masks(images, masks, 31, MASKS, generator())
    assert moved.unique().tolist() == [0, 1, IGNORED]


@pytest.mark.parametrize("settings", [MASKS, DEFAULT])
def test_shares_are_drawn_as_in_the_whole_and_only_the_generator_decides(settings: Augmentation) -> None:
    images, masks = painted(0, 20)
    whole, moved = augment_masks(images, masks, 40, settings, generator())
    parts = [
        augment_masks(images[a:b], masks[a:b], 40, settings, generator(), first=a)
        for a, b in ((0, 6), (6, 17), (17, 20))
    ]
    assert torch.allclose(torch.cat([part for part, _ in parts]), whole, atol=1e-6)
    assert torch.equal(torch.cat([part for _, part in parts]), moved)
    assert not torch.equal(augment_masks(images, masks, 40, settings, generator(1))[1], moved)


def test_what_masks_do_not_follow_is_refused() -> None:
    images, masks = painted(0, 2)
    with pytest.raises(MisuseError, match=r"translate is 0\.06, which boxes and masks do not follow"):
        augment_masks(images, masks, 40, LIGHT, generator())
    with pytest.raises(MisuseError, match="erase is"):
        augment_masks(images, masks, 40, replace(NONE, erase=0.5), generator())
