"""How many of an artifact's operators compute in int8 and how many in float, as its runtime will run them.

Float operators between int8 ones are islands: each costs a conversion in and one out. Scaling of the pixels before the
first int8 operator and softmax after the last are none.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from mobilenets.errors import MobileNetsError
from mobilenets.exports.formats import FORMATS
from mobilenets.model import MobileNet, deploy
from mobilenets.runtime.quiet import quiet


class Operator(NamedTuple):
    """One operator that computes, in the order in which they run."""

    kind: str
    quantized: bool
    address: str | None


@dataclass(frozen=True, slots=True)
class Census:
    """Operators of an artifact; what only moves, reshapes or converts values is not counted.

    Attributes:
        quantized: how many compute in int8 (in Core ML and C: whose weights are int8).
        floating: how many compute in float.
        islands: the float ones between int8 ones, by node address where the format keeps it, else by kind and the
            kernel before it.
        kinds: the float ones by kind.
        remark: what was counted, or why nothing was.
    """

    quantized: int = 0
    floating: int = 0
    islands: tuple[str, ...] = ()
    kinds: tuple[tuple[str, int], ...] = ()
    remark: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"islands": list(self.islands), "kinds": dict(self.kinds)}

    def __str__(self) -> str:
        if self.remark:
            return self.remark
        return f"{self.quantized} int8, {self.floating} float" + (f", {len(self.islands)} islands" * bool(self.islands))


def census(model: MobileNet, artifact: str | Path) -> Census:
    """Count the operators of an artifact; where that cannot be done, the remark says why."""
    artifact = Path(artifact)
    try:
        with quiet():
            operators = _operators(deploy(model), artifact)
    except MobileNetsError as error:
        return Census(remark=f"not counted: {error}")
    found = counted(operators)
    weights_only = artifact.suffix in FORMATS and FORMATS[artifact.suffix].weights_only
    return replace(found, islands=()) if weights_only else found


def counted(operators: Sequence[Operator]) -> Census:
    """The numbers and islands of operators in order."""
    places = [i for i, operator in enumerate(operators) if operator.quantized]
    between = operators[places[0] : places[-1]] if places else []
    islands = _islands(between)
    kinds = Counter(operator.kind for operator in operators if not operator.quantized)
    floating = len(operators) - len(places)
    return Census(len(places), floating, tuple(dict.fromkeys(islands)), tuple(sorted(kinds.items())))


def _islands(operators: Iterable[Operator]) -> list[str]:
    found, before = [], ""
    for operator in operators:
        if operator.quantized:
            before = operator.address or before
        elif operator.address:
            found.append(operator.address)
        else:
            found.append(f"{operator.kind} after {before}" if before else operator.kind)
    return found


def _operators(model: MobileNet, artifact: Path) -> list[Operator]:
    match artifact.suffix:
        case ".onnx":
            return _of_onnx(model, artifact)
        case ".xml":
            return _of_openvino(model, artifact)
        case ".tflite":
            return _of_litert(model, artifact)
        case ".pte":
            from mobilenets.exports.executorch_graph import operators_of

            return operators_of(model, artifact)
        case ".mlpackage":
            from mobilenets.exports import coreml_

            return [Operator(*found) for found in coreml_.kinds_of(artifact)]
        case ".c":
            from mobilenets.exports import c_

            return [Operator(*found) for found in c_.kinds_of(artifact)]
        case _:
            from mobilenets.table.nodes import BatchNorm

            return [Operator(type(n).__name__, False, n.name) for n in model.nodes if not isinstance(n, BatchNorm)]


MOVING = frozenset(
    ("QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "Reshape", "Flatten", "Identity", "Constant")
) | frozenset(("ReorderInput", "ReorderOutput", "Squeeze", "Unsqueeze", "Split", "Gather", "Slice"))


def _of_onnx(model: MobileNet, artifact: Path) -> list[Operator]:
    """From the graph as ONNX Runtime has made it its own: there, what stayed in float between int8 values shows."""
    import onnxruntime

    import onnx
    from mobilenets.runtime.onnxruntime import OnnxRuntimeSession

    OnnxRuntimeSession.open(artifact)  # says what is wrong with a broken file
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(artifact), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    known = {node.name for node in model.nodes}
    readers = {name: node for node in graph.node for name in node.input}
    return [
        Operator(
            node.op_type,
            node.op_type.startswith("QLinear") or node.op_type in ("QGemm", "ConvInteger", "MatMulInteger"),
            _known([node.name, *node.output, *_after(node, readers)], known),
        )
        for node in graph.node
        if node.op_type not in MOVING
    ]


def _after(node: Any, readers: Mapping[str, Any]) -> list[str]:
    """Outputs of whatever reads a node: parts of one of ours have no name of their own."""
    return [output for name in node.output if name in readers for output in readers[name].output]


def _known(names: Iterable[str], known: set[str]) -> str | None:
    """The first name that is a node's, or begins with one's."""
    for name in names:
        plain = name.removesuffix("_QuantizeLinear_Output").removesuffix("_DequantizeLinear_Output")
        if plain in known:
            return plain
    return None


STILL = frozenset(
    ("Const", "Input", "Output", "Reorder", "Reshape", "Transpose", "Convert", "ShapeOf", "Split", "Gather")
)
WEIGHTED = ("Convolution", "FullyConnected", "MatMul")


def _of_openvino(model: MobileNet, artifact: Path) -> list[Operator]:
    """From the graph that the processor plugin executes, with the precision of each of its operators."""
    from mobilenets.runtime.openvino import OpenVinoSession

    executed = OpenVinoSession.open(artifact).compiled(1).get_runtime_model()
    known = {node.name for node in model.nodes}
    found = []
    for operator in executed.get_ordered_ops():
        about = operator.get_rt_info()
        kind = about["layerType"].astype(str)
        if kind in STILL:
            continue
        # others take their precision from what comes in: scaling of the pixels would count
        decides = about["runtimePrecision" if kind in WEIGHTED else "outputPrecisions"].astype(str)
        names = [name.split("/")[0] for name in about["originalLayersNames"].astype(str).split(",")]
        found.append(Operator(kind, decides in ("u8", "i8"), _known(reversed(names), known)))
    return found


CARRYING = frozenset(
    ("QUANTIZE", "DEQUANTIZE", "CAST", "RESHAPE", "PAD", "TRANSPOSE", "SPLIT", "GATHER", "STRIDED_SLICE")
)


def _of_litert(model: MobileNet, artifact: Path) -> list[Operator]:
    from ai_edge_litert import schema_py_generated as schema

    from mobilenets.exports.litert_values import graph_of, kernels_of

    graph, names = graph_of(artifact)
    addresses = {id(operator): name for name, operator in kernels_of(model, graph, names) or ()}
    integers = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16)
    return [
        Operator(name, graph.tensors[operator.outputs[0]].type in integers, addresses.get(id(operator)))
        for operator, name in zip(graph.operators, names, strict=True)
        if name not in CARRYING
    ]
