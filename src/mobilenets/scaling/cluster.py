"""Images through a model on a Ray cluster, to a folder of Parquet files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenets.errors import ClusterError, MisuseError
from mobilenets.prediction.batch_function import batch_function
from mobilenets.scaling.inputs import Block, blocks_of, digest_of, find_inputs
from mobilenets.scaling.parts import Parts, part_name
from mobilenets.scaling.ray_ import cluster, ray_library, run_blocks
from mobilenets.scaling.work import Work, model_files
from mobilenets.watching import Watcher

BLOCKS, LEAST, MOST = 256, 16, 1024
"""Blocks that images are cut into, and the bounds of how many each has: they are what a dead worker loses."""


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """What a cluster did.

    Attributes:
        out: folder of the predictions.
        rows: in all parts, one for each input.
        errors: rows whose image could not be read.
        parts: files.
        kept: of them, from a run before.
        workers: processes that did the others.
        seconds: that it took.
    """

    out: str
    rows: int
    errors: int
    parts: int
    kept: int
    workers: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def predict_cluster(
    model: str | Path,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    address: str = "auto",
    workers: tuple[int, int] | None = None,
    top: int | None = None,
    score: float | None = None,
    threads: int = 1,
    runtime: str | None = None,
    precision: str | None = None,
    column: str | None = None,
    images: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> ClusterRun:
    """What a model says of many images, one row for each, by the workers of a Ray cluster.

    Inputs are cut into blocks. A worker reads a block, predicts it and writes its Parquet file, which appears whole or
    not at all under a name of its own; a block whose worker dies is done again. So each input has one row, whatever
    dies, and a run that was stopped goes on. Columns: `path` of the image; `table` and `row` where it is a row of a
    Parquet file; then those of `batch_function`.

    Args:
        model: a checkpoint or an exported file of this machine; it is sent to the workers.
        source: files, folders, patterns, addresses (`s3://bucket/photos/`), Parquet files of images or paths, or
            `@FILE`, a list of names; see `find_inputs`. All workers must be able to read them.
        out: folder of the Parquet files: a path that all workers share, or an address.
        address: of the cluster; `local` starts one on this machine, `auto` does so where none is running.
        workers: least and most of them; from one to all processors unless given.
        top: classes listed for each image, 5 unless given; of a detector the boxes, 100 unless given.
        score: least score of a box that is listed, 0.5 unless given.
        threads: processors of each worker.
        runtime: of an exported file; None takes the format's own.
        precision: of float arithmetic in an exported file; None is fp32.
        column: of a Parquet file's images; None finds it.
        images: in a block, 16 to 1024 by their number unless given; a row group of a Parquet file is always one.
        resume: go on with a folder that was begun with the same model, inputs and settings.
        overwrite: replace what an earlier run wrote to the folder.
        watcher: told how far it is.

    Raises:
        MissingExtraError: Ray is not installed.
        MisuseError: no such model or input, a folder that is not empty, or one that was begun otherwise.
        DataError: inputs cannot be listed, a table or a part cannot be read.
        ClusterError: the cluster cannot be joined, its workers die again and again, or rows are missing at the end.
    """
    begun = time.perf_counter()
    watcher = watcher or Watcher()
    ray_library()
    if images is not None and images < 1:
        raise MisuseError(f"`images` (={images}) in a block must be at least 1.")
    function = batch_function(
        model, top=top, score=score, threads=threads, runtime=runtime, precision=precision, column=column
    )  # fmt: skip
    function.open()  # what is wrong with it is told here, not by a worker
    files, root = model_files(function.model), Path.cwd()
    watcher.phase("listing")
    names = find_inputs(source)
    blocks = blocks_of(names, root, images or min(max(len(names) // BLOCKS, LEAST), MOST))
    asked = {"top": top, "score": score, "runtime": runtime, "precision": precision, "column": column}
    settings = asked | {
        "model": hashlib.sha256(b"".join(files.values())).hexdigest(),
        "images": images,
        "inputs": digest_of(blocks, root),
    }
    parts = Parts.begin(out, settings, resume=resume, overwrite=overwrite)
    todo = _missing(blocks, parts)
    done = _run(Work(function, parts, root), files, blocks, todo, address, workers, watcher)
    parts.tidy()
    rows, errors = _checked(blocks, parts)
    kept = len(blocks) - len(todo)
    return ClusterRun(parts.folder, rows, errors, len(blocks), kept, done, time.perf_counter() - begun)


def _missing(blocks: Sequence[Block], parts: Parts) -> list[Block]:
    there = parts.names()
    return [block for block in blocks if part_name(block.index) not in there]


def _run(
    work: Work,
    files: dict[str, bytes],
    blocks: Sequence[Block],
    todo: Sequence[Block],
    address: str,
    workers: tuple[int, int] | None,
    watcher: Watcher,
) -> int:
    """Do what is to do; gives how many processes took part."""
    total = sum(block.rows for block in blocks)
    finished = total - sum(block.rows for block in todo)
    seen: set[str] = set()
    watcher.phase("predicting", total)
    watcher.advance(finished, total)
    if todo:
        with cluster(address, watcher.note):
            for done in run_blocks(work, files, todo, workers):
                finished += done.rows
                seen.add(done.worker)
                watcher.advance(finished, total)
    return len(seen)


def _checked(blocks: Sequence[Block], parts: Parts) -> tuple[int, int]:
    """Rows and errors of all parts, each held against its block."""
    rows = errors = 0
    for block in blocks:
        found, broken = parts.counted(block.index)
        if found != block.rows:
            raise ClusterError(
                f"{parts.folder}/{part_name(block.index)} has {found} rows, but its block has {block.rows} inputs: "
                "remove that file and --resume."
            )
        rows, errors = rows + found, errors + broken
    return rows, errors
