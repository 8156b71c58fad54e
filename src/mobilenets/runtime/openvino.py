"""OpenVINO on the processor: its own `.xml` and `.bin`, and ONNX.

Left to itself it computes in bf16 where the processor can, which changes probabilities by up to some percent; so the
precision is always set, fp32 unless bf16 was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilenets.errors import CheckpointError, MissingExtraError, UnknownNameError
from mobilenets.outputs import Outputs
from mobilenets.runtime.quiet import quiet
from mobilenets.runtime.session import (
    ARITHMETICS,
    Description,
    Images,
    Probabilities,
    existing,
    first_line,
    in_batches,
    probabilities_of,
)

SECTION = "mobilenets"
"""Of an IR's `rt_info`, where our metadata stands; `framework` has that of an ONNX file."""


class OpenVinoSession:
    """A `Session` on OpenVINO's CPU plugin."""

    runtime = "openvino"
    batch: int | None

    def __init__(self, model: Any, *, threads: int, precision: str, where: str) -> None:
        import openvino

        self._core, self._model = openvino.Core(), model
        self._precision = precision
        self.threads = threads
        self.version = str(openvino.__version__).partition("-")[0]
        self.metadata: Mapping[str, str] = metadata_of(model)
        about = Description.of(self.metadata, where)
        self.classes, self.preprocessing, self.task = about.classes, about.preprocessing, about.task
        self._names = about.outputs
        self.precision = about.precision if precision == "fp32" else _with_bf16(about.precision)
        self.batch = 1 if model.input(0).get_partial_shape()[0].is_static else None
        self._requests: dict[int | None, Any] = {}

    @classmethod
    def open(cls, path: str | Path, *, threads: int = 1, precision: str | None = None) -> OpenVinoSession:
        """Load an IR (`.xml`, with its `.bin` beside it) or an ONNX file.

        Raises:
            MisuseError: no such file, or arithmetic that is not known.
            MissingExtraError: OpenVINO is not installed.
            CheckpointError: not a model that OpenVINO and this project can read.
        """
        chosen = precision or "fp32"
        if chosen not in ARITHMETICS:
            raise UnknownNameError("precision", chosen, ARITHMETICS, hint=f"Known: {', '.join(ARITHMETICS)}.")
        existing(path)
        model = read_model(path)
        if len(model.inputs) != 1 or model.input(0).get_element_type().get_type_name() != "u8":
            raise CheckpointError(
                f"{path}: expected an input of uint8 images `n h w c`, got {model.inputs}. Export the checkpoint with "
                "`mobilenets export`."
            )
        session = cls(model, threads=threads, precision=chosen, where=str(path))
        try:
            session.compiled(1)
        except RuntimeError as error:
            raise CheckpointError(f"{path}: OpenVINO cannot compile it: {first_line(error)}") from error
        return session

    def compiled(self, images: int | None = None) -> Any:
        """The compiled model for one image (its shapes are fixed, which runs faster), or for any number of them."""
        model = self._model
        if images is not None:
            model = model.clone()
            shape = model.input(0).get_partial_shape()
            shape[0] = images
            model.reshape(shape)
        hint = {"fp32": "f32", "bf16": "bf16"}[self._precision]
        options = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            # pinned, two programs would share one core and leave the others idle
            "ENABLE_CPU_PINNING": False,
        }
        return self._core.compile_model(model, "CPU", options)

    def run(self, images: Images) -> Probabilities:
        """Class probabilities (n, classes, ...) of uint8 images (n, h, w, c); see `Session`."""
        return probabilities_of(self.outputs(images))

    def outputs(self, images: Images) -> Outputs:
        """What the file gives for uint8 images (n, h, w, c), by name."""
        # quantized graphs whose number of images is free crash OpenVINO 2026.4
        if len(images) > 1 and (self.batch == 1 or self.precision.startswith("int8")):
            return in_batches(self._run, images, 1)
        return self._run(images)

    def _run(self, images: Images) -> Outputs:
        fixed = 1 if len(images) == 1 else None
        if fixed not in self._requests:
            self._requests[fixed] = self.compiled(fixed).create_infer_request()
        result = self._requests[fixed].infer([images])
        return {name: result[name].copy() for name in self._names}


def read_model(path: str | Path) -> Any:
    """An `openvino.Model` of an IR or of an ONNX file.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        CheckpointError: a file that it cannot read.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino", purpose=f"opening {path} in OpenVINO") from error
    try:
        with quiet():
            if Path(path).suffix.lower() == ".onnx":
                # `Core.read_model` leaves quantized graphs as they are, which runs them at half the speed
                return openvino.convert_model(str(path))
            return openvino.Core().read_model(str(path))
    except Exception as error:  # the frontends raise errors of their own
        raise CheckpointError(f"{path}: OpenVINO cannot read it: {first_line(error)}") from error


def metadata_of(model: Any) -> dict[str, str]:
    """Our metadata, from an IR or from an ONNX file; empty where there is none."""
    for section in (SECTION, "framework"):
        if model.has_rt_info([section, "classes"]):
            entries = model.get_rt_info([section]).value
            return {str(key): str(getattr(value, "value", value)) for key, value in entries.items()}
    return {}


def _with_bf16(precision: str) -> str:
    return "bf16" if precision == "fp32" else f"{precision}+bf16"
