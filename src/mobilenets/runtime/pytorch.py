"""PyTorch's own archive (`torch.export`), run by PyTorch."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilenets.errors import CheckpointError, MissingExtraError
from mobilenets.outputs import Outputs
from mobilenets.runtime.quiet import quiet
from mobilenets.runtime.session import Description, Images, Probabilities, existing, first_line, probabilities_of

METADATA = "mobilenets.json"
"""The extra file with our metadata: texts by name."""


class PyTorchSession:
    """A `Session` on PyTorch, eager: the graph as it was exported, node by node."""

    runtime = "pytorch"
    batch: int | None = None

    def __init__(self, program: Any, metadata: Mapping[str, str], *, threads: int, where: str) -> None:
        import torch

        torch.set_num_threads(threads)
        self._module = program.module(check_guards=False)
        self.threads = threads
        self.version = str(torch.__version__)
        self.metadata = metadata
        about = Description.of(metadata, where)
        self.classes, self.preprocessing, self.task = about.classes, about.preprocessing, about.task
        self.precision = about.precision
        self._names = about.outputs

    @classmethod
    def open(cls, path: str | Path, *, threads: int = 1) -> PyTorchSession:
        """Load a `.pt2` file. `threads` holds for all of PyTorch in this process.

        Raises:
            MisuseError: no such file.
            MissingExtraError: PyTorch is not installed.
            CheckpointError: not an archive that PyTorch and this project can read.
        """
        existing(path)
        program, metadata = load(path)
        return cls(program, metadata, threads=threads, where=str(path))

    def run(self, images: Images) -> Probabilities:
        """Class probabilities (n, classes, ...) of uint8 images (n, h, w, c); see `Session`."""
        return probabilities_of(self.outputs(images))

    def outputs(self, images: Images) -> Outputs:
        """What the file gives for uint8 images (n, h, w, c), by name."""
        import torch

        with torch.inference_mode():
            found = self._module(torch.from_numpy(images))
        values = found if isinstance(found, tuple) else (found,)
        return {name: value.numpy() for name, value in zip(self._names, values, strict=True)}


def load(path: str | Path) -> tuple[Any, dict[str, str]]:
    """The exported program and our metadata.

    Raises:
        MissingExtraError: PyTorch is not installed.
        CheckpointError: not such an archive.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "all", purpose=f"running {path}") from error
    _refuse_pickles(path)
    extra = {METADATA: ""}
    try:
        with quiet():
            program = torch.export.load(str(path), extra_files=extra)
        values = json.loads(extra[METADATA] or "{}")
    except Exception as error:  # whatever reading a damaged archive raises
        raise CheckpointError(f"{path}: PyTorch cannot load it: {first_line(error)}") from error
    return program, {str(key): str(value) for key, value in values.items()}


def _refuse_pickles(path: str | Path) -> None:
    """A pickle can run code when it is opened; weights and constants of our archives are plain bytes.

    Raises:
        CheckpointError: no zip archive, or one with pickles in it.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            configs = [json.loads(archive.read(name)) for name in names if name.endswith("_config.json")]
            samples = [archive.read(name) for name in names if name.endswith(".pt")]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: PyTorch cannot load it: {first_line(error)}") from error
    refusal = f"{path}: it holds pickles, which can run code when they are opened, so it is refused."
    if any(entry.get("use_pickle") for config in configs for entry in config.get("config", {}).values()):
        raise CheckpointError(refusal)
    try:
        for sample in samples:  # the example inputs: tensors, and nothing else
            torch.load(io.BytesIO(sample), weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(refusal) from error
