"""Nodes and weights to ONNX, without torch: a network in milliseconds, so that hundreds can be timed.

The file takes uint8 `n h w c` images named `image` and gives `probabilities`: (n, classes), or (n, classes, h, w) where
it segments. A detector gives `boxes` (n, anchors, 4), encoded relative to their anchors, and `scores` (n, anchors,
classes). Scaling, normalisation and softmax (or sigmoids) are inside. Batch norm is folded. Value names are node names,
so a value is found by its address.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np

from mobilenets.metrics import Task
from mobilenets.onnx.weights import NORM_KEYS, Array, chains_of, deployed_weight
from mobilenets.outputs import BOXES, PROBABILITIES, SCORES, output_names
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import json as table_json
from mobilenets.table.folding import folded_into
from mobilenets.table.lower import lower
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Convolution,
    DynamicRelu,
    Flatten,
    FullyConnected,
    GlobalPool,
    LayerNorm,
    MatrixProduct,
    MergeHeads,
    Multiply,
    Node,
    Parameter,
    PerAnchor,
    Resize,
    Scale,
    Select,
    Shape,
    Shuffle,
    Softmax,
    SplitHeads,
    WindowPool,
    outputs,
)
from mobilenets.table.rows import Act, Network

OPSET = 17
IR_VERSION = 9
IMAGE = "image"
SOFTMAX = "softmax"
"""Names of a segmenter's last steps begin with it, up to its probabilities."""


@dataclass
class _Graph:
    """ONNX nodes and initializers so far. `alias` gives the constant that stands for a learned value."""

    shapes: Mapping[str, Shape]
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    alias: dict[str, str] = field(default_factory=dict)

    def op(self, kind: str, inputs: Iterable[str], output: str | list[str], **attributes: Any) -> None:
        from onnx import helper

        named = [self.alias.get(name, name) for name in inputs]
        outputs = output if isinstance(output, list) else [output]
        self.nodes.append(helper.make_node(kind, named, outputs, name=outputs[0], **attributes))

    def reshape(self, source: str, shape: Shape, owner: str, *, last: bool = False) -> str:
        """A value in another shape (without the batch); it is the owner's output where it is its `last` step."""
        output = owner if last else f"{owner}.reshape"
        self.op("Reshape", [source, self.constant(f"{output}.shape", np.array((0, *shape), np.int64))], output)
        return output

    def constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name


def to_onnx(
    network: Network,
    weights: Mapping[str, Array],
    preprocessing: Preprocessing,
    classes: tuple[str, ...] = (),
    *,
    task: Task = "classify",
    taps: bool = False,
    extra: Mapping[str, str] | None = None,
) -> Any:
    """An `onnx.ModelProto` of a network.

    Args:
        network: the table; its resolution must be the preprocessing's.
        weights: arrays by state-dict key (`row01.conv.conv.weight`), as the torch model names them.
        preprocessing: mean and std go into the graph; all of it goes into the metadata.
        classes: names of the outputs, for the metadata.
        task: of a classifier: softmax where an image has one class, a sigmoid for each where it may have several.
        taps: every value that a torch model has under the same name becomes an output too (to find a departure).
        extra: further metadata entries.

    Shapes:
        image: uint8 (n, h, w, c); outputs as the module says, float32; n is free.
    """
    from onnx import TensorProto, helper

    nodes = lower(network)
    graph = _Graph(shapes={node.name: node.shape for node in nodes} | {INPUT: (network.in_channels, 0, 0)})
    _normalise(graph, network, preprocessing)
    folded = folded_into(nodes)
    chains = chains_of(nodes)
    for node in nodes:
        if node.name not in folded:
            _write(graph, node, chains.get(node.name, ()), weights)
    task = task if network.task == "classify" else network.task
    answers = _answer(graph, outputs(nodes), task, network.classes)
    size = network.resolution
    image = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["n", size, size, network.in_channels])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in answers.items()]
    if taps:
        present = {name for proto in graph.nodes for name in proto.output}
        values += [
            helper.make_tensor_value_info(node.name, TensorProto.FLOAT, ["n", *node.shape])
            for node in nodes
            if node.name in present
        ]
    body = helper.make_graph(graph.nodes, network.name, [image], values, graph.initializers)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="mobilenets")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, metadata(network, preprocessing, classes, task) | dict(extra or {}))
    return model


def metadata(network: Network, preprocessing: Preprocessing, classes: tuple[str, ...], task: Task) -> dict[str, str]:
    """What every exported file says of itself, as texts by name; structures as JSON."""
    return {
        "task": task,
        "network": network.name,
        "table": json.dumps(table_json.to_dict(network)),
        "classes": json.dumps(list(classes), ensure_ascii=False),
        "preprocessing": json.dumps(preprocessing.to_dict()),
        "outputs": json.dumps(output_names(task)),
    } | ({"postprocess": "outside"} if task in ("detect", "segment") else {})


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


def _write(  # noqa: PLR0915 - one case a type
    graph: _Graph,
    node: Node,
    chain: tuple[BatchNorm | Scale, ...],
    weights: Mapping[str, Array],
) -> None:
    match node:
        case Convolution():
            _convolution(graph, node, chain, weights)
        case FullyConnected():
            _fully_connected(graph, node, chain, weights)
        case BatchNorm():
            params = [graph.constant(f"{node.name}.{key}", weights[f"{node.name}.{key}"]) for key in NORM_KEYS]
            graph.op("BatchNormalization", [*node.inputs, *params], node.name, epsilon=node.eps)
        case Scale():
            factor = graph.constant(f"{node.name}.weight", weights[f"{node.name}.weight"].reshape(1, -1, 1, 1))
            graph.op("Mul", [*node.inputs, factor], node.name)
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
        case Multiply():
            graph.op("Mul", node.inputs, node.name)
        case Add():
            graph.op("Add" if len(node.inputs) == 2 else "Sum", node.inputs, node.name)
        case Concat():
            graph.op("Concat", node.inputs, node.name, axis=1)
        case Shuffle():
            channels, height, width = node.shape
            split = graph.reshape(node.inputs[0], (node.groups, channels // node.groups, height, width), node.name)
            graph.op("Transpose", [split], f"{node.name}.transpose", perm=[0, 2, 1, 3, 4])
            graph.reshape(f"{node.name}.transpose", node.shape, node.name, last=True)
        case DynamicRelu():
            _dynamic_relu(graph, node)
        case Parameter():
            graph.alias[node.name] = graph.constant(f"{node.name}.weight", weights[f"{node.name}.weight"][None])
        case LayerNorm():
            params = [graph.constant(f"{node.name}.{key}", weights[f"{node.name}.{key}"]) for key in NORM_KEYS[:2]]
            graph.op("LayerNormalization", [*node.inputs, *params], node.name, axis=-1, epsilon=node.eps)
        case Select():
            index = graph.constant(f"{node.name}.index", np.array(node.token, np.int64))
            graph.op("Gather", [*node.inputs, index], node.name, axis=1)
        case SplitHeads():
            _split_heads(graph, node)
        case MergeHeads():
            _merge_heads(graph, node)
        case MatrixProduct():
            _matrix_product(graph, node)
        case Softmax():
            graph.op("Softmax", node.inputs, node.name, axis=-1)
        case Resize():
            _resize(graph, node)
        case PerAnchor():
            graph.op("Transpose", node.inputs, f"{node.name}.transpose", perm=[0, 2, 3, 1])
            graph.reshape(f"{node.name}.transpose", node.shape, node.name, last=True)
        case _:
            assert_never(node)


def _convolution(
    graph: _Graph, node: Convolution, chain: tuple[BatchNorm | Scale, ...], weights: Mapping[str, Array]
) -> None:
    weight, bias, output = deployed_weight(node, chain, weights)
    inputs = [*node.inputs, graph.constant(f"{node.name}.weight", weight)]
    if chain or node.bias:
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


def _fully_connected(
    graph: _Graph, node: FullyConnected, chain: tuple[BatchNorm | Scale, ...], weights: Mapping[str, Array]
) -> None:
    weight, bias, output = deployed_weight(node, chain, weights)
    if len(node.shape) == 1:
        constants = graph.constant(f"{node.name}.weight", weight), graph.constant(f"{node.name}.bias", bias)
        graph.op("Gemm", [*node.inputs, *constants], output, transB=1)
        return
    product = f"{node.name}.product"
    graph.op("MatMul", [*node.inputs, graph.constant(f"{node.name}.weight", weight.T)], product)
    graph.op("Add", [product, graph.constant(f"{node.name}.bias", bias)], output)


def _split_heads(graph: _Graph, node: SplitHeads) -> None:
    heads, size, length = node.shape
    if len(graph.shapes[node.inputs[0]]) == 3:
        graph.reshape(node.inputs[0], node.shape, node.name, last=True)
        return
    tokens = graph.reshape(node.inputs[0], (length, heads, size), node.name)
    graph.op("Transpose", [tokens], node.name, perm=[0, 2, 3, 1])


def _merge_heads(graph: _Graph, node: MergeHeads) -> None:
    source = node.inputs[0]
    if len(node.shape) == 2:
        graph.op("Transpose", [source], f"{node.name}.transpose", perm=[0, 3, 1, 2])
        source = f"{node.name}.transpose"
    graph.reshape(source, node.shape, node.name, last=True)


def _matrix_product(graph: _Graph, node: MatrixProduct) -> None:
    inputs = list(node.inputs)
    at = 0 if node.transposed == "first" else 1
    graph.op("Transpose", [inputs[at]], f"{node.name}.transpose", perm=[0, 1, 3, 2])
    inputs[at] = f"{node.name}.transpose"
    if node.factor == 1:
        graph.op("MatMul", inputs, node.name)
        return
    graph.op("MatMul", inputs, f"{node.name}.product")
    factor = graph.constant(f"{node.name}.factor", np.array(node.factor, np.float32))
    graph.op("Mul", [f"{node.name}.product", factor], node.name)


def _dynamic_relu(graph: _Graph, node: DynamicRelu) -> None:
    source, gate = node.inputs
    name, channels = node.name, node.shape[0]
    two = graph.constant(f"{name}.two", np.array(2, np.float32))
    shift = graph.constant(f"{name}.shift", np.repeat(np.array([0, -1], np.float32), channels))
    graph.op("Mul", [gate, two], f"{name}.double")
    graph.op("Add", [f"{name}.double", shift], f"{name}.shifted")
    slopes = graph.reshape(f"{name}.shifted", (2 * channels, 1, 1), name)
    halves = [f"{name}.a1", f"{name}.a2"]
    graph.op("Split", [slopes], halves, axis=1)
    for half in halves:
        graph.op("Mul", [source, half], f"{half}.line")
    graph.op("Max", [f"{half}.line" for half in halves], name)


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
        case Act.GELU:
            _gelu(graph, node)
        case Act.NONE:
            graph.op("Identity", node.inputs, node.name)
        case _:
            assert_never(node.function)


def _answer(graph: _Graph, ends: Sequence[Node], task: Task, classes: int) -> dict[str, Shape]:
    """The file's outputs with their shapes, from the values that no node reads."""
    logits = ends[-1]
    match task:
        case "classify" | "multi-label":
            source = logits.name
            if len(logits.shape) > 1:
                graph.op("Flatten", [source], "flat_logits")
                source = "flat_logits"
            if task == "classify":
                graph.op("Softmax", [source], PROBABILITIES, axis=-1)
            else:
                graph.op("Sigmoid", [source], PROBABILITIES)
            return {PROBABILITIES: (classes,)}
        case "segment":
            _softmax_of_pixels(graph, logits.name)
            return {PROBABILITIES: logits.shape}
        case "detect":
            graph.op("Identity", [ends[0].name], BOXES)
            graph.op("Sigmoid", [logits.name], SCORES)
            return {BOXES: ends[0].shape, SCORES: logits.shape}
        case _:
            assert_never(task)


def _softmax_of_pixels(graph: _Graph, logits: str) -> None:
    """Softmax over a map's classes, step by step: ONNX Runtime's own over that axis takes 14 times as long."""
    classes = graph.constant(f"{SOFTMAX}.classes", np.array([1], np.int64))
    graph.op("ReduceMax", [logits], f"{SOFTMAX}.max", axes=[1], keepdims=1)
    graph.op("Sub", [logits, f"{SOFTMAX}.max"], f"{SOFTMAX}.below")
    graph.op("Exp", [f"{SOFTMAX}.below"], f"{SOFTMAX}.exp")
    graph.op("ReduceSum", [f"{SOFTMAX}.exp", classes], f"{SOFTMAX}.sum", keepdims=1)
    graph.op("Div", [f"{SOFTMAX}.exp", f"{SOFTMAX}.sum"], PROBABILITIES)


def _resize(graph: _Graph, node: Resize) -> None:
    """Bilinear. The opset wants a size for every axis, the free batch too, or factors: those are given."""
    (_, *before), (_, *after) = graph.shapes[node.inputs[0]], node.shape
    factors = np.array([1, 1, *(_factor(a, b) for a, b in zip(before, after, strict=True))], np.float32)
    mode = "align_corners" if node.align else "half_pixel"
    inputs = [node.inputs[0], "", graph.constant(f"{node.name}.factors", factors)]
    graph.op("Resize", inputs, node.name, mode="linear", coordinate_transformation_mode=mode)


def _factor(before: int, after: int) -> np.float32:
    """The least float that turns one size into the other where runtimes multiply and round down."""
    factor = np.float32(after / before)
    while int(np.float32(before) * factor) < after or int(before * float(factor)) < after:
        factor = np.nextafter(factor, np.float32(np.inf))
    return factor


def _gelu(graph: _Graph, node: Activation) -> None:
    """GELU, x / 2 (1 + erf(x / sqrt 2)): runtimes know the pattern; the operator is newer than the opset."""
    name = node.name
    values = {"root": 2**0.5, "one": 1, "half": 0.5}
    root, one, half = (graph.constant(f"{name}.{key}", np.array(value, np.float32)) for key, value in values.items())
    graph.op("Div", [*node.inputs, root], f"{name}.div")
    graph.op("Erf", [f"{name}.div"], f"{name}.erf")
    graph.op("Add", [f"{name}.erf", one], f"{name}.add")
    graph.op("Mul", [*node.inputs, f"{name}.add"], f"{name}.mul")
    graph.op("Mul", [f"{name}.mul", half], name)
