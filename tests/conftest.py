"""What every test may ask for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

Table = dict[str, Any]


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
