"""What counts as a near duplicate, and what does not."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mobilenets.data.scenes import KINDS, scene
from mobilenets.doctor.copies import Groups, Thumbs, near_duplicates
from mobilenets.doctor.examine import THUMB_PX

N = 64


def thumb(image: Image.Image) -> Thumbs:
    return np.asarray(image.convert("RGB").resize((THUMB_PX, THUMB_PX), Image.Resampling.BOX))


def groups(images: list[Image.Image]) -> tuple[Groups, Groups]:
    return near_duplicates(np.stack([thumb(image) for image in images]), np.ones(len(images), bool))


def recoded(image: Image.Image, quality: int = 60) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 4 // 5, image.height * 4 // 5), Image.Resampling.BICUBIC)


def cropped(image: Image.Image) -> Image.Image:
    """4 % of each side's length, half of it on either end."""
    x, y = image.width * 0.02, image.height * 0.02
    return image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))


def brightened(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.2)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Different scenes: many of each class."""
    return [Image.fromarray(scene(seed, size=128, kind=seed % len(KINDS)).image) for seed in range(N)]


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Image.Image]:
    file = shared / "data" / "photos_80.tar"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    with tarfile.open(file) as archive:
        members = [m for m in archive.getmembers() if m.name.endswith(".jpg")]
        found = [archive.extractfile(member) for member in members]
        return [Image.open(io.BytesIO(f.read())).convert("RGB") for f in found if f is not None]


@pytest.mark.parametrize("change", [recoded, resized, cropped, brightened])
@pytest.mark.parametrize("source", ["pictures", "photos"])
def test_changed_copies_are_found(
    change: Callable[[Image.Image], Image.Image], source: str, request: pytest.FixtureRequest
) -> None:
    images: list[Image.Image] = request.getfixturevalue(source)
    n = len(images)
    same, _ = groups([*images, *map(change, images)])
    found = [members for members in same.several() if members[1] == members[0] + n and len(members) == 2]
    assert same.several() == found  # nothing else
    assert len(found) >= (0.97 if change is cropped else 1.0) * n


@pytest.mark.parametrize("source", ["pictures", "photos"])
def test_mirrored_copies_are_told_apart_from_copies(source: str, request: pytest.FixtureRequest) -> None:
    images: list[Image.Image] = request.getfixturevalue(source)
    n = len(images)
    same, mirrored = groups([*images, *(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images)])
    assert same.several() == []
    assert mirrored.several() == [[i, i + n] for i in range(n)]


def test_different_pictures_in_one_frame_are_no_copies(pictures: list[Image.Image]) -> None:
    framed = []
    for image in pictures:
        frame = Image.new("RGB", (200, 200), "white")
        frame.paste("black", (32, 32, 168, 168))
        frame.paste(image.resize((120, 120)), (40, 40))
        framed.append(frame)
    assert groups(framed)[0].several() == []


def test_flat_pictures_do_not_collide() -> None:
    """Two images with hardly any contrast have hashes of noise."""
    generator = np.random.default_rng(0)
    flat = [Image.fromarray((128 + generator.normal(0, 3, (64, 64, 3))).astype(np.uint8)) for _ in range(40)]
    same, mirrored = groups(flat)
    assert same.several() == mirrored.several() == []


def test_two_tone_pictures_do_not_collide() -> None:
    """Sky over sea: alike in brightness, different in everything that counts."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(40):
        values = np.full((64, 64, 3), (150, 180, 220), np.float64)
        values[32:] = (60, 90, 110)
        x, y = generator.integers(4, 44, 2)
        values[y : y + 12, x : x + 16] = generator.integers(0, 255, 3)
        found.append(Image.fromarray(values.astype(np.uint8)))
    # a pair whose object happens to lie in one place is as alike as an edited copy
    assert len(groups(found)[0].several()) <= 1


def test_a_long_burst_is_one_group(pictures: list[Image.Image]) -> None:
    generator = np.random.default_rng(0)
    frames = thumb(pictures[0])[None] + generator.integers(-4, 5, (2000, THUMB_PX, THUMB_PX, 3))
    others = np.stack([thumb(image) for image in pictures[1:]])
    thumbs = np.concatenate([others, frames.clip(0, 255).astype(np.uint8)])
    same, mirrored = near_duplicates(thumbs, np.ones(len(thumbs), bool))
    assert same.several() == [list(range(N - 1, N - 1 + 2000))]
    assert mirrored.several() == []


def test_unusable_images_are_not_compared(pictures: list[Image.Image]) -> None:
    thumbs = np.stack([thumb(image) for image in [pictures[0], pictures[0], pictures[1]]])
    same, _ = near_duplicates(thumbs, np.array([True, False, True]))
    assert same.several() == []


def test_groups_join() -> None:
    joined = Groups(6)
    joined.join(4, 1)
    joined.join(5, 4)
    joined.join(2, 3)
    assert joined.several() == [[1, 4, 5], [2, 3]]
