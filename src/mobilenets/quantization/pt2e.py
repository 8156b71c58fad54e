"""Post-training static int8 as a torch graph (torchao's PT2E), for ExecuTorch, LiteRT and torch.onnx."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenets.errors import MissingExtraError
from mobilenets.model import Deployed, addressed
from mobilenets.onnx.calibration import Histogram
from mobilenets.onnx.quantized import check_addresses, check_images, float_ends
from mobilenets.precision import Calibration, Scheme
from mobilenets.runtime.quiet import quiet

Backend = Literal["executorch", "litert", "onnx"]
"""Whose operators are quantized, and how: each has a quantizer of its own."""


def quantize_pt2e(
    module: Deployed, images: NDArray[np.uint8], scheme: Scheme | None = None, *, backend: Backend
) -> nn.Module:
    """A deployed model as an int8 graph: `torch.export.export` takes it, and it runs in PyTorch as it is.

    Scaling and softmax stay float, and so do the last convolutions of a detector or segmenter with what follows: no
    backend here computes a convolution in int8 and gives floats. The batch is free. Activations are int8, as all three
    want them (the light way to ONNX, with uint8, is `quantize_onnx`). No backend has 16-bit activations here:
    `scheme.wide` stays in float.

    Args:
        module: float; it stays as it is.
        images: uint8 (n, h, w, c), to take ranges from.
        scheme: see `Scheme`; the default where None.
        backend: who will run it.

    Raises:
        MisuseError: no images, or images of another shape.
        UnknownNameError: `keep_float` or `wide` names a node that the network does not have.
        MissingExtraError: without torchao, ExecuTorch or LiteRT's converter.
    """
    scheme = scheme or Scheme()
    network = module.network.network
    check_images(images, (network.resolution, network.resolution, network.in_channels))
    check_addresses(scheme, (node.name for node in module.network.nodes))
    with quiet():
        kept = scheme.keep_float | scheme.wide | frozenset().union(*float_ends(module.network.nodes))
        quantizer = _quantizer(backend, scheme, kept)
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        prepared = prepare_pt2e(traced(module, images), quantizer)
        _observe(prepared, images, scheme.calibration)
        # LiteRT's converter wants to see weights in float, with their quantization behind them
        converted: nn.Module = convert_pt2e(prepared, fold_quantize=backend != "litert")
    return converted


def traced(module: Deployed, images: NDArray[np.uint8]) -> Any:
    """The graph of a deployed model, each operation with its node's address, for any batch."""
    named = copy.copy(module)
    named._modules = {"network": addressed(module.network)}
    two = torch.from_numpy(np.resize(images, (2, *images.shape[1:])))  # a batch of 1 would be taken for a constant
    program = torch.export.export(named, (two,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    return program.module(check_guards=False)


def address(node: Any) -> str | None:
    """The network's node that an operation of a traced graph belongs to; None outside the network."""
    paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    inside = [path.split("network.", 1)[1] for path in paths if "network." in path]
    return inside[-1] if inside else None


def _observe(prepared: nn.Module, images: NDArray[np.uint8], method: Calibration) -> None:
    """Ranges from images: twice through where their distribution counts, as its bins need the extremes first."""
    _run(prepared, images)
    if method == "minmax":
        return
    observers = list(_observers(prepared))
    for observer in observers:
        observer.counted = Histogram((float(observer.min_val), float(observer.max_val)), method)
    _run(prepared, images)
    for observer in observers:
        low, high = observer.counted.range()
        observer.min_val.fill_(low)
        observer.max_val.fill_(high)


def _observers(prepared: nn.Module) -> Iterator[Any]:
    kind = observer_class()
    return (module for module in prepared.modules() if type(module) is kind)


def _run(prepared: nn.Module, images: NDArray[np.uint8], size: int = 8) -> None:
    with torch.inference_mode():
        for start in range(0, len(images), size):
            prepared(torch.from_numpy(images[start : start + size]))


def _quantizer(backend: Backend, scheme: Scheme, kept: frozenset[str]) -> Any:
    """A backend's own quantizer, corrected; the kept nodes stay in float."""
    match backend:
        case "executorch":
            try:
                from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as rules
            except ImportError as error:
                raise MissingExtraError("executorch", "executorch", purpose="int8 for ExecuTorch") from error
            inner = rules.XNNPACKQuantizer()
        case "litert":
            try:
                from litert_torch.quantize import pt2e_quantizer as rules
            except ImportError as error:
                raise MissingExtraError("litert-torch", "litert", purpose="int8 for LiteRT") from error
            inner = rules.PT2EQuantizer()
        case "onnx":
            rules, inner = xnnpack_rules()
    config = rules.get_symmetric_quantization_config(is_per_channel=scheme.per_channel)
    values = replace(config.input_activation, observer_or_fake_quant_ctr=observer_class().with_args(eps=2**-12))
    inner.set_global(replace(config, input_activation=values, output_activation=values))
    return corrected(inner, values, kept)


def xnnpack_rules() -> tuple[Any, Any]:
    """Torchao's own copy of XNNPACK's quantizer: the module and an instance.

    Raises:
        MissingExtraError: without torchao.
    """
    try:
        with quiet():  # it points to ExecuTorch's, which is 500 MB
            from torchao.testing.pt2e import _xnnpack_quantizer as rules

            return rules, rules.XNNPACKQuantizer()
    except ImportError as error:
        raise MissingExtraError("torchao", "quant", purpose="int8 on PyTorch graphs") from error


@functools.cache
def observer_class() -> Any:
    """Torchao's observer of extremes, which can also count what lies between them."""
    from torchao.quantization.pt2e import MinMaxObserver

    class Observer(MinMaxObserver):  # type: ignore[misc]
        counted: Histogram | None = None

        def forward(self, x: Tensor) -> Tensor:
            if self.counted is None:
                return super().forward(x)  # type: ignore[no-any-return]
            self.counted.add(x.detach().numpy())
            return x

    return Observer


def corrected(inner: Any, values: Any, keep_float: frozenset[str]) -> Any:
    """A quantizer with three corrections: see `_correct`."""
    from torchao.quantization.pt2e.quantizer import Quantizer

    class Corrected(Quantizer):  # type: ignore[misc]
        def transform_for_annotation(self, model: Any) -> Any:
            return inner.transform_for_annotation(model)

        def annotate(self, model: Any) -> Any:
            inner.annotate(model)
            _correct(model, values, keep_float)
            return model

        def validate(self, model: Any) -> None:
            inner.validate(model)

    return Corrected()


def _correct(model: Any, values: Any, keep_float: frozenset[str]) -> None:
    """What the quantizers of XNNPACK and LiteRT do otherwise than this project promises.

    Scaling and softmax stay in float, and so do the nodes asked for. A ReLU6 is quantized by the range behind it, 0 to
    6, where they take the range before it, which may be ten times as wide.
    """
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, SharedQuantizationSpec

    key = "quantization_annotation"
    for node in model.graph.nodes:
        if node.op == "call_function" and ((name := address(node)) is None or name in keep_float):
            node.meta.pop(key, None)
    for node in model.graph.nodes:
        before = node.args[0] if node.args else None
        if node.op != "call_function" or not isinstance(before, torch.fx.Node):
            continue
        if _is_clamp(node) and len(before.users) == 1 and key in before.meta:
            before.meta[key].output_qspec = None
            node.meta[key] = QuantizationAnnotation(output_qspec=values, _annotated=True)
        if key not in node.meta:
            continue
        shared = isinstance(node.meta[key].output_qspec, SharedQuantizationSpec)
        if shared and (key not in before.meta or before.meta[key].output_qspec is None):
            node.meta[key] = QuantizationAnnotation({before: values}, SharedQuantizationSpec((before, node)), True)


def _is_clamp(node: Any) -> bool:
    return any(name in str(node.target) for name in ("hardtanh", "relu6"))
