"""Nodes and weights to ONNX, without torch: a network in milliseconds, so that hundreds can be timed.

The file takes uint8 `n h w c` images named `image` and gives `probabilities` (n, classes): scaling, normalisation and
softmax are inside. Batch norm is folded. Value names are node names, so a value is found by its address.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from mobilenets.preprocessing import Preprocessing
from mobilenets.table import json as table_json
from mobilenets.table.lower import lower
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalPool,
    Multiply,
    Node,
    WindowPool,
)
from mobilenets.table.rows import Act, Network

OPSET = 17
IR_VERSION = 9
IMAGE, PROBABILITIES = "image", "probabilities"

Array = NDArray[Any]


@dataclass
class _Graph:
    """ONNX nodes and initializers so far. `alias` gives the value that stands for a folded node's output."""

    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    alias: dict[str, str] = field(default_factory=dict)

    def op(self, kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        named = [self.alias.get(name, name) for name in inputs]
        self.nodes.append(helper.make_node(kind, named, [output], name=output, **attributes))

    def constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def to_onnx(
    network: Network,
    weights: Mapping[str, Array],
    preprocessing: Preprocessing,
    classes: tuple[str, ...] = (),
    *,
    taps: bool = False,
    extra: Mapping[str, str] | None = None,
) -> Any:
    """An `onnx.ModelProto` of a network.

    Args:
        network: the table; its resolution must be the preprocessing's.
        weights: arrays by state-dict key (`row01.conv.conv.weight`), as the torch model names them.
        preprocessing: mean and std go into the graph; all of it goes into the metadata.
        classes: names of the outputs, for the metadata.
        taps: every value that a torch model has under the same name becomes an output too (to find a departure).
        extra: further metadata entries.

    Shapes:
        image: uint8 (n, h, w, c); probabilities: float32 (n, classes); n is free.
    """
    from onnx import TensorProto, helper

    nodes = lower(network)
    graph = _Graph()
    _normalise(graph, network, preprocessing)
    folded = _foldable(nodes)
    for node in nodes:
        _write(graph, node, nodes, folded, weights)
    logits = nodes[-1].name
    if len(nodes[-1].shape) > 1:
        graph.op("Flatten", [logits], "flat_logits")
        logits = "flat_logits"
    graph.op("Softmax", [logits], PROBABILITIES, axis=-1)
    size = network.resolution
    image = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["n", size, size, network.in_channels])
    outputs = [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["n", network.classes])]
    if taps:
        present = {name for proto in graph.nodes for name in proto.output}
        outputs += [
            helper.make_tensor_value_info(node.name, TensorProto.FLOAT, ["n", *node.shape])
            for node in nodes
            if node.name in present
        ]
    body = helper.make_graph(graph.nodes, network.name, [image], outputs, graph.initializers)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="mobilenets")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, _metadata(network, preprocessing, classes) | dict(extra or {}))
    return model


def random_weights(network: Network, seed: int = 0) -> dict[str, Array]:
    """Weights of the right shapes that keep activations in range, for timing a network that is not trained yet."""
    generator = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for node in lower(network):
        if isinstance(node, Convolution):
            fan_in = node.in_channels // node.groups * node.kernel**2
            shape: tuple[int, ...] = (node.shape[0], node.in_channels // node.groups, node.kernel, node.kernel)
            bias = node.bias
        elif isinstance(node, FullyConnected):
            fan_in, shape, bias = node.in_features, (node.shape[0], node.in_features), True
        elif isinstance(node, BatchNorm):
            channels = node.shape[0]
            for key, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
                weights[f"{node.name}.{key}"] = np.full(channels, value, np.float32)
            continue
        else:
            continue
        values = generator.standard_normal(shape, dtype=np.float32)
        weights[f"{node.name}.weight"] = values * np.float32((2 / fan_in) ** 0.5)
        if bias:
            weights[f"{node.name}.bias"] = np.zeros(shape[0], np.float32)
    return weights


def _metadata(network: Network, preprocessing: Preprocessing, classes: tuple[str, ...]) -> dict[str, str]:
    return {
        "task": "classify",
        "network": network.name,
        "table": json.dumps(table_json.to_dict(network)),
        "classes": json.dumps(list(classes), ensure_ascii=False),
        "preprocessing": json.dumps(preprocessing.to_dict()),
    }


def _normalise(graph: _Graph, network: Network, preprocessing: Preprocessing) -> None:
    """uint8 n h w c to float n c h w: (pixel / 255 - mean) / std as one multiply and one add."""
    from onnx import TensorProto

    channels = network.in_channels
    std = np.resize(np.asarray(preprocessing.std, np.float64), channels)
    mean = np.resize(np.asarray(preprocessing.mean, np.float64), channels)
    factor = graph.constant("preprocess.factor", (1 / (255 * std)).astype(np.float32).reshape(1, -1, 1, 1))
    offset = graph.constant("preprocess.offset", (-mean / std).astype(np.float32).reshape(1, -1, 1, 1))
    graph.op("Transpose", [IMAGE], "preprocess.transpose", perm=[0, 3, 1, 2])
    graph.op("Cast", ["preprocess.transpose"], "preprocess.cast", to=TensorProto.FLOAT)
    graph.op("Mul", ["preprocess.cast", factor], "preprocess.scale")
    graph.op("Add", ["preprocess.scale", offset], INPUT)


def _foldable(nodes: tuple[Node, ...]) -> dict[str, BatchNorm]:
    """Convolution name -> the batch norm that is its only reader."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    folded: dict[str, BatchNorm] = {}
    for node in nodes:
        after = readers.get(node.name, [])
        if isinstance(node, Convolution) and len(after) == 1 and isinstance(after[0], BatchNorm):
            folded[node.name] = after[0]
    return folded


def _write(
    graph: _Graph,
    node: Node,
    nodes: tuple[Node, ...],
    folded: Mapping[str, BatchNorm],
    weights: Mapping[str, Array],
) -> None:
    match node:
        case Convolution():
            _convolution(graph, node, folded.get(node.name), weights)
        case BatchNorm():
            if node.name not in {norm.name for norm in folded.values()}:
                keys = ("weight", "bias", "running_mean", "running_var")
                params = [graph.constant(f"{node.name}.{key}", weights[f"{node.name}.{key}"]) for key in keys]
                graph.op("BatchNormalization", [*node.inputs, *params], node.name, epsilon=node.eps)
        case Activation():
            _activation(graph, node)
        case GlobalPool():
            graph.op("GlobalAveragePool", node.inputs, node.name)
        case WindowPool():
            kind = "MaxPool" if node.mode == "max" else "AveragePool"
            size, step = [node.kernel] * 2, [node.stride] * 2
            attributes = {"kernel_shape": size, "strides": step, "pads": list(node.pads), "ceil_mode": int(node.ceil)}
            graph.op(kind, node.inputs, node.name, **attributes)
        case Flatten():
            graph.op("Flatten", node.inputs, node.name)
        case FullyConnected():
            weight = graph.constant(f"{node.name}.weight", weights[f"{node.name}.weight"])
            bias = graph.constant(f"{node.name}.bias", weights[f"{node.name}.bias"])
            graph.op("Gemm", [*node.inputs, weight, bias], node.name, transB=1)
        case Multiply():
            graph.op("Mul", node.inputs, node.name)
        case Add():
            graph.op("Add", node.inputs, node.name)
        case Concat():
            graph.op("Concat", node.inputs, node.name, axis=1)
        case _:
            assert_never(node)


def _convolution(graph: _Graph, node: Convolution, norm: BatchNorm | None, weights: Mapping[str, Array]) -> None:
    """A convolution; with `norm` folded in its output carries the batch norm's name."""
    weight = weights[f"{node.name}.weight"]
    bias = weights[f"{node.name}.bias"] if node.bias else np.zeros(node.shape[0], np.float32)
    output = node.name
    if norm is not None:
        weight, bias = fold(weight, bias, {k: weights[f"{norm.name}.{k}"] for k in _NORM_KEYS}, norm.eps)
        output = norm.name
    inputs = [*node.inputs, graph.constant(f"{node.name}.weight", weight)]
    if norm is not None or node.bias:
        inputs.append(graph.constant(f"{node.name}.bias", bias))
    graph.op(
        "Conv",
        inputs,
        output,
        kernel_shape=[node.kernel] * 2,
        strides=[node.stride] * 2,
        pads=list(node.pads),
        dilations=[node.dilation] * 2,
        group=node.groups,
    )


_NORM_KEYS = ("weight", "bias", "running_mean", "running_var")


def fold(weight: Array, bias: Array, norm: Mapping[str, Array], eps: float) -> tuple[Array, Array]:
    """Batch norm folded into the convolution before it: w' = w s, b' = (b - mean) s + beta.

    s = gamma / sqrt(var + eps). Computed in float64, returned as float32.
    """
    scale = norm["weight"].astype(np.float64) / np.sqrt(norm["running_var"].astype(np.float64) + eps)
    folded_bias = (bias - norm["running_mean"].astype(np.float64)) * scale + norm["bias"]
    return (weight * scale.reshape(-1, 1, 1, 1)).astype(np.float32), folded_bias.astype(np.float32)


def _activation(graph: _Graph, node: Activation) -> None:
    match node.function:
        case Act.RELU:
            graph.op("Relu", node.inputs, node.name)
        case Act.RELU6:
            low = graph.constant(f"{node.name}.min", np.array(0, np.float32))
            high = graph.constant(f"{node.name}.max", np.array(6, np.float32))
            graph.op("Clip", [*node.inputs, low, high], node.name)
        case Act.HSWISH:
            graph.op("HardSwish", node.inputs, node.name)
        case Act.HSIGMOID:
            graph.op("HardSigmoid", node.inputs, node.name, alpha=1 / 6, beta=0.5)
        case Act.SIGMOID:
            graph.op("Sigmoid", node.inputs, node.name)
        case Act.NONE:
            graph.op("Identity", node.inputs, node.name)
        case _:
            assert_never(node.function)
