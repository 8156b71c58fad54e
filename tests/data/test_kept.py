import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data import cache
from mobilenets.data.cache import Squares, load_squares
from mobilenets.data.folder import Sample
from mobilenets.data.sources import Member
from mobilenets.errors import MisuseError

KEEP = 1 << 20


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    random = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    found = []
    for i in range(20):
        path = tmp_path / "data" / f"{i}.png"
        Image.fromarray(random.integers(0, 256, (12, 20, 3), np.uint8)).save(path)
        found.append(Sample(path, i % 4))
    return found


@pytest.fixture
def decoded(monkeypatch) -> list[object]:
    """Every image that is decoded."""
    seen: list[object] = []
    real = cache.load_image

    def counted(path, preprocessing):
        seen.append(path)
        return real(path, preprocessing)

    monkeypatch.setattr(cache, "load_image", counted)
    return seen


def load(samples: list[Sample], root: Path, size: int = 16, keep: int = KEEP, **more) -> Squares:
    return load_squares(samples, size, cache_folder=root / "cache", keep_bytes=keep, max_unreadable=0.5, **more)


def kept(root: Path) -> list[Path]:
    folder = root / "cache" / "squares"
    return sorted(folder.iterdir(), key=lambda f: f.stat().st_mtime_ns) if folder.is_dir() else []


def test_the_second_time_nothing_is_decoded(samples, tmp_path, decoded):
    first = load(samples, tmp_path)
    assert len(decoded) == 20 and len(kept(tmp_path)) == 1
    seen: list[tuple[int, int]] = []
    other_labels = [Sample(s.path, 1 - s.label % 2) for s in samples]
    again = load(other_labels, tmp_path, on_progress=lambda *done: seen.append(done))
    assert len(decoded) == 20 and seen == [(20, 20)]
    assert isinstance(again.images, np.memmap) and np.array_equal(again.images, first.images)
    assert again.paths == first.paths and again.labels.tolist() == [s.label for s in other_labels]
    with pytest.raises(ValueError, match="read-only"):
        again.images[0] = 0


def test_unreadable_images_are_remembered(samples, tmp_path, decoded):
    for i in (0, 7, 19):
        samples[i].path.write_bytes(b"text")
    first = load(samples, tmp_path)
    again = load(samples, tmp_path)
    assert len(decoded) == 20 and len(again) == 17
    assert again.skipped == first.skipped and [p.name for p, _ in again.skipped] == ["0.png", "7.png", "19.png"]
    assert np.array_equal(again.images, first.images) and again.paths == first.paths


def test_images_that_may_come_back_are_not(samples, tmp_path, decoded):
    data = samples[3].path.read_bytes()
    samples[3].path.unlink()
    assert len(load(samples, tmp_path)) == 19 and kept(tmp_path) == []
    samples[3].path.write_bytes(data)
    assert len(load(samples, tmp_path)) == 20


def test_whatever_changes_the_pixels_is_decoded_anew(samples, tmp_path, decoded):
    load(samples, tmp_path)
    load(samples, tmp_path, size=8)
    load(samples[::-1], tmp_path)
    load(samples[:-1], tmp_path)
    assert len(decoded) == 20 + 20 + 20 + 19
    status = samples[0].path.stat()
    os.utime(samples[0].path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    load(samples, tmp_path)
    assert len(decoded) == 99 and len(kept(tmp_path)) == 5


def test_members_of_a_file_that_changed(samples, tmp_path, decoded):
    container = tmp_path / "all.bin"
    data = [s.path.read_bytes() for s in samples]
    starts = np.cumsum([0, *map(len, data)]).tolist()
    container.write_bytes(b"".join(data))
    inside = [Sample(Member(container, f"{i}.png", starts[i], len(d)), i % 4) for i, d in enumerate(data)]
    first = load(inside, tmp_path)
    assert np.array_equal(load(inside, tmp_path).images, first.images) and len(decoded) == 20
    os.utime(container, ns=(0, 0))
    load(inside, tmp_path)
    assert len(decoded) == 40


@pytest.mark.parametrize("harm", ["cut", "longer", "empty", "text", "header"])
def test_damaged_files_are_made_anew(samples, tmp_path, decoded, harm):
    first = load(samples, tmp_path)
    (file,) = kept(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(
        {
            "cut": whole[:-100],
            "longer": whole[:500] + b"x" + whole[500:],
            "empty": b"",
            "text": b"hello" * 100,
            "header": b"x" * 20 + whole[20:],
        }[harm]
    )
    assert np.array_equal(load(samples, tmp_path).images, first.images) and len(decoded) == 40
    assert file.read_bytes() == whole
    load(samples, tmp_path)
    assert len(decoded) == 40


def test_the_files_used_longest_ago_go_first(samples, tmp_path, decoded):
    room = 3 * (20 * 16 * 16 * 3 + 300)
    lists = [samples[i:] + samples[:i] for i in range(4)]
    for i in range(3):
        load(lists[i], tmp_path, keep=room)
    files = kept(tmp_path)
    for age, file in enumerate(files):
        os.utime(file, ns=(age, age))
    load(lists[0], tmp_path, keep=room)  # used: now the youngest
    load(lists[3], tmp_path, keep=room)
    assert len(decoded) == 80
    assert len(kept(tmp_path)) == 3 and files[0] in kept(tmp_path) and files[1] not in kept(tmp_path)
    assert sum(file.stat().st_size for file in kept(tmp_path)) <= room


def test_what_is_above_the_limit_is_not_kept(samples, tmp_path):
    load(samples, tmp_path, keep=1000)
    load(samples, tmp_path, keep=0)
    assert kept(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_note(samples, tmp_path):
    (tmp_path / "cache").write_text("a file")
    notes: list[str] = []
    assert len(load(samples, tmp_path, on_note=notes.append)) == 20
    assert notes == [f"the decoded images are not kept in {tmp_path}/cache/squares: Not a directory."]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_full_disk_is_a_note(samples, tmp_path):
    import resource

    before, notes = resource.getrlimit(resource.RLIMIT_FSIZE), []
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        assert len(load(samples, tmp_path, on_note=notes.append)) == 20
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert notes == [f"the decoded images are not kept in {tmp_path}/cache/squares: File too large."]
    assert kept(tmp_path) == []


def test_the_limit_is_named_in_gigabytes(samples, tmp_path, monkeypatch, decoded):
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MOBILENETS_CACHE_GB", "0.001")
    for _ in range(2):
        load_squares(samples, 16)
    assert len(decoded) == 20 and len(kept(tmp_path)) == 1
    for given in ("much", "nan"):
        monkeypatch.setenv("MOBILENETS_CACHE_GB", given)
        with pytest.raises(
            MisuseError, match=f"MOBILENETS_CACHE_GB is '{given}'; expected gigabytes, such as 4; 0 keeps"
        ):
            load_squares(samples, 16)
