import io
import json
import pickle
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.cache import load_squares, native_size
from mobilenets.data.decode import decode, image_size
from mobilenets.data.folder import labelled, open_folder
from mobilenets.data.shards import expand_braces
from mobilenets.data.sources import Member
from mobilenets.errors import DataError, MisuseError


def picture(value: int, suffix: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (value, 0, 0)).save(buffer, suffix)
    return buffer.getvalue()


def shard(file: Path, members: dict[str, bytes | str]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, data in members.items():
            body = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return file


def samples(start: int, count: int, classes: int = 2) -> dict[str, bytes | str]:
    members: dict[str, bytes | str] = {}
    for i in range(start, start + count):
        members |= {f"{i:03d}.png": picture(i), f"{i:03d}.cls": str(i % classes)}
    return members


def test_images_are_read_in_place(tmp_path):
    file = shard(tmp_path / "all.tar", samples(0, 10))
    folder = open_folder(file)
    assert folder.classes == ("0", "1") and {s: len(v) for s, v in folder.splits.items()} == {"train": 8, "val": 2}
    for sample in (*folder.splits["train"], *folder.splits["val"]):
        member = sample.path
        assert isinstance(member, Member) and str(member) == f"{file}/{member.name}" and member.suffix == ".png"
        assert decode(member)[0, 0, 0] == int(member.name[:3]) and int(member.name[:3]) % 2 == sample.label
        assert image_size(member) == (24, 16)
        assert pickle.loads(pickle.dumps(member)) == member
    squares = load_squares(folder.splits["train"], native_size(folder.splits["train"], 64), workers=3)
    assert squares.images.shape == (8, 16, 16, 3)
    assert [int(p.name[:3]) for p in squares.paths] == squares.images[:, 0, 0, 0].tolist()
    assert [p.name for p in tmp_path.iterdir()] == ["all.tar"]


def test_label_files(tmp_path):
    members = {
        "a/1.jpg": picture(0, "JPEG"), "a/1.cls": "cat\n",
        "a/2.webp": picture(0, "WEBP"), "a/2.json": json.dumps({"class": "dog", "size": [24, 16]}),
        "a/3.png": picture(0), "a/3.json": "{}", "a/3.txt": "dog",
        "b/1.png": picture(0), "b/1.txt": " cat ",
        "b/4.jpeg": picture(0, "JPEG"), "b/4.json": json.dumps({"label": 7}), "b/4.npy": b"x",
        "readme.md": "hello",
    }  # fmt: skip
    found = {s.path.name: s.label for s in labelled(shard(tmp_path / "x.tar", members), ["cat", "dog", "7"])}
    assert found == {"a/1.jpg": 0, "a/2.webp": 1, "a/3.png": 1, "b/1.png": 0, "b/4.jpeg": 2}


def test_several_labels(tmp_path):
    labels = [["cat", "dog"], ["cat"], [], ["dog", "cat"]]
    members: dict[str, bytes | str] = {}
    for i, names in enumerate(labels):
        members |= {f"{i}.png": picture(i), f"{i}.json": json.dumps({"labels": names})}
    found = labelled(shard(tmp_path / "x.tar", members), ["dog", "cat"])
    assert [s.label for s in found] == [(0, 1), (1,), (), (0, 1)]


@pytest.mark.parametrize(
    "given",
    ["", "{0}/*.tar", "{0}/[tv]*-*.tar", "{0}/{{train,val}}-00{{0,1}}.tar"],
)
def test_folders_and_patterns(tmp_path, given):
    root = tmp_path / "shards"
    for i, name in enumerate(("train-000", "train-001", "val-000", "val-001")):
        shard(root / f"{name}.tar", samples(10 * i, 4))
    folder = open_folder(given.format(root) or root)
    assert {split: len(found) for split, found in folder.splits.items()} == {"train": 8, "val": 8}
    assert folder.root == root
    again = open_folder(given.format(root) or root, split_file=tmp_path / "split.json")
    assert "train-000.tar/000.png" in json.loads((tmp_path / "split.json").read_text())["splits"]["train"]
    assert open_folder(given.format(root) or root, split_file=tmp_path / "split.json") == again


def test_split_folders_and_long_names(tmp_path):
    long = "n" * 120
    for split, start in (("train", 0), ("validation", 20)):
        members = {f"{long}/{name}": data for name, data in samples(start, 4).items()}
        shard(tmp_path / split / "0.tar", members)
    folder = open_folder(tmp_path)
    assert {split: len(found) for split, found in folder.splits.items()} == {"train": 4, "val": 4}
    assert decode(folder.splits["val"][0].path)[0, 0, 0] == 20


def test_braces():
    assert expand_braces("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expand_braces("{x,y}{0..1}") == ["x0", "x1", "y0", "y1"]
    assert expand_braces("plain") == ["plain"]


def refused(path: Path | str) -> str:
    with pytest.raises(DataError) as error:
        open_folder(path)
    return str(error.value)


def test_truncated_shards_are_named(tmp_path):
    whole = shard(tmp_path / "whole.tar", samples(0, 6)).read_bytes()
    end = len(whole.rstrip(b"\0"))
    bad = tmp_path / "bad.tar"
    for cut in (0, 100, 512, 700, 1024, 1300, end - 1024, end - 512, end - end % 512, end):
        bad.write_bytes(whole[:cut])
        message = refused(bad)
        assert message.startswith(f"{bad}: ") and "Make or copy it anew" in message, cut
    bad.write_bytes(whole[: end // 1024 * 512])
    assert "truncated or damaged" in refused(bad) or "unexpected end of data" in refused(bad)
    damaged = bytearray(whole)
    damaged[2048:2560] = b"x" * 512
    bad.write_bytes(damaged)
    assert "Make or copy it anew" in refused(bad)


def test_a_shard_cut_after_it_was_indexed(tmp_path):
    file = shard(tmp_path / "x.tar", samples(0, 4))
    last = labelled(file, ["0", "1"])[-1].path
    file.write_bytes(file.read_bytes()[: last.offset + 40])
    with pytest.raises(DataError, match=r"x\.tar/003\.png: "):
        decode(last)
    file.unlink()
    with pytest.raises(DataError, match=r"x\.tar/003\.png: cannot be read: No such file"):
        decode(last)


def test_keys_that_do_not_match(tmp_path):
    file = shard(tmp_path / "a.tar", samples(0, 4) | {"x.png": picture(0), "y.png": picture(0)})
    assert (
        refused(file)
        == f"{file}: 2 images have no label: x.png, y.png. Give each KEY.jpg a KEY.cls, KEY.json or KEY.txt."
    )
    file = shard(tmp_path / "b.tar", samples(0, 4) | {"lost.cls": "1"})
    assert refused(file) == f"{file}: 1 keys have a label and no image: lost. Give each KEY.cls a KEY.jpg."
    file = shard(tmp_path / "c.tar", samples(0, 4) | {"000.large.png": picture(0)})
    assert "two images have the key 000: 000.png and 000.large.png. A key ends at the first dot" in refused(file)
    file = shard(tmp_path / "d.tar", {"a.txt": "x"})
    assert refused(file) == f"{file}: no images; expected members such as 000.jpg and 000.cls."
    file = shard(tmp_path / "e.tar", {"a.png": picture(0), "a.json": "{"})
    assert refused(file).startswith(f"{file}/a.json: not JSON: ")
    file = shard(tmp_path / "f.tar", {"cat/1.png": picture(0), "dog/1.png": picture(0)})
    message = refused(file)
    assert message.startswith(
        f"{file}: none of its 2 images has a label; expected members such as 000.jpg and 000.cls."
    )
    assert message.endswith(f"class folders, unpack it first: mkdir -p {tmp_path}/f && tar -xf {file} -C {tmp_path}/f")


def test_what_is_not_there_or_no_tar(tmp_path):
    for given in ("typo.tar", "typo-{00..03}.tar", "typo*.tar"):
        with pytest.raises(MisuseError, match=r"no such file"):
            open_folder(tmp_path / given)
    (tmp_path / "a.tar").write_bytes(b"hello" * 300)
    assert "cannot be read as a tar file (1,500 bytes)" in refused(tmp_path / "a.tar")
    shard(tmp_path / "s" / "train-0.tar", samples(0, 4))
    shard(tmp_path / "s" / "more.tar", samples(4, 4))
    assert "1 files belong to no split, others do: more.tar. Name each file after its split" in refused(tmp_path / "s")


# ---------------------------------------------------------------------------------------------------


@contextmanager
def served(files: dict[str, bytes], breaks: list[int], asked: list[str]) -> Iterator[str]:
    """A server of files; each answer ends after as many bytes as `breaks` says, while it has any."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            asked.append(f"{self.path} {wanted}".strip())
            if (data := files.get(self.path)) is None:
                self.send_error(404)
                return
            tag = f'"{hash(data)}"'
            start = int(wanted[6:-1]) if wanted and self.headers.get("If-Range") == tag else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:][: breaks.pop(0)] if breaks else data[start:])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def web(tmp_path, monkeypatch) -> dict[str, bytes]:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    names = {"/d/train-0.tar": 0, "/d/train-1.tar": 10, "/d/val-0.tar": 20}
    return {name: shard(tmp_path / "made" / name[3:], samples(i, 6)).read_bytes() for name, i in names.items()}


def test_addresses_are_downloaded_once(web):
    asked: list[str] = []
    with served(web, [], asked) as address:
        for _ in range(2):
            folder = open_folder(address + "/d/train-{0..1}.tar")
            assert sum(len(found) for found in folder.splits.values()) == 12
        # a Path, which the command line makes, has one slash less
        assert len(labelled(Path(address + "/d/val-0.tar"), ["0", "1"])) == 6
        assert asked == ["/d/train-0.tar", "/d/train-1.tar", "/d/val-0.tar"]
    assert len(open_folder(address + "/d/train-0.tar").splits["train"]) == 4  # without the server


def test_a_broken_download_goes_on(web, tmp_path):
    asked: list[str] = []
    with served(web, [3000], asked) as address:
        url = address + "/d/train-0.tar"
        size = len(web["/d/train-0.tar"])
        assert refused(url) == (
            f"{url}: got 3,000 of {size:,} bytes: the connection broke. Run the same again to go on."
        )
        assert len(open_folder(url).splits["train"]) == 4
        assert asked == ["/d/train-0.tar", "/d/train-0.tar bytes=3000-"]
    (kept,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert kept.read_bytes() == web["/d/train-0.tar"]


def test_a_file_that_changed_meanwhile_is_downloaded_anew(web, tmp_path):
    with served(web, [3000], []) as address:
        url = address + "/d/train-0.tar"
        refused(url)
        web["/d/train-0.tar"] = web["/d/val-0.tar"]
        assert decode(open_folder(url).splits["train"][0].path)[0, 0, 0] >= 20


def test_addresses_that_cannot_be_had(web):
    with served(web, [], []) as address:
        assert refused(address + "/d/typo.tar") == (
            f"{address}/d/typo.tar: cannot be downloaded: Not Found. Check the address and the network, or give a "
            "file or folder."
        )
    message = refused(address + "/d/train-0.tar")
    assert "train-0.tar: cannot be downloaded: [Errno 111] Connection refused." in message
    with pytest.raises(MisuseError, match=r"expected the address of a \.tar file"):
        open_folder(address + "/d/")
    with pytest.raises(MisuseError, match=r"addresses cannot be searched with \*"):
        open_folder(address + "/d/*.tar")


def test_evaluate_scores_shards(tmp_path):
    from mobilenets.model import build
    from mobilenets.prediction import evaluate
    from mobilenets.zoo import INDEX

    model = build(INDEX["mobilenet_v3_small_minimalistic"], ["0", "1"])
    result = evaluate(model, shard(tmp_path / "val-0.tar", samples(0, 5) | {"x.png": b"no", "x.cls": "1"}))
    assert result.images == 5 and np.sum(result.confusion) == 5
    assert [str(path) for path, _ in result.skipped] == [f"{tmp_path}/val-0.tar/x.png"]
