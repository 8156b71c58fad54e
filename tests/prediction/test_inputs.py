"""What a user names, one image after the other."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from making import picture
from mobilenets.data import decode
from mobilenets.errors import DataError, MisuseError
from mobilenets.prediction.frames import is_camera
from mobilenets.prediction.inputs import sources_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        picture(tmp_path / "photos" / f"{i}.png", seed=i)
    return tmp_path / "photos"


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def named(*paths: str | Path) -> list[str]:
    return [str(source) for source in sources_of(paths)]


def test_files_folders_and_globs_with_repeats(folder: Path) -> None:
    all_ = [str(folder / f"{i}.png") for i in range(3)]
    assert named(folder) == named(folder / "*.png") == all_
    assert named(folder / "1.png", folder, folder / "1.png") == [all_[1], *all_, all_[1]]


def test_lists_are_not_looked_at_before_their_turn(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"{folder / '0.png'}\n\n{folder / 'not there.png'}\r\nhttps://example.org/a.jpg\n"
    (tmp_path / "l.txt").write_text(lines)
    expected = [str(folder / "0.png"), str(folder / "not there.png"), "https://example.org/a.jpg"]
    assert named(f"@{tmp_path / 'l.txt'}") == expected
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert named("-") == expected
    with pytest.raises(MisuseError, match=r"no such list.*none\.txt"):
        sources_of([f"@{tmp_path / 'none.txt'}"])


def test_what_is_missing_is_told_at_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MisuseError, match="no images in this folder"):
        sources_of([folder, tmp_path / "empty"])
    with pytest.raises(MisuseError, match="no such file or folder"):
        sources_of([folder, tmp_path / "none.tar"])


def test_shards_need_no_labels(folder: Path, tmp_path: Path) -> None:
    for shard in range(2):
        with tarfile.open(tmp_path / f"s{shard}.tar", "w") as tar:
            for i in range(3):
                tar.add(folder / f"{i}.png", f"{shard}{i}.png")
            tar.addfile(tarfile.TarInfo("notes.txt"))
    found = list(sources_of([tmp_path / "s{0..1}.tar"]))
    assert [source.name for source in found] == ["00.png", "01.png", "02.png", "10.png", "11.png", "12.png"]
    assert (decode.decode(found[4]) == decode.decode(folder / "1.png")).all()


@pytest.mark.parametrize("kind", ["bytes", "path", "url"])
def test_parquet_of_bytes_paths_and_addresses(kind: str, folder: Path, tmp_path: Path, address: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    files = [folder / f"{i}.png" for i in range(3)]
    column: list[object] = {
        "bytes": [file.read_bytes() for file in files],
        "path": [f"photos/{file.name}" for file in files],
        "url": [f"{address}/{file.name}" for file in files],
    }[kind]  # type: ignore[assignment]
    parquet.write_table(
        pyarrow.table({"image" if kind == "bytes" else kind: column}), tmp_path / "t.parquet", row_group_size=2
    )
    found = list(sources_of([tmp_path / "t.parquet"]))
    assert len(found) == 3
    for source, file in zip(found, files, strict=True):
        assert (decode.decode(source) == decode.decode(file)).all()


def test_addresses_that_do_not_answer_are_rows(address: str) -> None:
    (source,) = sources_of([f"{address}/none.png"])
    with pytest.raises(DataError, match=r"none\.png: cannot be downloaded: File not found"):
        decode.decode(source)


def test_a_camera_that_is_not_there() -> None:
    pytest.importorskip("av")
    assert is_camera("camera:0")
    assert not is_camera("camera:front")
    with pytest.raises(DataError, match=r"camera:97: no camera can be opened at /dev/video97"):
        sources_of(["camera:97"])


def test_what_cannot_be_read_is_an_image_with_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbfa\0b.jpg\nhttp://[bad/x.jpg\n")
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for i in range(3):
            tar.add(folder / f"{i}.png", f"{i}.png")
    whole = (tmp_path / "s.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 3])
    said = []
    for source in sources_of([f"@{tmp_path / 'l.txt'}", tmp_path / "cut.tar"]):
        try:
            decode.decode(source)
        except DataError as error:
            said.append(str(error))
    assert said[0].startswith("a\0b.jpg: cannot be read") and "cannot be downloaded" in said[1]
    assert "cut.tar" in said[-1]
