"""Blocks of inputs on Ray: actors that hold the model, as many as there is work for."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mobilenets.errors import ClusterError, DataError, MissingExtraError, MisuseError
from mobilenets.processors import processors
from mobilenets.runtime.quiet import quiet
from mobilenets.scaling.inputs import Block
from mobilenets.scaling.work import Done, Work

TRIES = 3
"""How often a block may kill a worker that was started anew for it: an image may be what does."""

_STORE_BYTES = 256 << 20
"""Shared memory of a cluster that is started here: it holds names and counts, no images."""

_REACH_S = 10.0


def ray_library() -> Any:
    """Ray with its data sets.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it writes to our stderr, whatever `log_to_driver` says
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray", purpose="predicting on a cluster") from error
    return ray


@contextmanager
def cluster(address: str, note: Callable[[str], None]) -> Iterator[None]:
    """Joined to a cluster, or one on this machine for as long as the block lasts.

    Args:
        address: of the cluster; `local` starts one here, `auto` does so where none is running.
        note: told which it is.

    Raises:
        ClusterError: there is no cluster at the address.
    """
    ray = ray_library()
    if ray.is_initialized():  # whoever did that ends it
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    try:
        note(_joined(ray, address, folder))
        with contextlib.redirect_stdout(sys.stderr):  # Ray tells of dead workers on stdout, which is for results
            yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _joined(ray: Any, address: str, folder: str) -> str:
    if address != "local":
        try:
            _reach(address)
            with quiet():
                ray.init(address=address, log_to_driver=False)
            return f"cluster: {ray.get_runtime_context().gcs_address}, {_processors(ray)} processors"
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            if address != "auto":
                line = str(error).partition("\n")[0].rstrip(". ")
                raise ClusterError(
                    f"no Ray cluster can be joined at {address}: {line}. `ray status` shows whether one runs; `local` "
                    "starts one on this machine."
                ) from error
    with quiet():
        ray.init(
            address="local", num_cpus=processors(), include_dashboard=False, _temp_dir=folder,
            object_store_memory=_STORE_BYTES, log_to_driver=False,
        )  # fmt: skip
    return f"cluster: this machine, {_processors(ray)} processors"


def _reach(address: str) -> None:
    """Ray asks an address for minutes before it says that nobody is there."""
    if found := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):
        socket.create_connection((found[1].strip("[]"), int(found[2])), timeout=_REACH_S).close()


def _processors(ray: Any) -> int:
    return int(ray.cluster_resources().get("CPU", 1))


def run_blocks(
    work: Work, files: Mapping[str, bytes], blocks: Sequence[Block], workers: tuple[int, int] | None
) -> Iterator[Done]:
    """Blocks as they are done, in any order. A cluster must have been joined.

    Ray starts and ends workers between the bounds as there is work, and hands out no more than they can do. A block
    whose worker dies is done again by another; its part has the same name.

    Args:
        work: what to do with each.
        files: the model's.
        blocks: to do.
        workers: least and most of them; None is from one to all processors.

    Raises:
        MisuseError: bounds that the cluster cannot hold.
        ClusterError: a block killed its workers again and again, or a worker could not start.
        MobileNetsError: what a worker raised.
    """
    ray = ray_library()
    least, most = _bounds(workers, _processors(ray) // work.function.threads)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    items = ray.data.from_items(
        [{"block": pickle.dumps(block)} for block in blocks], override_num_blocks=len(blocks)
    )  # fmt: skip
    done = items.map_batches(
        _Worker,
        fn_constructor_args=(ray.put(dict(files)), work),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=min(most, len(blocks))),
        num_cpus=work.function.threads,
    )  # Ray Data starts dead actors anew and gives them their tasks again, without end: `_Worker` knows one
    try:
        for row in done.iter_rows():
            if row["error"]:
                raise pickle.loads(row["error"])
            yield Done(int(row["index"]), int(row["rows"]), str(row["worker"]))
    except ray.exceptions.RayError as error:
        raise _told(error) from error


def _bounds(workers: tuple[int, int] | None, able: int) -> tuple[int, int]:
    least, most = workers or (1, max(able, 1))
    if not 1 <= least <= most:
        raise MisuseError(f"`workers` (={least}, {most}) must be the least and the most, at least 1 and in this order.")
    if least > able:
        raise MisuseError(
            f"`workers` (={least}, {most}) asks for at least {least}, but the cluster has processors for {able}: "
            "lower the bound or `threads`."
        )
    return least, most


class _Worker:
    """An actor: holds the model."""

    def __init__(self, files: Any, work: Work) -> None:
        self.work = work
        self.opened = work.open(ray_library().get(files))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        block: Block = pickle.loads(batch["block"][0])
        try:
            if ray_library().get_runtime_context().was_current_actor_reconstructed:
                self._count(block)
            return _row(self.work.do(self.opened, block), b"")
        except (DataError, ClusterError, OSError) as error:  # as a value: Ray would wrap it and log its traceback
            return _row(Done(block.index, 0, ""), pickle.dumps(error))

    def _count(self, block: Block) -> None:
        """Note that a worker which was started anew begins with a block, so that none is tried for ever."""
        tries = self.work.parts.tries(block.index) + 1
        if tries > TRIES:
            what = f"row group {block.group} of {block.table}" if block.table else f"{block.names[0]} and what follows"
            raise ClusterError(
                f"block {block.index} ({what}, {block.rows} inputs) killed its worker {tries} times: out of memory? "
                "What is written stays. Leave out the image that does it, or run again with --resume."
            )
        self.work.parts.note_tries(block.index, tries)


def _row(done: Done, error: bytes) -> dict[str, Any]:
    told = {"index": done.index, "rows": done.rows, "worker": done.worker, "error": error}
    return {name: np.array([value], object) for name, value in told.items()}


def _told(error: BaseException) -> ClusterError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = next((line for line in reversed(lines) if "Error: " in line), lines[-1])
    return ClusterError(f"work on the cluster failed: {line.rstrip('.')}. What is written stays: --resume goes on.")
