"""Runtimes behind one Protocol, one file each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import UnknownNameError
from mobilenets.metrics import Task
from mobilenets.preprocessing import Preprocessing


class Session(Protocol):
    """A loaded artifact."""

    runtime: str
    version: str
    threads: int
    precision: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    task: Task
    metadata: Mapping[str, str]

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities (n, classes) of uint8 images (n, h, w, c)."""
        ...


SUFFIXES = {".onnx": "onnxruntime"}
"""Artifact suffix -> runtime."""


def open_artifact(path: str | Path, *, threads: int = 1) -> Session:
    """Load an exported file in the runtime that its suffix names.

    Raises:
        MisuseError: no such file, or a suffix that no runtime reads.
        CheckpointError: a file that cannot be loaded.
    """
    from mobilenets.runtime.onnxruntime import OnnxRuntimeSession

    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UnknownNameError("kind of exported file", str(path), SUFFIXES, hint=f"Known: {', '.join(SUFFIXES)}.")
    return OnnxRuntimeSession.open(path, threads=threads)


def describe(session: Session) -> dict[str, Any]:
    """Runtime, version, threads and precision, for reports."""
    return {
        "runtime": f"{session.runtime} {session.version}",
        "threads": session.threads,
        "precision": session.precision,
    }
