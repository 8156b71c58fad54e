"""ONNX Runtime on the processor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.outputs import Outputs
from mobilenets.runtime.session import (
    Description,
    Images,
    Probabilities,
    existing,
    first_line,
    in_batches,
    probabilities_of,
)


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
    # Without it, an x86 processor that has no VNNI adds pairs of int8 products in 16 bits, which overflow: a file then
    # answers otherwise there than everywhere else. Nothing changes where there is VNNI, nor on ARM.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxRuntimeSession:
    """A `Session` on ONNX Runtime's CPU provider."""

    runtime = "onnxruntime"
    batch: int | None

    def __init__(self, session: Any, *, threads: int, where: str, more: tuple[str, ...] = ()) -> None:
        import onnxruntime

        self._session = session
        self.threads = threads
        self.version = str(onnxruntime.__version__)
        self.metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        about = Description.of(self.metadata, where)
        self.classes, self.preprocessing, self.task = about.classes, about.preprocessing, about.task
        self.precision = about.precision
        self._names = tuple(dict.fromkeys((*about.outputs, *more)))
        self.input_name: str = session.get_inputs()[0].name
        first = session.get_inputs()[0].shape[0]
        self.batch = first if isinstance(first, int) else None

    @classmethod
    def open(cls, model: str | Path | bytes, *, threads: int = 1, more: tuple[str, ...] = ()) -> OnnxRuntimeSession:
        """Load a file, or a serialized model; `more` are outputs that it has besides those of every such file.

        Raises:
            MisuseError: no such file.
            CheckpointError: not a model that ONNX Runtime and this project can read.
        """
        where = "model" if isinstance(model, bytes) else str(existing(model))
        try:
            session = raw_session(model if isinstance(model, bytes) else str(model), threads=threads)
        except ImportError as error:
            raise MisuseError(f"running {where} needs onnxruntime: pip install onnxruntime") from error
        except Exception as error:  # onnxruntime raises a family of its own without a common root
            raise CheckpointError(f"{where}: ONNX Runtime cannot load it: {first_line(error)}") from error
        if session.get_inputs()[0].type != "tensor(uint8)":
            raise CheckpointError(
                f"{where}: expected an input of uint8 images `n h w c`, got {session.get_inputs()[0].type} "
                f"{session.get_inputs()[0].shape}. Export the checkpoint with `mobilenets export`."
            )
        return cls(session, threads=threads, where=where, more=more)

    def run(self, images: Images) -> Probabilities:
        """Class probabilities (n, classes, ...) of uint8 images (n, h, w, c); see `Session`."""
        return probabilities_of(self.outputs(images))

    def outputs(self, images: Images) -> Outputs:
        """What the file gives for uint8 images (n, h, w, c), by name."""
        if self.batch is not None and len(images) != self.batch:
            return in_batches(self._run, images, self.batch)
        return self._run(images)

    def _run(self, images: Images) -> Outputs:
        names = list(self._names)
        return dict(zip(names, self._session.run(names, {self.input_name: images}), strict=True))
