"""ONNX: any number of images at once.

fp16 halves the file, not the arithmetic: weights are stored in 16 bits behind a Cast, which ONNX Runtime folds away
when it loads the file, so that it runs as fast as fp32. int8 is quantized by ONNX Runtime's own quantizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.exports.described import described
from mobilenets.exports.postprocess import Postprocess
from mobilenets.model import MobileNet, arrays
from mobilenets.onnx import to_onnx
from mobilenets.precision import Precision, Scheme
from mobilenets.runtime.session import Images
from mobilenets.table.rows import Network


def write(
    model: MobileNet, path: Path, *, precision: Precision, calibration: Images | None, scheme: Scheme,
    inside: Postprocess | None = None,
) -> None:  # fmt: skip
    """Write an `.onnx` file, with post-processing `inside` or raw."""
    data = serialized(model, precision, calibration, scheme)
    path.write_bytes(data if inside is None else ended(data, model.network, inside))


def ended(data: bytes, network: Network, inside: Postprocess) -> bytes:
    """The bytes of a raw file with post-processing behind it."""
    import onnx
    from mobilenets.exports.onnx_inside import add_postprocess

    proto = onnx.load_from_string(data)
    add_postprocess(proto, network, inside)
    made: bytes = proto.SerializeToString()
    return made


def serialized(
    model: MobileNet, precision: Precision = "fp32", calibration: Images | None = None, scheme: Scheme | None = None
) -> bytes:
    """The bytes of a raw `.onnx` file; what OpenVINO's files are made from, too."""
    proto = _proto(model, precision)
    if precision == "fp16":
        halve_weights(proto)
    data: bytes = proto.SerializeToString()
    if precision == "int8":
        from mobilenets.onnx.quantized import quantize_onnx

        assert calibration is not None
        return quantize_onnx(data, calibration, scheme or Scheme())
    return data


def _proto(model: MobileNet, precision: Precision) -> Any:
    info = model.info
    weights = arrays(model)
    extra = described(model, precision)
    return to_onnx(model.network, weights, info.preprocessing, info.classes, task=info.task, extra=extra)


def halve_weights(proto: Any) -> None:
    """Store kernels and matrices in 16 bits, each behind a Cast that gives the name its float32 values.

    Biases and constants stay: they are small. So does a tensor with values beyond 65504, which fp16 does not have.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for stored in proto.graph.initializer:
        if stored.data_type != TensorProto.FLOAT or not stored.name.endswith(".weight") or len(stored.dims) < 2:
            continue
        value = numpy_helper.to_array(stored)
        if np.abs(value).max(initial=0) > np.finfo(np.float16).max:
            continue
        name, half = stored.name, f"{stored.name}.fp16"
        stored.CopyFrom(numpy_helper.from_array(value.astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
