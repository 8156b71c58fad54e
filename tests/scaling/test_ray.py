"""A cluster's predictions: one row for each input, whatever dies. One real Ray cluster on this machine for all."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from making import picture
from mobilenets.errors import ClusterError, DataError, MisuseError
from mobilenets.prediction import predict
from mobilenets.watching import Watcher

pytest.importorskip("ray", reason="the extra `ray` is not installed")
parquet = pytest.importorskip("pyarrow.parquet")
arrow = pytest.importorskip("pyarrow")

from mobilenets.data.remote import find_remote, open_file_system  # noqa: E402
from mobilenets.scaling import ClusterRun, predict_cluster  # noqa: E402
from mobilenets.scaling.ray_ import TRIES, cluster  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def ray_cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """Started when the S3 server's address is in the environment, which workers inherit."""
    with contextlib.suppress(pytest.skip.Exception):
        request.getfixturevalue("s3")
    with cluster("local", print):
        yield


def rows_of(out: str | Path) -> list[dict[str, Any]]:
    """All rows of a folder, block by block."""
    return [row for file in sorted(Path(out).glob("*.parquet")) for row in parquet.read_table(file).to_pylist()]


def as_predicted(model: Path, files: list[Path]) -> list[dict[str, Any]]:
    """What `predict` says of files, in the form of a cluster's rows."""
    found = predict(model, files, threads=1, top=2)
    return [each.to_dict() | {"path": str(each.path), "table": None, "row": None} for each in found]


def assert_alike(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """The same rows; scores may differ in the last bits, as they do between batches."""
    assert [row["path"] for row in found] == [row["path"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert {**one, "score": None, "top": None} == {**other, "score": None, "top": None}
        assert one["score"] == (None if other["score"] is None else pytest.approx(other["score"], abs=1e-6))
        assert [each["label"] for each in one["top"]] == [each["label"] for each in other["top"]]


class Pipe:
    """An image that a worker waits for: so many of them are killed while they do, the next one gets it."""

    def __init__(self, path: Path, image: bytes, *, kills: int = 1) -> None:
        os.mkfifo(path)
        self.path, self.image, self.kills, self.killed = path, image, kills, 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        for _ in range(self.kills):
            with self.path.open("wb") as pipe:  # waits for a reader
                os.kill(self._reader(), signal.SIGKILL)
                gone = select.poll()
                gone.register(pipe, 0)
                gone.poll()
            self.killed += 1
        with self.path.open("wb") as pipe:
            pipe.write(self.image)

    def _reader(self) -> int:
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):  # processes of others, or gone
                if str(link.readlink()) == str(self.path) and int(link.parts[2]) != os.getpid():
                    return int(link.parts[2])
        raise AssertionError("nobody reads the pipe")


class Told(Watcher):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def advance(self, done: int, total: int) -> None:
        self.steps.append((done, total))


class Killed(NamedTuple):
    """A run one of whose workers was killed, and what it was told."""

    run: ClusterRun
    files: list[Path]
    steps: list[tuple[int, int]]


@pytest.fixture(scope="module")
def killed(model_file: Path, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Killed:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("who reads a pipe is told by /proc")
    folder = tmp_path_factory.mktemp("killed")
    image = picture(folder / "image.png", seed=99).read_bytes()
    pipe = Pipe(folder / "pipe.png", image)
    files, told = [*pictures[:20], pipe.path, *pictures[20:]], Told()
    run = predict_cluster(model_file, files, folder / "out", images=4, workers=(1, 1), top=2, watcher=told)
    pipe.thread.join(timeout=30)
    assert pipe.killed == 1
    pipe.path.unlink()
    pipe.path.write_bytes(image)
    return Killed(run, files, told.steps)


def test_rows_are_those_of_an_undisturbed_run_after_a_worker_was_killed(killed: Killed, model_file: Path) -> None:
    run = killed.run
    assert run.workers == 2, "the one that was killed, and the one in its place"
    assert (run.rows, run.errors, run.parts, run.kept) == (61, 2, 16, 0)
    assert (killed.steps[0], killed.steps[-1]) == ((0, 61), (61, 61))
    assert [file.name for file in Path(run.out).iterdir() if not file.name.startswith("part-")] == ["_settings.json"]
    assert_alike(rows_of(run.out), as_predicted(model_file, killed.files))


def test_resume_does_what_is_missing_and_nothing_else(killed: Killed, model_file: Path) -> None:
    out = Path(killed.run.out)
    before = {file.name: file.stat().st_mtime_ns for file in out.glob("*.parquet")}
    rows = rows_of(out)
    (out / "part-00001.parquet").unlink()
    (out / ".part-00001.1234.parquet").write_bytes(b"PAR1, and then its worker was killed")
    run = predict_cluster(model_file, killed.files, out, images=4, top=2, resume=True)
    assert (run.rows, run.errors, run.parts, run.kept, run.workers) == (61, 2, 16, 15, 1)
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("*.parquet")}
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == ["part-00001.parquet"]
    assert not list(out.glob(".part*"))
    assert rows_of(out) == rows


def test_a_folder_that_was_begun_is_not_gone_on_with_otherwise(
    killed: Killed, model_file: Path, artifact_of: Any, tmp_path: Path
) -> None:
    files, out = killed.files, killed.run.out
    with pytest.raises(MisuseError, match=r"out exists and is not empty: --resume to go on with it, choose another"):
        predict_cluster(model_file, files, out, images=4, top=2)
    with pytest.raises(MisuseError, match=r"begun with another top: 2 then, 3 now.*--overwrite"):
        predict_cluster(model_file, files, out, images=4, top=3, resume=True)
    with pytest.raises(MisuseError, match=r"begun with another inputs"):
        predict_cluster(model_file, files[1:], out, images=4, top=2, resume=True)
    with pytest.raises(MisuseError, match=r"begun with another model"):
        predict_cluster(artifact_of(".onnx"), files, out, images=4, top=2, resume=True)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MisuseError, match=r"exists and is not empty: choose another --out"):
        predict_cluster(model_file, files, tmp_path)
    with pytest.raises(MisuseError, match=r"notes.txt is a file"):
        predict_cluster(model_file, files, tmp_path / "notes.txt")


def test_a_part_with_too_few_rows_is_an_error(killed: Killed, model_file: Path) -> None:
    part = Path(killed.run.out) / "part-00002.parquet"
    whole = part.read_bytes()
    parquet.write_table(parquet.read_table(part).slice(0, 3), part)
    with pytest.raises(ClusterError, match=r"part-00002.parquet has 3 rows, but its block has 4 inputs: remove"):
        predict_cluster(model_file, killed.files, killed.run.out, images=4, top=2, resume=True)
    part.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"part-00002.parquet: cannot be read"):
        predict_cluster(model_file, killed.files, killed.run.out, images=4, top=2, resume=True)
    part.write_bytes(whole)


@pytest.mark.slow
def test_what_a_worker_raises_is_raised_here(model_file: Path, pictures: list[Path], tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"image": [pictures[0].read_bytes()], "label": ["cat"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet: no column 'photo': found image, label"):
        predict_cluster(model_file, tmp_path / "a.parquet", tmp_path / "out", column="photo", workers=(1, 1))


@pytest.mark.slow
def test_a_block_that_kills_all_its_workers_ends_the_run(
    model_file: Path, pictures: list[Path], tmp_path: Path
) -> None:
    pipe = Pipe(tmp_path / "pipe.png", b"", kills=TRIES + 1)
    files = [*pictures[:4], pipe.path, *pictures[4:8]]
    with pytest.raises(ClusterError, match=r"block 1 \(.*pipe.png and what follows, 4 inputs\) killed its worker 4"):
        predict_cluster(model_file, files, tmp_path / "out", images=4, workers=(1, 1))
    assert pipe.killed == TRIES + 1
    assert (tmp_path / "out" / "part-00000.parquet").is_file(), "what is written stays"


def test_bounds_that_the_cluster_cannot_hold(model_file: Path, pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"`workers` \(=999, 1000\) asks for at least 999, but the cluster has"):
        predict_cluster(model_file, pictures, tmp_path / "a", workers=(999, 1000))
    with pytest.raises(MisuseError, match=r"`workers` \(=2, 1\) must be the least and the most"):
        predict_cluster(model_file, pictures, tmp_path / "b", workers=(2, 1))


def test_a_bucket_in_and_a_bucket_out(s3: str, model_file: Path, pictures: list[Path], tmp_path: Path) -> None:
    for file in pictures[:12]:
        system, path = open_file_system(f"{s3}/in/{'more/' if file.stem == '003' else ''}{file.name}")
        with system.open_output_stream(path) as stream:
            stream.write(file.read_bytes())
    names = find_remote(f"{s3}/in/")
    assert len(names) == 12
    assert find_remote(f"{s3}/in/*.png") == [f"{s3}/in/{i:03d}.png" for i in range(12) if i != 3]
    table = arrow.table({"path": [file.name for file in pictures[:4]], "n": range(4)})
    system, path = open_file_system(f"{s3}/in/names.parquet")
    parquet.write_table(table, path, filesystem=system)
    run = predict_cluster(
        model_file, [f"{s3}/in/", f"{s3}/in/names.parquet"], f"{s3}/out", images=5, workers=(1, 1)
    )  # fmt: skip
    assert (run.rows, run.errors, run.parts) == (16, 2, 4), "one is empty, one lies in a folder below"
    system, path = open_file_system(f"{s3}/out")
    found = parquet.read_table(path, filesystem=system).to_pylist()
    assert [row["path"] for row in found] == [*names, *(file.name for file in pictures[:4])]
    assert [row["row"] for row in found] == [None] * 12 + [0, 1, 2, 3]
    expected = {each.path.name: each.label for each in predict(model_file, pictures[:12], threads=1)}
    assert {row["path"].rpartition("/")[2]: row["label"] for row in found[:12]} == expected
    assert [row["label"] for row in found[12:15]] == [expected[file.name] for file in pictures[:3]]
    again = predict_cluster(
        model_file, [f"{s3}/in/", f"{s3}/in/names.parquet"], f"{s3}/out", images=5, resume=True
    )  # fmt: skip
    assert (again.rows, again.kept) == (16, 4)
    with pytest.raises(MisuseError, match=r"photos/none: no such file or folder"):
        predict_cluster(model_file, f"{s3}/none", tmp_path / "out")
