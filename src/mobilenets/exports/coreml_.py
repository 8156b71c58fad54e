"""Core ML: `.mlpackage`, a folder; one image at a time, of Core ML's own image type.

It is written and checked anywhere and run on Apple's systems only. fp16 is what the neural engine computes in; fp32
keeps every bit; int8 stores kernels in 8 bits and computes in fp16.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mobilenets.errors import CheckpointError, MissingExtraError
from mobilenets.exports.described import described
from mobilenets.model import MobileNet, arrays
from mobilenets.model.deployed import Deployed
from mobilenets.onnx import IMAGE
from mobilenets.onnx.weights import Array, chains_of, deployed_weight
from mobilenets.outputs import output_names
from mobilenets.precision import Precision
from mobilenets.runtime.quiet import quiet
from mobilenets.runtime.session import first_line
from mobilenets.table.lower import lower
from mobilenets.table.nodes import INPUT, Convolution, FullyConnected, Node

LABEL = "classLabel"
SMALL = 512
"""Weights of fewer values stay in float."""


def write(model: MobileNet, path: Path, *, precision: Precision) -> None:
    """Write an `.mlpackage` folder.

    Raises:
        MissingExtraError: coremltools is not installed.
    """
    ct = _coremltools(f"writing {path.name}")
    with quiet():
        package = _converted(ct, model, precision)
        if precision == "int8":
            package = _quantized(ct, package)
        for key, value in described(model, precision).items():
            package.user_defined_metadata[key] = value
        package.short_description = f"{model.network.label}: {len(model.info.classes)} classes"
        package.save(str(path))


def _coremltools(purpose: str) -> Any:
    try:
        with quiet():
            import coremltools
    except ImportError as error:
        raise MissingExtraError("coremltools", "coreml", purpose=purpose) from error
    return coremltools


def _converted(ct: Any, model: MobileNet, precision: Precision) -> Any:
    network, info = model.network, model.info
    size = network.resolution
    sample = torch.zeros(1, network.in_channels, size, size)
    program = torch.export.export(_OfPixels(Deployed(model)), (sample,)).run_decompositions(
        {torch.ops.aten.channel_shuffle.default: _shuffled}
    )
    _with_float_bounds(program.graph)
    classify = info.task == "classify" and bool(info.classes)
    compute = ct.precision.FLOAT32 if precision == "fp32" else ct.precision.FLOAT16
    return ct.convert(
        program,
        convert_to="mlprogram",
        inputs=[_input(ct, tuple(sample.shape))],
        outputs=None if classify else [ct.TensorType(name=name) for name in output_names(info.task)],
        classifier_config=ct.ClassifierConfig(list(info.classes)) if classify else None,
        compute_precision=compute,
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )


def _shuffled(x: Tensor, groups: int) -> Tensor:
    """Channels interleaved, in operators that coremltools has."""
    n, channels, height, width = x.shape
    return x.view(n, groups, channels // groups, height, width).transpose(1, 2).reshape(n, channels, height, width)


def _with_float_bounds(graph: Any) -> None:
    """ReLU6 is exported with whole numbers as its bounds, which coremltools refuses beside floats."""
    for node in graph.nodes:
        if node.op == "call_function" and "hardtanh" in str(node.target):
            node.args = (node.args[0], *(float(bound) for bound in node.args[1:]))


def _input(ct: Any, shape: tuple[int, ...]) -> Any:
    """An RGB or grey image; Core ML has none of other channels, which come as an array n c h w of 0 to 255."""
    if shape[1] not in (1, 3):
        return ct.TensorType(name=IMAGE, shape=shape)
    layout = ct.colorlayout.RGB if shape[1] == 3 else ct.colorlayout.GRAYSCALE
    return ct.ImageType(name=IMAGE, shape=shape, color_layout=layout)


def _quantized(ct: Any, package: Any) -> Any:
    from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig, linear_quantize_weights

    chosen = OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=SMALL)
    return linear_quantize_weights(package, OptimizationConfig(global_config=chosen))


def metadata_of_package(path: Path) -> dict[str, str]:
    """What a package says of itself.

    Raises:
        MissingExtraError: coremltools is not installed.
        CheckpointError: no package that it can read.
    """
    return {str(key): str(value) for key, value in _opened(path).user_defined_metadata.items()}


def wrong(model: MobileNet, path: Path) -> tuple[str, ...]:
    """What in a package's specification is not the model's: input, output, classes, kernels and their values."""
    spec, program = _opened(path).get_spec(), program_of(path)
    network, info = model.network, model.info
    size = network.resolution
    image = spec.description.input[0].type.imageType
    problems = []
    if network.in_channels in (1, 3) and (image.width, image.height) != (size, size):
        problems.append(f"its input is {image.width}x{image.height} pixels, not {size}x{size}")
    labels = _labels(program)
    if info.task == "classify" and info.classes and labels != info.classes:
        problems.append(f"its classes are {', '.join(labels[:3])} ..., not the model's")
    return (*problems, *_wrong_kernels(model, program))


def program_of(path: Path) -> Any:
    """The operators of a package, with their weights, as coremltools reads them."""
    package = _opened(path)
    try:
        with quiet():
            from coremltools.converters.mil.frontend.milproto.load import load

            spec = package.get_spec()
            return load(spec, specification_version=spec.specificationVersion, file_weights_dir=package.weights_dir)
    except Exception as error:  # whatever reading a damaged program raises
        raise CheckpointError(f"{path}: coremltools cannot read it: {first_line(error)}") from error


CARRYING = (
    "const",
    "cast",
    "reshape",
    "transpose",
    "constexpr_affine_dequantize",
    "classify",
    "expand_dims",
    "squeeze",
)


def kinds_of(path: Path) -> list[tuple[str, bool, str | None]]:
    """(kind, whether its weights are int8, None) of each operator that computes."""
    return [
        (op.op_type, "weight" in op.inputs and op.weight.op.op_type.startswith("constexpr"), None)
        for op in program_of(path).functions["main"].operations
        if op.op_type not in CARRYING
    ]


def _opened(path: Path) -> Any:
    ct = _coremltools(f"checking {path.name}")
    try:
        with quiet():
            return ct.models.MLModel(str(path), skip_model_load=True)
    except Exception as error:  # whatever reading a damaged package raises
        raise CheckpointError(f"{path}: coremltools cannot read it: {first_line(error)}") from error


def _labels(program: Any) -> tuple[str, ...]:
    found = program.functions["main"].find_ops(op_type="classify")
    return tuple(str(name) for name in found[0].classes.val) if found else ()


def _wrong_kernels(model: MobileNet, program: Any) -> tuple[str, ...]:
    """Convolutions and matrix products: as many as the network has, each with its weights to 16 bits or 8."""
    nodes = lower(model.network)
    weights, after, reached = arrays(model), chains_of(nodes), _of_the_image(nodes)
    expected = [  # a norm behind a matrix product stays one in coremltools
        (node.name, deployed_weight(node, after.get(node.name, ()), weights)[0], weights[f"{node.name}.weight"])
        for node in nodes
        if isinstance(node, Convolution | FullyConnected) and node.name in reached
    ]
    found = [op for op in program.functions["main"].operations if op.op_type in ("conv", "linear")]
    if len(found) != len(expected):
        return (f"it has {len(found)} convolutions and matrix products, the network {len(expected)}",)
    stored = [_stored(op.weight) for op in found]
    for name, folded, plain in expected:
        at = next((i for i, other in enumerate(stored) if _alike(other, folded) or _alike(other, plain)), None)
        if at is None:
            return (f"the weights of {name} are not the model's",)
        del stored[at]
    return ()


def _alike(stored: Array, value: Array) -> bool:
    return stored.shape == value.shape and bool(np.abs(stored - value).max() <= 0.01 * np.abs(value).max())


def _of_the_image(nodes: Sequence[Node]) -> set[str]:
    """Nodes that depend on the image: what follows from learned values alone, coremltools works out beforehand."""
    found = {INPUT}
    for node in nodes:
        if found & set(node.inputs):
            found.add(node.name)
    return found


def _stored(weight: Any) -> Array:
    """A weight's values, widened where they are stored in 8 bits."""
    value = weight.val if weight.val is not None else weight.op.materialized_val_inference()
    return np.asarray(value, np.float32)


class _OfPixels(nn.Module):
    """The deployed module for float pixels n c h w, 0 to 255: what Core ML makes of its images."""

    def __init__(self, module: Deployed) -> None:
        super().__init__()
        self.deployed = module

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.deployed.of_pixels(pixels)
