"""Where an artifact that disagrees departs: the first node whose values are not the model's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from mobilenets.errors import MobileNetsError
from mobilenets.model import MobileNet, deploy, evaluating, normalise
from mobilenets.onnx.weights import Array
from mobilenets.runtime.onnxruntime import raw_session
from mobilenets.runtime.session import Images
from mobilenets.table.nodes import Activation, Add, BatchNorm, Convolution, FullyConnected, Node

RELATIVE = {"fp32": 1e-3, "fp16": 3e-2}
"""Largest difference of a node's values that is no departure, as a part of the largest value."""

NOISE = 0.1
"""The same for int8, of powers: 10 dB of signal to noise."""


def departure(model: MobileNet, artifact: Path, image: Images, precision: str = "fp32") -> tuple[str | None, str]:
    """Address of the first node that departs on one image, and a remark where that cannot be told.

    ONNX and OpenVINO keep nodes' addresses; LiteRT keeps their order; a PyTorch archive keeps its weights' names.
    ExecuTorch and C hand out nothing but the end: there, the model's ONNX twin tells whether it is the conversion.
    """
    match artifact.suffix:
        case ".onnx":
            return first_departure(model, artifact, image, precision=precision), ""
        case ".xml":
            return _first(model, image, _openvino_values(model, artifact, image), precision), ""
        case ".tflite":
            from mobilenets.exports.litert_values import values_of

            found = values_of(deploy(model), artifact, image)
            if found is not None:
                return _first_of_chains(model, image, found, precision), ""
        case ".pt2":
            return _first_weight(model, artifact), ""
        case _:
            pass
    return None, f"{artifact.suffix} files do not tell which node departs first{_twin(model, image)}"


def first_departure(
    model: MobileNet, artifact: Path, image: Images, *, relative: float | None = None, precision: str = "fp32"
) -> str | None:
    """Address of the first node whose values in an ONNX file differ from the model's.

    The artifact's own graph is opened up: every value that carries a node's name becomes an output.

    Args:
        model: the PyTorch model.
        artifact: an `.onnx` file.
        image: one, uint8 (1, h, w, c).
        relative: largest difference that is none, as a part of the node's largest value.
        precision: of the file, which decides `relative` where it is not given.
    """
    import onnx

    proto = onnx.load(str(artifact))
    present = {output for node in proto.graph.node for output in node.output}
    wanted = [node.name for node in model.nodes if node.name in present]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    session = raw_session(proto.SerializeToString())
    found = session.run(wanted, {session.get_inputs()[0].name: image})
    return _first(model, image, dict(zip(wanted, found, strict=True)), precision, relative)


def _openvino_values(model: MobileNet, artifact: Path, image: Images) -> dict[str, Array]:
    import openvino

    from mobilenets.runtime.openvino import read_model

    graph = read_model(artifact)
    outputs = [op.output(0) for op in graph.get_ordered_ops() if op.get_type_name() != "Result"]
    floats = [output for output in outputs if output.get_element_type().get_type_name() == "f32"]
    known = {node.name for node in model.nodes}
    names = [name for output in floats for name in output.names if name in known]
    graph.add_outputs(names)
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([image])
    return {name: found[compiled.output(name)] for name in names}


def _taps(model: MobileNet, image: Images, names: Iterable[str]) -> dict[str, Array]:
    with evaluating(model), torch.inference_mode():
        found = model.taps(normalise(torch.from_numpy(image), model.info.preprocessing), names)
    return {name: value.numpy() for name, value in found.items()}


def _first(
    model: MobileNet, image: Images, found: Mapping[str, Array], precision: str, relative: float | None = None
) -> str | None:
    """The first node, in the network's order, whose found value departs from the model's."""
    wanted = [node.name for node in model.nodes if node.name in found]
    expected = _taps(model, image, wanted)
    return next((name for name in wanted if departs(found[name], expected[name], precision, relative)), None)


def departs(found: Array, expected: Array, precision: str = "fp32", relative: float | None = None) -> bool:
    """Whether a node's values differ by more than its precision explains; what is not a number does."""
    if found.shape != expected.shape:
        return True
    if precision.startswith("int8") and relative is None:
        power = float(np.square(expected, dtype=np.float64).mean())
        return not float(np.square(found.astype(np.float64) - expected).mean()) <= NOISE * max(power, 1e-6)
    allowed = RELATIVE.get(precision.partition("+")[0], RELATIVE["fp32"]) if relative is None else relative
    return not np.abs(found - expected).max() <= allowed * max(float(np.abs(expected).max()), 1e-3)


def _first_of_chains(model: MobileNet, image: Images, found: Mapping[str, Array], precision: str) -> str | None:
    """The same where a value may be that of a kernel, or of what is fused behind it."""
    small = deploy(model)
    after = chains(small.nodes)
    expected = _taps(small, image, {name for start in found for name in after[start]})
    for start, value in found.items():
        if all(departs(value, expected[name], precision) for name in after[start]):
            return after[start][-1] if len(after[start]) == 1 else after[start][1]
    return None


def chains(nodes: Iterable[Node]) -> dict[str, list[str]]:
    """Each kernel or matrix, with the norm, the activation and the sum that a converter may fuse into it."""
    found: dict[str, list[str]] = {}
    end: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, Convolution | FullyConnected):
            found[node.name], end[node.name] = [node.name], node.name
        elif isinstance(node, BatchNorm | Activation | Add):
            for source in node.inputs:
                if source in end:
                    start = end[source]
                    found[start].append(node.name)
                    end[node.name] = start
                    break
    return found


def _first_weight(model: MobileNet, artifact: Path) -> str | None:
    """The first node whose weights in a PyTorch archive are not the model's."""
    from mobilenets.runtime.pytorch import load

    program, _ = load(artifact)
    expected = deploy(model).state_dict()
    for key, value in program.state_dict.items():
        name = key.removeprefix("network.")
        if name in expected and not torch.equal(value, expected[name]):
            return str(name.rpartition(".")[0])
    return None


def _twin(model: MobileNet, image: Images) -> str:
    """What the model's own ONNX file says: if it agrees, the conversion or its runtime departs, not the network."""
    from mobilenets.exports.likeness import model_outputs
    from mobilenets.exports.onnx_ import serialized
    from mobilenets.exports.verify import TOLERANCE
    from mobilenets.runtime.onnxruntime import OnnxRuntimeSession

    try:
        found = OnnxRuntimeSession.open(serialized(model)).outputs(image)
    except MobileNetsError:
        return ""
    expected = model_outputs(model, image)
    agrees = all(bool(np.abs(found[name] - expected[name]).max() <= TOLERANCE) for name in found)
    return "; the same network written as ONNX agrees" if agrees else "; the same network written as ONNX departs, too"
