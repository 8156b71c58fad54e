"""Every fault planted is found and its file named; a clean data set gives nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data import scenes
from mobilenets.data.scenes import scene, write_classification
from mobilenets.doctor import Report, check
from mobilenets.errors import DataError, MisuseError

SIZE = 96


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "scenes"
    write_classification(folder, per_class_train=10, per_class_val=3, size=SIZE)
    return folder


@pytest.fixture
def data(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "data"))


def drawn(seed: int, size: int = SIZE) -> Image.Image:
    """A scene that the clean folder does not hold."""
    return Image.fromarray(scene(10_000 + seed, size=size).image)


def jpeg(path: Path, image: Image.Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", **options)


def plant(root: Path) -> dict[str, set[str]]:
    """Plant every fault in a data set; kind -> the files (from the root) that have to be named."""
    car, key, mug = root / "train" / "car", root / "train" / "key", root / "train" / "mug"
    (car / "empty.jpg").write_bytes(b"")
    (car / "text.jpg").write_text("this is not a picture")
    jpeg(car / "cut.jpg", drawn(1))
    (car / "cut.jpg").write_bytes((car / "cut.jpg").read_bytes()[:1500])
    drawn(2).save(car / "cut.png")
    (car / "cut.png").write_bytes((car / "cut.png").read_bytes()[:5000])
    drawn(3).save(car / "really.jpg", "PNG")
    (car / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    drawn(4).save(car / "unnamed", "PNG")
    (car / "readme.txt").write_text("about cars")
    jpeg(root / "train" / "beside.jpg", drawn(5))
    Image.new("1", (20_000, 10_000)).save(car / "bomb.png")
    # copies
    shutil.copy(car / "0001.jpg", car / "again.jpg")
    shutil.copy(car / "0002.jpg", root / "val" / "car" / "leaked.jpg")
    Image.open(key / "0001.jpg").resize((80, 80)).save(root / "val" / "key" / "smaller.jpg", quality=60)
    Image.open(key / "0002.jpg").save(key / "softer.jpg", quality=50)
    shutil.copy(key / "0003.jpg", mug / "key.jpg")
    Image.open(key / "0004.jpg").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(key / "turned.png")
    # sizes and contents
    Image.new("RGB", (SIZE, SIZE), (20, 90, 160)).save(mug / "blue.png")
    drawn(6, 40).save(mug / "tiny.png")
    drawn(7, 400).crop((0, 100, 400, 200)).save(mug / "wide.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg(mug / "turned.jpg", drawn(8), exif=exif)
    jpeg(mug / "grey.jpg", drawn(9).convert("L"))
    jpeg(mug / "print.jpg", drawn(10).convert("CMYK"))
    deep = np.asarray(drawn(11).convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(mug / "deep.png")
    drawn(12).convert("RGBA").save(mug / "clear.png")
    drawn(13).save(mug / "moving.gif", save_all=True, append_images=[drawn(14)])
    # classes
    for i in range(3):
        jpeg(root / "train" / "rare" / f"{i}.jpg", drawn(20 + i))
    for i in range(31):
        jpeg(root / "train" / "house" / f"more{i}.jpg", drawn(40 + i))
    jpeg(root / "val" / "bicycle" / "0.jpg", drawn(30))
    (root / "val" / "nothing").mkdir()
    (car / ".hidden.jpg").write_text("passed by")
    (root / ".cache").mkdir()
    return {
        "empty file": {"train/car/empty.jpg"},
        "unreadable": {"train/car/text.jpg"},
        "truncated": {"train/car/cut.jpg", "train/car/cut.png"},
        "decompression bomb": {"train/car/bomb.png"},
        "wrong extension": {"train/car/really.jpg"},
        "left out": {"train/car/phone.heic", "train/car/unnamed", "train/car/readme.txt"},
        "outside classes": {"train/beside.jpg"},
        "duplicate": {"train/car/0001.jpg", "train/car/again.jpg"},
        "near duplicate": {"train/key/0002.jpg", "train/key/softer.jpg"},
        "leak": {"train/car/0002.jpg", "val/car/leaked.jpg", "train/key/0001.jpg", "val/key/smaller.jpg"},
        "label conflict": {"train/key/0003.jpg", "train/mug/key.jpg"},
        "mirrored copy": {"train/key/0004.jpg", "train/key/turned.png"},
        "one colour": {"train/mug/blue.png"},
        "too small": {"train/mug/tiny.png"},
        "extreme aspect": {"train/mug/wide.png"},
        "rotated": {"train/mug/turned.jpg"},
        "grey": {"train/mug/grey.jpg", "train/mug/deep.png"},
        "CMYK": {"train/mug/print.jpg"},
        "16 bits": {"train/mug/deep.png"},
        "transparent": {"train/mug/clear.png"},
        "animated": {"train/mug/moving.gif"},
        "classes": {"train/rare", "val/bicycle", "val/nothing"},
        "imbalance": set(),
        "few images": set(),
    }


def named(report: Report, kind: str) -> set[str]:
    paths = (path for finding in report.findings if finding.kind == kind for path in finding.paths)
    return {path.relative_to(report.root).as_posix() for path in paths}


def test_every_planted_fault_is_found_and_named_and_nothing_else(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilenets.data.decode.MAX_PIXELS", 100_000_000)  # a bomb beyond the real limit takes seconds
    planted = plant(data)
    report = check(data, resolution=224)
    assert {kind: named(report, kind) for kind in dict.fromkeys(f.kind for f in report.findings)} == planted
    messages = "\n".join(f.message for f in report.findings if not f.paths)
    assert "41" in messages and "'rare' 3" in messages and "rare (3)" in messages
    assert {f.severity for f in report.findings if f.kind in ("leak", "label conflict", "truncated")} == {"fault"}
    assert {f.severity for f in report.findings if f.kind in ("grey", "rotated", "animated")} == {"note"}
    assert [f.severity for f in report.findings] == sorted(
        (f.severity for f in report.findings), key=("fault", "warning", "note").index
    )
    assert not report.sound


def test_clean_scenes_give_no_fault_and_no_warning(clean: Path) -> None:
    done: list[tuple[int, int]] = []
    report = check(clean, on_progress=lambda *at: done.append(at))
    assert report.findings == () and report.sound
    assert report.images == 8 * 13 == done[-1][0]
    assert report.counts["train"] == dict.fromkeys(scenes.KINDS, 10)


def test_nothing_is_changed(data: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in data.rglob("*")}

    before = state()
    check(data)
    assert state() == before


def test_report_is_plain_data(data: Path) -> None:
    shutil.copy(data / "train" / "car" / "0001.jpg", data / "val" / "car" / "copy.jpg")
    report = check(data).to_dict()
    assert (report["faults"], report["warnings"], report["notes"]) == (1, 0, 0)
    (finding,) = report["findings"]
    assert finding["kind"] == "leak" and "the same file in train (1) and val (1)" in finding["message"]
    assert finding["paths"] == [str(data / "train" / "car" / "0001.jpg"), str(data / "val" / "car" / "copy.jpg")]
    assert report["counts"]["val"]["car"] == 4


def without_val(root: Path) -> None:
    shutil.rmtree(root / "val")
    shutil.copy(root / "train" / "car" / "0001.jpg", root / "train" / "car" / "copy.jpg")


def one_image(root: Path) -> None:
    shutil.rmtree(root / "val")
    for path in sorted((root / "train" / "car").iterdir())[1:]:
        path.unlink()


def mixed(root: Path) -> None:
    jpeg(root / "extra" / "0.jpg", drawn(1))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (one_image, "layout", "one image"),
        (mixed, "layout", "mixes splits"),
    ],
)
def test_what_stops_training_is_a_finding(data: Path, change: Callable[[Path], None], kind: str, words: str) -> None:
    change(data)
    finding = check(data).findings[0]
    assert (finding.kind, finding.severity) == (kind, "fault")
    assert words in finding.message


def test_copies_without_splits_may_be_split_apart(data: Path) -> None:
    without_val(data)
    (finding,) = check(data / "train").findings
    assert finding.kind == "duplicate" and "val is taken from these images" in finding.message


def test_all_images_smaller_than_the_network_sees(data: Path) -> None:
    (finding,) = check(data, resolution=512).findings
    assert finding.kind == "too small" and len(finding.paths) == 104
    assert "96 px" in finding.message and "288 px or less" in finding.message
    assert check(data, resolution=288).findings == ()


def test_wrong_calls(tmp_path: Path, data: Path) -> None:
    with pytest.raises(MisuseError, match="no such folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(MisuseError, match="no images"):
        (tmp_path / "empty").mkdir()
        check(tmp_path / "empty")
    with pytest.raises(MisuseError, match="resolution"):
        check(data, resolution=0)
    with pytest.raises((MisuseError, DataError), match="file"):
        check(data / "train" / "car" / "0001.jpg")


def test_the_doctor_loads_no_torch(clean: Path) -> None:
    code = f"import sys; from mobilenets.doctor import check; check({str(clean)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
