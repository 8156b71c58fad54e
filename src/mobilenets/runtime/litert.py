"""LiteRT on the processor. Our metadata stands at the end of the `.tflite`, as a zip archive that anyone can read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

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

METADATA, LABELS = "mobilenets.json", "labels.txt"
"""Files in the archive: all metadata, texts by name; the class names, a line each."""


class LiteRtSession:
    """A `Session` on LiteRT with XNNPACK."""

    runtime = "litert"

    def __init__(self, interpreter: Any, metadata: Mapping[str, str], *, threads: int, where: str) -> None:
        self._interpreter = interpreter
        self.threads = threads
        self.version = _version()
        self.metadata = metadata
        about = Description.of(metadata, where)
        self.classes, self.preprocessing, self.task = about.classes, about.preprocessing, about.task
        self.precision = about.precision
        self._names = about.outputs
        source = interpreter.get_input_details()[0]
        self._input: int = source["index"]
        self._outputs = _places(interpreter, about.outputs)
        self.batch: int | None = int(source["shape"][0])

    @classmethod
    def open(cls, path: str | Path, *, threads: int = 1) -> LiteRtSession:
        """Load a `.tflite` file.

        Raises:
            MisuseError: no such file.
            MissingExtraError: LiteRT is not installed.
            CheckpointError: not a model that LiteRT and this project can read.
        """
        existing(path)
        interpreter = interpreter_of(path, threads=threads)
        source = interpreter.get_input_details()[0]
        if source["dtype"] is not np.uint8 or len(source["shape"]) != 4:
            raise CheckpointError(
                f"{path}: expected an input of uint8 images `n h w c`, got {np.dtype(source['dtype']).name} "
                f"{source['shape'].tolist()}. Export the checkpoint with `mobilenets export`."
            )
        return cls(interpreter, metadata_of(path), threads=threads, where=str(path))

    def run(self, images: Images) -> Probabilities:
        """Class probabilities (n, classes, ...) of uint8 images (n, h, w, c); see `Session`."""
        return probabilities_of(self.outputs(images))

    def outputs(self, images: Images) -> Outputs:
        """What the file gives for uint8 images (n, h, w, c), by name."""
        return in_batches(self._run, images, self.batch or 1)

    def _run(self, images: Images) -> Outputs:
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(place) for name, place in self._outputs.items()}


def _places(interpreter: Any, names: tuple[str, ...]) -> dict[str, int]:
    """Where each output lies: by the signature's names; a file with one output needs none."""
    found = interpreter.get_output_details()
    if len(names) == 1:
        return {names[0]: int(found[0]["index"])}
    named = interpreter.get_signature_runner().get_output_details()
    return {name: int(named[name]["index"]) for name in names}


def interpreter_of(path: str | Path, *, threads: int = 1, keep_all: bool = False) -> Any:
    """An interpreter with its memory allocated; with `keep_all` every value can be read after a run.

    Raises:
        MissingExtraError: LiteRT is not installed.
        CheckpointError: a file that it cannot read.
    """
    try:
        with quiet():
            from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "litert", purpose=f"running {path}") from error
    try:
        with quiet():
            interpreter = Interpreter(str(path), num_threads=threads, experimental_preserve_all_tensors=keep_all)
            interpreter.allocate_tensors()
            return interpreter
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: LiteRT cannot load it: {first_line(error)}") from error


def metadata_of(path: str | Path) -> dict[str, str]:
    """What stands in the archive at the end of the file; empty where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            values = json.loads(archive.read(METADATA))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        return {}
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ai-edge-litert")
    except PackageNotFoundError:
        return "unknown"
