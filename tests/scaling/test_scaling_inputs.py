"""Names to blocks, blocks to rows: without a cluster."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from making import picture
from mobilenets.errors import ClusterError, DataError, MisuseError
from mobilenets.prediction import batch_function, predict

arrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

from mobilenets.data.remote import find_remote, open_file_system, read_remote, remote_suffix  # noqa: E402
from mobilenets.scaling import predict_cluster  # noqa: E402
from mobilenets.scaling.inputs import blocks_of, digest_of, find_inputs, read_block  # noqa: E402
from mobilenets.scaling.parts import Parts  # noqa: E402
from mobilenets.scaling.work import Work, model_files  # noqa: E402


def test_folders_patterns_tables_and_lists(tmp_path: Path) -> None:
    images = [picture(tmp_path / "photos" / name) for name in ("1.png", "2.png", "10.png")]
    for name in ("b.parquet", "a.parquet"):
        (tmp_path / "tables").mkdir(exist_ok=True)
        parquet.write_table(arrow.table({"path": ["x.png"]}), tmp_path / "tables" / name)
    tables = [str(tmp_path / "tables" / name) for name in ("a.parquet", "b.parquet")]
    names = [str(file) for file in images]
    assert find_inputs(tmp_path / "photos") == names
    assert find_inputs([str(tmp_path / "photos" / "*.png"), images[0]]) == [*names, names[0]], "as often as it is named"
    assert find_inputs(tmp_path / "tables") == find_inputs(str(tmp_path / "tables" / "*.parquet")) == tables
    (tmp_path / "list.txt").write_text("\n".join([*names, "", names[0]]))
    assert find_inputs(f"@{tmp_path / 'list.txt'}") == [*names, names[0]], "a list says what it means"
    with pytest.raises(MisuseError, match=r"no such list: .*absent"):
        find_inputs(f"@{tmp_path / 'absent'}")
    with pytest.raises(MisuseError, match="no such file or folder"):
        find_inputs(tmp_path / "absent")
    with pytest.raises(MisuseError, match="no inputs"):
        find_inputs([])


def test_blocks_cover_all_inputs_once(tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"path": [f"{i}.png" for i in range(7)]}), tmp_path / "t.parquet", row_group_size=3)
    names = [*(f"{i}.png" for i in range(5)), "t.parquet", "last.png"]
    blocks = blocks_of(names, tmp_path, 2)
    assert [block.index for block in blocks] == list(range(7))
    assert [block.rows for block in blocks] == [2, 2, 1, 3, 3, 1, 1]
    inputs = [each for block in blocks for part in read_block(block, tmp_path) for each in part]
    assert [each.row for each in inputs] == [None] * 5 + list(range(7)) + [None]
    assert len({(each.path, each.table, each.row) for each in inputs}) == 13
    other = blocks_of([*names[1:], names[0]], tmp_path, 2)
    assert len({digest_of(blocks, tmp_path), digest_of(other, tmp_path), digest_of(blocks, Path("/"))}) == 3
    assert digest_of(blocks_of(names, tmp_path, 2), tmp_path) == digest_of(blocks, tmp_path)


def test_a_table_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"t.parquet: cannot be read as Parquet"):
        blocks_of(["t.parquet"], tmp_path, 2)


def test_rows_of_a_table_by_what_a_worker_does(model_file: Path, pictures: list[Path], tmp_path: Path) -> None:
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in pictures[:20]]
    table = arrow.table({"image": images, "label": ["cat"] * 20})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=8)
    function = batch_function(model_file)
    work = Work(function, Parts.begin(tmp_path / "out", {}, resume=False, overwrite=False), tmp_path)
    opened = work.open(model_files(model_file))
    done = [work.do(opened, block) for block in blocks_of(["a.parquet"], tmp_path, 2)]
    assert [each.rows for each in done] == [8, 8, 4]
    found = parquet.read_table(tmp_path / "out").to_pylist()
    assert [(row["table"], row["row"], row["path"]) for row in found] == [
        ("a.parquet", i, file.name) for i, file in enumerate(pictures[:20])
    ]
    assert [row["label"] for row in found] == [each.label for each in predict(model_file, pictures[:20], threads=1)]
    assert found[7]["error"] == "a.parquet/row 7 007.png: empty file (0 bytes), expected an image."
    with pytest.raises(DataError, match=r"a.parquet: no column 'photo': found image, label"):
        next(read_block(blocks_of(["a.parquet"], tmp_path, 2)[0], tmp_path, "photo"))


def test_addresses_of_any_file_system(pictures: list[Path]) -> None:
    for name in ("b 2.png", "b 10.png", "more/c.jpg", ".hidden.png", "notes.txt", "t.parquet"):
        system, path = open_file_system(f"memory://shop/in/{name}")
        system.create_dir(path.rpartition("/")[0])
        with system.open_output_stream(path) as stream:
            stream.write(pictures[0].read_bytes())
    assert find_remote("memory://shop/in/") == [
        f"memory://shop/in/{name}" for name in ("b 2.png", "b 10.png", "more/c.jpg")
    ]
    assert find_remote("memory://shop/in/*.png") == ["memory://shop/in/b 2.png", "memory://shop/in/b 10.png"]
    assert find_remote("memory://shop/in/t.parquet") == ["memory://shop/in/t.parquet"]
    assert read_remote("memory://shop/in/b 2.png") == pictures[0].read_bytes()
    assert remote_suffix("s3://a/b.JPG?scheme=http") == ".jpg"
    with pytest.raises(MisuseError, match=r"memory://shop/none: no such file or folder"):
        find_remote("memory://shop/none")
    with pytest.raises(MisuseError, match=r"no file system for nowhere:// addresses"):
        find_remote("nowhere://a/b")


def test_a_folder_on_another_file_system(tmp_path: Path) -> None:
    parts = Parts.begin("memory://shop/out", {"top": 2}, resume=False, overwrite=False)
    parts.write("part-00000.parquet", b"x")
    parts.note_tries(3, 1)
    assert parts.tries(3) == 1
    parts.tidy()
    assert parts.tries(3) == 0
    assert parts.names() == {"_settings.json", "part-00000.parquet"}
    with pytest.raises(MisuseError, match=r"begun with another top: 2 then, 1 now"):
        Parts.begin("memory://shop/out", {"top": 1}, resume=True, overwrite=False)
    assert Parts.begin("memory://shop/out", {"top": 1}, resume=False, overwrite=True).names() == {"_settings.json"}


def test_no_cluster_at_an_address(model_file: Path, pictures: list[Path], tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    if ray.is_initialized():
        pytest.skip("joined to a cluster already")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"no Ray cluster can be joined at {address}: .*refused. `ray status` shows"):
        predict_cluster(model_file, pictures[:3], tmp_path / "out", address=address)
