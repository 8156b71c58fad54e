"""OpenVINO IR: `.xml` with `.bin` beside it, made from our ONNX graph.

fp16 halves the file: weights are stored in 16 bits and computed in fp32 unless the runtime is asked for less. int8 is
quantized by NNCF. fp32 and fp16 take any number of images at once, int8 one: OpenVINO 2026.4 crashes on quantized
graphs whose number of images is free.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mobilenets.errors import MissingExtraError
from mobilenets.exports.described import described
from mobilenets.exports.onnx_ import ended, serialized
from mobilenets.exports.postprocess import Postprocess
from mobilenets.exports.postprocess import described as ending
from mobilenets.model import MobileNet
from mobilenets.onnx.quantized import float_ends
from mobilenets.precision import Precision, Scheme
from mobilenets.runtime.openvino import SECTION, read_model
from mobilenets.runtime.quiet import quiet
from mobilenets.runtime.session import Images
from mobilenets.table.lower import lower


def write(
    model: MobileNet, path: Path, *, precision: Precision, calibration: Images | None, scheme: Scheme,
    inside: Postprocess | None = None,
) -> None:  # fmt: skip
    """Write an `.xml` and a `.bin` file, with post-processing `inside` or raw.

    Raises:
        MissingExtraError: OpenVINO (or NNCF, for int8) is not installed.
    """
    try:
        with quiet():
            import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino", purpose="writing OpenVINO IR") from error
    graph = _converted(model, inside)
    if precision == "int8":
        from mobilenets.quantization.openvino_nncf import quantize_openvino

        assert calibration is not None
        with quiet():
            graph = quantize_openvino(graph, calibration, scheme, behind=float_ends(lower(model.network))[1])
            shape = graph.input(0).get_partial_shape()
            shape[0] = 1
            graph.reshape(shape)
    said = described(model, precision) | ({} if inside is None else ending(model.network, inside))
    for key, value in said.items():
        graph.set_rt_info(value, [SECTION, key])
    with quiet():
        openvino.save_model(graph, str(path), compress_to_fp16=precision == "fp16")


def _converted(model: MobileNet, inside: Postprocess | None) -> Any:
    """The network as an `openvino.Model`; height and width are fixed, the number of images is free."""
    with tempfile.TemporaryDirectory() as folder:
        twin = Path(folder) / "model.onnx"
        data = serialized(model)
        twin.write_bytes(data if inside is None else ended(data, model.network, inside))
        return read_model(twin)
