"""What every test may ask for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Decoded images are kept by the tests of that only.
os.environ.setdefault("MOBILENETS_CACHE_GB", "0")

# Tests run side by side: a thread of torch that waits for the others must not keep a core busy. Read once, by libgomp.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

Table = dict[str, Any]

# No test goes to the hub: those of downloads have a server of their own.
os.environ["MOBILENETS_MIRROR"] = str(REPOSITORY / "no-such-mirror")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights, data and reference tables; its README says what lies there."""
    path = Path(os.environ.get("MOBILENETS_SHARED", REPOSITORY.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"{path} is not there; MOBILENETS_SHARED names the folder of reference tables, data and weights")
    return path


@pytest.fixture(scope="session")
def reference(shared: Path) -> dict[str, Table]:
    """Published and exactly computed numbers: tables by id, each with `columns`, `rows` and `notes`."""
    path = shared / "reference" / "reference_tables.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    tables: dict[str, Table] = {table["id"]: table for table in json.loads(path.read_text())["tables"]}
    return tables


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """torch on one thread, where a test has loaded it at all: tests run side by side."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated scenes, 48 px: eight classes, 12 to train and 4 to validate each."""
    from mobilenets.data import scenes

    folder = tmp_path_factory.mktemp("data") / "scenes"
    scenes.write_classification(folder, per_class_train=12, per_class_val=4, size=48)
    return folder


@pytest.fixture(scope="session")
def latency_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with a real latency table of this machine, from some small networks so that it is quick."""
    from mobilenets.latency import build_set, build_table, device, write_table

    folder = tmp_path_factory.mktemp("cache")
    chosen = [n for n in build_set() if n.resolution <= 160 and n.width <= 1.0]
    kinds = [n for n in chosen if "hybrid" in n.name][:2]  # attention's kernels are in no other family
    local = device("local")
    with local.connect() as link:
        write_table(build_table(local, link, chosen[::3] + kinds, check=[]), folder)
    return folder


@pytest.fixture(scope="session")
def toy() -> Any:
    """A small model that has learned three classes; see `making.trained`."""
    from making import trained

    return trained()


@pytest.fixture(scope="session")
def artifact_of(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives the toy model's file in a format and a precision, made once; skips where its converter is not installed.

    What a converter printed lies beside the file, in `NAME.noise`.
    """
    from making import stripes
    from mobilenets.errors import MissingExtraError
    from mobilenets.exports import write

    folder = tmp_path_factory.mktemp("artifacts")
    calibration, _ = stripes(48, seed=4)

    def made(suffix: str, precision: str = "fp32") -> Path:
        path = folder / f"toy_{precision}{suffix}"
        if not path.exists():
            with printed_to(path.with_name(f"{path.name}.noise")):
                try:
                    write(toy, path, precision=precision, calibration=calibration)  # type: ignore[arg-type]
                except MissingExtraError as error:
                    pytest.skip(str(error))
        return path

    return made


@contextmanager
def printed_to(path: Path) -> Iterator[None]:
    """What the block writes to descriptors 1 and 2, native code too, goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    with path.open("wb") as file:
        try:
            for number in kept:
                os.dup2(file.fileno(), number)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
