"""ONNX Runtime on the processor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.metrics import Task
from mobilenets.preprocessing import Preprocessing


def raw_session(model: str | bytes, *, threads: int = 1, profile: str | None = None) -> Any:
    """An `onnxruntime.InferenceSession`: sequential, `threads` inside an operator, one between them.

    `profile` is a file prefix: the session then records the time of every kernel.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxRuntimeSession:
    """A `Session` on ONNX Runtime's CPU provider."""

    runtime = "onnxruntime"
    precision = "fp32"

    def __init__(self, session: Any, *, threads: int) -> None:
        import onnxruntime

        self._session = session
        self.threads = threads
        self.version = str(onnxruntime.__version__)
        self.metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        self.classes: tuple[str, ...] = tuple(json.loads(self.metadata["classes"]))
        self.preprocessing = Preprocessing.from_dict(json.loads(self.metadata["preprocessing"]))
        self.task: Task = "multi-label" if self.metadata.get("task") == "multi-label" else "classify"
        self.input_name: str = session.get_inputs()[0].name

    @classmethod
    def open(cls, model: str | Path | bytes, *, threads: int = 1) -> OnnxRuntimeSession:
        """Load a file, or a serialized model.

        Raises:
            MisuseError: no such file.
            CheckpointError: not a model that ONNX Runtime and this project can read.
        """
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise MisuseError(f"no such file: {model}.")
        try:
            session = raw_session(model if isinstance(model, bytes) else str(model), threads=threads)
        except Exception as error:  # onnxruntime raises a family of its own without a common root
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise CheckpointError(f"{_name(model)}: ONNX Runtime cannot load it: {first}") from error
        if session.get_inputs()[0].type != "tensor(uint8)":
            raise CheckpointError(
                f"{_name(model)}: expected an input of uint8 images `n h w c`, got {session.get_inputs()[0].type} "
                f"{session.get_inputs()[0].shape}. Export the checkpoint with `mobilenets export`."
            )
        try:
            return cls(session, threads=threads)
        except (KeyError, TypeError, ValueError, MisuseError) as error:
            raise CheckpointError(
                f"{_name(model)}: its metadata lacks readable `classes` and `preprocessing`, which `mobilenets export` "
                f"writes: {error}"
            ) from error

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities (n, classes) of uint8 images (n, h, w, c)."""
        probabilities: NDArray[np.float32] = self._session.run(None, {self.input_name: images})[0]
        return probabilities


def _name(model: str | Path | bytes) -> str:
    return "model" if isinstance(model, bytes) else str(model)
