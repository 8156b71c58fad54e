"""ExecuTorch with XNNPACK on the processor. Its tensors are torch's, so this file imports it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mobilenets.errors import CheckpointError, MissingExtraError
from mobilenets.outputs import Outputs
from mobilenets.runtime.quiet import quiet
from mobilenets.runtime.session import (
    Description,
    Images,
    Probabilities,
    existing,
    first_line,
    in_batches,
    probabilities_of,
)

METADATA = "mobilenets_metadata"
"""The method that gives our metadata: one JSON object of texts by name."""


class ExecuTorchSession:
    """A `Session` on ExecuTorch's portable runtime with the XNNPACK backend."""

    runtime = "executorch"

    def __init__(self, program: Any, metadata: Mapping[str, str], *, threads: int, where: str) -> None:
        self._program = program  # its memory is the method's
        self._method = program.load_method("forward")
        self.threads = threads
        self.version = version("executorch")
        self.metadata = metadata
        about = Description.of(metadata, where)
        self.classes, self.preprocessing, self.task = about.classes, about.preprocessing, about.task
        self.precision = about.precision
        self._names = about.outputs
        self.batch: int | None = int(self._method.metadata.input_tensor_meta(0).sizes()[0])

    @classmethod
    def open(cls, path: str | Path, *, threads: int = 1) -> ExecuTorchSession:
        """Load a `.pte` file. `threads` holds for all of ExecuTorch in this process.

        Raises:
            MisuseError: no such file.
            MissingExtraError: ExecuTorch is not installed.
            CheckpointError: not a program that ExecuTorch and this project can read.
        """
        existing(path)
        try:
            with quiet():
                import torch
                from executorch.extension.pybindings import portable_lib
                from executorch.runtime import Runtime
        except ImportError as error:
            raise MissingExtraError("executorch", "executorch", purpose=f"running {path}") from error
        try:
            with quiet():
                program = Runtime.get().load_program(Path(path).read_bytes())
                metadata = _metadata_of(program)
                portable_lib._unsafe_reset_threadpool(threads)
                session = cls(program, metadata, threads=threads, where=str(path))
                size = session._method.metadata.input_tensor_meta(0).sizes()
                session._method.execute([torch.zeros(size, dtype=torch.uint8)])  # the first run talks
        except RuntimeError as error:
            raise CheckpointError(f"{path}: ExecuTorch cannot load it: {first_line(error)}") from error
        return session

    def run(self, images: Images) -> Probabilities:
        """Class probabilities (n, classes, ...) of uint8 images (n, h, w, c); see `Session`."""
        return probabilities_of(self.outputs(images))

    def outputs(self, images: Images) -> Outputs:
        """What the file gives for uint8 images (n, h, w, c), by name."""
        return in_batches(self._run, images, self.batch or 1)

    def _run(self, images: Images) -> Outputs:
        import torch

        found = self._method.execute([torch.from_numpy(images)])
        return {name: value.numpy() for name, value in zip(self._names, found, strict=True)}


def _metadata_of(program: Any) -> dict[str, str]:
    if METADATA not in program.method_names:
        return {}
    values = json.loads(program.load_method(METADATA).execute([])[0])
    return {str(key): str(value) for key, value in values.items()}
