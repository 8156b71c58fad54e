"""Static int8 of a float ONNX file, without torch: ONNX Runtime's quantizer on our graphs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError, UnknownNameError
from mobilenets.onnx.calibration import Ranges, calibrate
from mobilenets.onnx.weights import chains_of
from mobilenets.outputs import BOXES, PROBABILITIES, SCORES
from mobilenets.precision import Scheme
from mobilenets.table import json as table_json
from mobilenets.table.folding import folded_into
from mobilenets.table.lower import lower
from mobilenets.table.nodes import INPUT, Convolution, Node, Resize, outputs

OPERATORS = (
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "Mul",
    "Relu",
    "Clip",
    "GlobalAveragePool",
    "AveragePool",
    "MaxPool",
    "Concat",
    "Reshape",
    "Transpose",
    "Flatten",
    "Split",
    "Gather",
)
"""What is quantized: what ONNX Runtime has int8 kernels for. h-swish and gates compute in float between int8 values."""

PREPROCESSING = ("preprocess.transpose", "preprocess.cast", "preprocess.scale", INPUT)


def quantize_onnx(model: bytes, images: NDArray[np.uint8], scheme: Scheme | None = None) -> bytes:
    """A float file of ours as int8 (QDQ): uint8 activations, which are fast on x86, and int8 weights.

    Scaling of the pixels, softmax and sigmoid stay in float, and so do the logits: in 256 steps they would tie. So do a
    detector's codes and what follows (see `float_ends`).
    Everything else of the contract (input, output, free batch, metadata) is as in the float file; `precision` in the
    metadata becomes int8. Values keep their nodes' addresses, except that of a convolution whose ReLU or ReLU6 is
    nothing but the range of its int8 output. A value in 16 bits (`scheme.wide`) is computed in float between 16-bit
    values, as ONNX Runtime has no such kernels: accurate, not fast.

    One image is enough to time a network, whose speed does not depend on ranges: about 0.7 s for V3-Small at 224.

    Args:
        model: a serialized float file that `to_onnx` made.
        images: uint8 (n, h, w, c) of the file's resolution, to take ranges from; a hundred are plenty.
        scheme: see `Scheme`; the default where None.

    Raises:
        MisuseError: no images, images of another shape, or a file that is int8 already.
        UnknownNameError: `keep_float` or `wide` names a node that the network does not have.
    """
    import onnx

    proto = onnx.load_from_string(model)
    _check(proto, images)
    scheme = scheme or Scheme()
    check_addresses(scheme, addresses_of(proto))
    return with_ranges(proto, calibrate(proto, images, scheme.calibration), scheme)


def with_ranges(proto: Any, ranges: Ranges, scheme: Scheme, *, only: str | None = None) -> bytes:
    """A float file as int8, its ranges known.

    Args:
        proto: an `onnx.ModelProto` that `to_onnx` made; it stays as it is.
        ranges: of every value, as `calibrate` gives them.
        scheme: see `Scheme`.
        only: address of the one node that is quantized, with the activation that becomes part of it; None for all.
    """
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData

    import onnx

    written = addresses_of(proto)
    last, behind = float_ends(nodes_of(proto))
    wide = _outputs(proto, (written[address] for address in scheme.wide))
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(proto),
        scheme.per_channel,
        False,  # no 7-bit weights: uint8 times int8 overflows on no ARM, nor on x86 as `raw_session` runs it
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, _as_arrays(ranges)),
        [] if only is None else _outputs(proto, [written[only]]),
        _excluded(proto, {written[address] for address in scheme.keep_float} | scheme.keep_float | behind),
        list(OPERATORS),
        {
            "OpTypesToExcludeOutputQuantization": ["Gemm"],
            "MatMulConstBOnly": True,  # products of two activations, attention, stay in float
            "TensorQuantOverrides": {name: [{"quant_type": QuantType.QUInt16}] for name in wide},
            "UseQDQContribOps": bool(wide),  # the standard's are 8-bit below opset 21
        },
    )
    made = quantizer.quantize_model()
    quantizer.model.topological_sort()
    _in_float(made, last)
    _protect(made, {written[address] for address in scheme.keep_float})
    made.producer_name, made.producer_version = proto.producer_name, proto.producer_version
    added = {"precision": "int8", "quantization": json.dumps(described(scheme))}
    onnx.helper.set_model_props(made, {entry.key: entry.value for entry in proto.metadata_props} | added)
    data: bytes = made.SerializeToString()
    return data


def addresses_of(proto: Any) -> dict[str, str]:
    """The nodes of a file's table, each with the name of the value that holds its result: see `written_as`."""
    return written_as(nodes_of(proto))


def nodes_of(proto: Any) -> tuple[Node, ...]:
    """The nodes of a file's table."""
    (table,) = (entry.value for entry in proto.metadata_props if entry.key == "table")
    return lower(table_json.from_dict(json.loads(table)))


def float_ends(nodes: Sequence[Node]) -> tuple[frozenset[str], frozenset[str]]:
    """What int8 leaves in float at the end of a detector or segmenter: its last convolutions' values, and what follows.

    Box codes in 256 steps would move boxes by percents of their sides, and logits would tie; rearranging, joining and
    resizing them is cheap.

    Returns:
        Addresses of the last convolutions, and of all nodes behind them; none of either for a classifier.
    """
    ends = outputs(nodes)
    if len(ends) == 1 and not isinstance(ends[0], Resize):
        return frozenset(), frozenset()
    named = {node.name: node for node in nodes}
    last, behind, waiting = set(), set(), list(ends)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Convolution):
            last.add(node.name)
        else:
            behind.add(node.name)
            read = node.inputs[:1] if isinstance(node, Resize) else node.inputs
            waiting += [named[name] for name in read]
    return frozenset(last), frozenset(behind)


def described(scheme: Scheme) -> dict[str, Any]:
    """Plain JSON values of a scheme."""
    return {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(scheme).items()}


def written_as(nodes: Sequence[Node]) -> dict[str, str]:
    """Each node's address with the name of the value that holds its result in a file: the norm's where one folds."""
    last = {into: chain[-1].name for into, chain in chains_of(nodes).items()}
    folded = folded_into(nodes)
    return {node.name: last.get(folded.get(node.name, node.name), node.name) for node in nodes}


def check_addresses(scheme: Scheme, known: Iterable[str]) -> None:
    """Whether a scheme names only nodes of a network.

    Raises:
        UnknownNameError: it does not.
    """
    names = set(known)
    for address in sorted((scheme.keep_float | scheme.wide) - names):
        raise UnknownNameError("node", address, names, hint="`mobilenets show NETWORK` lists all.")


def check_images(images: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    """Whether images can calibrate a model that takes (height, width, channels) of `shape`.

    Raises:
        MisuseError: none, or of another shape or type.
    """
    if len(images) == 0:
        raise MisuseError("int8 needs calibration images, to know the range of every value: give at least one.")
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise MisuseError(
            f"calibration images must be uint8 n h w c with h w c = {'x'.join(map(str, shape))}, got {images.dtype} "
            f"{'x'.join(map(str, images.shape))}."
        )


def _check(proto: Any, images: NDArray[np.uint8]) -> None:
    if any(node.op_type == "DequantizeLinear" for node in proto.graph.node):
        raise MisuseError("the model is int8 already: quantize the float checkpoint that it was made from.")
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    check_images(images, tuple(dim.dim_value for dim in dims[1:]))


def _as_arrays(ranges: Ranges) -> dict[str, tuple[Any, Any]]:
    return {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()}


def _excluded(proto: Any, kept: Iterable[str]) -> list[str]:
    """Names of the file's nodes that stay in float: those asked for with all their parts, scaling, and the last."""
    roots = tuple(f"{address}." for address in kept)
    named = {*kept, *PREPROCESSING, PROBABILITIES, BOXES, SCORES}
    return [node.name for node in proto.graph.node if node.name in named or node.name.startswith(roots)]


def _in_float(made: Any, values: Iterable[str]) -> None:
    """Take the rounding off values: whoever reads them reads what was computed."""
    wanted = set(values)
    rounding = {node.output[0]: node for node in made.graph.node if node.op_type == "QuantizeLinear"}
    given = {n.output[0]: n for n in made.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in rounding}
    back = {name: rounding[node.input[0]].input[0] for name, node in given.items()}
    plain = {name: source for name, source in back.items() if source in wanted}
    for node in made.graph.node:
        node.input[:] = [plain.get(name, name) for name in node.input]
    for name in plain:
        made.graph.node.remove(rounding[given[name].input[0]])
        made.graph.node.remove(given[name])


def _protect(made: Any, kept: set[str]) -> None:
    """Keep ONNX Runtime from quantizing at load time what was left in float.

    Its optimizer gives a float weight between int8 values one scale for all channels (`WeightBiasQuantization`), which
    made V1 0.25 worse than without any float layer: 27.6 % right instead of 53.8 %. It looks for a layer that reads an
    int8 value; a clip at the largest float32 in between, which changes nothing, hides it.
    """
    from onnx import helper, numpy_helper

    dequantized = {node.output[0] for node in made.graph.node if node.op_type == "DequantizeLinear"}
    ends = ("float.min", -np.finfo(np.float32).max), ("float.max", np.finfo(np.float32).max)
    nodes = []
    for node in made.graph.node:
        if node.op_type in ("Conv", "Gemm") and node.name in kept and node.input[0] in dequantized:
            hidden = f"{node.name}.float_input"
            nodes.append(helper.make_node("Clip", [node.input[0], *(name for name, _ in ends)], [hidden], name=hidden))
            node.input[0] = hidden
        nodes.append(node)
    if len(nodes) > len(made.graph.node):
        made.graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in ends)
        copied = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del made.graph.node[:]
        made.graph.node.extend(copied)


def _outputs(proto: Any, values: Iterable[str]) -> list[str]:
    """Values, each with that of the ReLU or ReLU6 which becomes part of its convolution."""
    wanted = set(values)
    after: Mapping[str, str] = {node.input[0]: node.output[0] for node in proto.graph.node if node.op_type in _FOLDING}
    return sorted(wanted | {after[name] for name in wanted if name in after})


_FOLDING = ("Relu", "Clip")
