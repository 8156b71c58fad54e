import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.cache import load_squares, native_size
from mobilenets.data.decode import load_image
from mobilenets.data.folder import Sample
from mobilenets.errors import DataError
from mobilenets.preprocessing import Preprocessing


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    random = np.random.default_rng(0)
    found = []
    for i in range(100):
        path = tmp_path / f"{i}.png"
        Image.fromarray(random.integers(0, 256, (12, 20, 3), np.uint8)).save(path)
        found.append(Sample(path, i % 4))
    return found


def spoil(samples: list[Sample], *indices: int) -> None:
    for i in indices:
        samples[i].path.write_bytes(b"text")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_squares_are_the_images_in_order(samples, tmp_path, workers, limit):
    seen: list[tuple[int, int]] = []
    squares = load_squares(
        samples,
        16,
        workers=workers,
        memory_limit_bytes=limit,
        cache_folder=tmp_path / "cache",
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert isinstance(squares.images, np.memmap) == (limit == 0)
    assert squares.images.shape == (100, 16, 16, 3) and squares.images.dtype == np.uint8
    assert squares.labels.dtype == np.int64 and squares.labels.tolist() == [s.label for s in samples]
    assert len(squares) == 100 and squares.skipped == ()
    for i in (0, 63, 64, 99):
        assert np.array_equal(squares.images[i], load_image(samples[i].path, Preprocessing(16)))
    assert seen[-1] == (100, 100) and [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_temporary_file_leaves_nothing_behind(samples, tmp_path):
    squares = load_squares(samples, 16, memory_limit_bytes=1000, cache_folder=tmp_path / "cache", keep_bytes=0)
    squares.images[0] = 7
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_few_unreadable_files_are_skipped_and_listed(samples, tmp_path, limit):
    spoil(samples, 0, 50, 99)
    squares = load_squares(samples, 16, memory_limit_bytes=limit, cache_folder=tmp_path)
    assert len(squares) == len(squares.paths) == len(squares.images) == 97
    assert [path for path, _ in squares.skipped] == [samples[i].path for i in (0, 50, 99)]
    assert "not an image: begins with b'text'" in squares.skipped[0][1]
    for i in (0, 48, 49, 96):
        assert np.array_equal(squares.images[i], load_image(squares.paths[i], Preprocessing(16)))


def test_many_unreadable_files_are_an_error(samples):
    spoil(samples, *range(6))
    with pytest.raises(DataError) as error:
        load_squares(samples, 16)
    lines = str(error.value).splitlines()
    assert lines[0] == "6 of 100 images cannot be read, more than 5%. The first:"
    assert len(lines) == 7 and all("not an image" in line for line in lines[1:6])
    assert len(load_squares(samples, 16, max_unreadable=0.1)) == 94


def test_a_class_without_readable_images(samples):
    samples = [*samples[:99], Sample(samples[99].path, 9)]
    spoil(samples, 99)
    with pytest.raises(DataError, match=r"class 9 has no image that can be read: .*99\.png: not an image"):
        load_squares(samples, 16)


def test_no_samples_and_no_room(samples, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="the list of samples is empty"):
        load_squares([], 16)
    monkeypatch.setattr("mobilenets.data.arrays.shutil.disk_usage", lambda _: type("U", (), {"free": 1000}))
    with pytest.raises(DataError, match=r"the decoded images need 0\.0 GiB, free are 0\.0 GiB\. Give a cache folder"):
        load_squares(samples, 16, memory_limit_bytes=0, cache_folder=tmp_path)


def test_interrupt_stops_the_other_tasks(samples, monkeypatch):
    decoded: list[Path] = []

    def slow(path: Path, preprocessing: Preprocessing) -> np.ndarray:
        decoded.append(path)
        time.sleep(0.002)
        return load_image(path, preprocessing)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mobilenets.data.cache.load_image", slow)
    with pytest.raises(KeyboardInterrupt):
        load_squares(samples, 16, workers=2, on_progress=interrupt)
    assert len(decoded) < 60


def test_native_size(samples, tmp_path):
    assert native_size(samples, 224) == 16  # short side 12
    assert native_size(samples, 8) == 8
    Image.new("RGB", (300, 200)).save(samples[0].path)
    assert native_size(samples, 224, probe=100) == 200
    spoil(samples, *range(100))
    assert native_size(samples, 224) == 224
