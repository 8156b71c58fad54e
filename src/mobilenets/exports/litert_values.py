"""A `.tflite` opened up: its operators in order beside the network's nodes, for finding departures and counting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.errors import MissingExtraError
from mobilenets.model import MobileNet
from mobilenets.onnx.weights import Array
from mobilenets.runtime.litert import interpreter_of
from mobilenets.runtime.quiet import quiet
from mobilenets.runtime.session import Images
from mobilenets.table.nodes import Convolution, FullyConnected

KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def graph_of(path: Path) -> tuple[Any, list[str]]:
    """The main graph of a file, and the name of each of its operators.

    Raises:
        MissingExtraError: LiteRT is not installed.
    """
    try:
        with quiet():
            from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "litert", purpose=f"reading {path}") from error
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    graph = model.subgraphs[0]
    return graph, [codes[operator.opcodeIndex] for operator in graph.operators]


def kernels_of(model: MobileNet, graph: Any, names: list[str]) -> list[tuple[str, Any]] | None:
    """(node's address, operator) of each convolution and matrix product, matched by their order; None where the
    numbers of output channels say that the order is another.
    """
    nodes = [node for node in model.nodes if isinstance(node, Convolution | FullyConnected)]
    operators = [operator for operator, name in zip(graph.operators, names, strict=True) if name in KERNELS]
    if len(nodes) != len(operators):
        return None
    for node, operator in zip(nodes, operators, strict=True):
        if int(graph.tensors[operator.outputs[0]].shape[-1]) != node.shape[0 if len(node.shape) != 2 else -1]:
            return None
    return [(node.name, operator) for node, operator in zip(nodes, operators, strict=True)]


def values_of(model: MobileNet, path: Path, image: Images) -> dict[str, Array] | None:
    """What each convolution and matrix product of the file gives for one image, n c h w, by node; None where operators
    and nodes cannot be matched.
    """
    graph, names = graph_of(path)
    matched = kernels_of(model, graph, names)
    if matched is None:
        return None
    with quiet():
        interpreter = interpreter_of(path, keep_all=True)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    found = {}
    for name, operator in matched:
        index = int(operator.outputs[0])
        value = _dequantized(interpreter.get_tensor(index), details[index]["quantization"])
        found[name] = np.moveaxis(value, -1, 1) if value.ndim == 4 else value
    return found


def _dequantized(value: Array, scale_and_zero: tuple[float, int]) -> Array:
    scale, zero = scale_and_zero
    return value.astype(np.float32) if scale == 0 else (value.astype(np.float32) - zero) * np.float32(scale)
