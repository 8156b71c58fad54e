"""Bias correction: what rounding shifts in the mean of each channel is taken off the biases.

Paper: Nagel et al. (arXiv:1906.04721), section 4.2; the shift is measured on images, as in its appendix D.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenets.model import MobileNet, arrays
from mobilenets.onnx.weights import chains_of
from mobilenets.precision import Scheme
from mobilenets.quantization.taps import Images, batches, tapped, twins
from mobilenets.table.lower import lower
from mobilenets.table.nodes import BatchNorm, Convolution, FullyConnected


def correct_biases(
    model: MobileNet,
    images: Images,
    scheme: Scheme | None = None,
    *,
    measure: int = 32,
    on_progress: Callable[[int, int], None] | None = None,
) -> MobileNet:
    """The model with biases (batch norm's, where there is one) that make its int8 file's channels right on average.

    Layer by layer, each measured behind the corrected ones before it. The float model itself moves by as much, so this
    is for quantizing only; the model that was given stays.

    Args:
        model: float.
        images: uint8 (n, h, w, c), to take ranges from.
        scheme: how int8 is made; the default where None.
        measure: how many of them the means are measured on.
        on_progress: called with (layers done, all).

    Raises:
        MisuseError: no images, or images of another shape.
    """
    import onnx

    pair = twins(model, images, scheme or Scheme())
    seen = images[:: max(1, len(images) // measure)][:measure]
    nodes = lower(model.network)
    layers = [node for node in nodes if isinstance(node, Convolution | FullyConnected) and len(node.shape) in (1, 3)]
    right = _means(pair.proto, [pair.written[node.name] for node in layers], seen)
    whole = onnx.load_from_string(pair.int8())
    inside = {node.name: node for node in whole.graph.node}
    weights, chains = arrays(model), chains_of(nodes)
    for done, layer in enumerate(layers, 1):
        value = pair.written[layer.name]
        (found,) = _means(whole, [inside[value].output[0]], seen).values()
        shift = found - right[value]
        if _moved(whole, inside[value], shift):
            chained = chains.get(layer.name, ())
            key = f"{chained[-1].name if chained and isinstance(chained[-1], BatchNorm) else layer.name}.bias"
            if key in weights:
                weights[key] = (weights[key] - shift).astype(np.float32)
        if on_progress is not None:
            on_progress(done, len(layers))
    made = MobileNet(model.network, info=model.info)
    made.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    return made.eval()


def _means(model: Any, values: list[str], images: Images) -> dict[str, NDArray[np.float64]]:
    """Mean of each channel of values, over images and positions."""
    run = tapped(model, values)
    sums: dict[str, NDArray[np.float64]] = dict.fromkeys(values, np.zeros(1))
    for batch in batches(images):
        for name, value in zip(values, run(batch), strict=True):
            per_image = value.reshape(*value.shape[:2], -1).mean(2, dtype=np.float64)  # n c
            sums[name] = sums[name] + per_image.sum(0)
    return {name: total / len(images) for name, total in sums.items()}


def _moved(whole: Any, node: Any, shift: NDArray[np.float64]) -> bool:
    """Take a shift off a layer's bias in the int8 file; False where it has none, or is float there."""
    from onnx import numpy_helper

    if len(node.input) < 3:
        return False
    stored = {constant.name: constant for constant in whole.graph.initializer}
    quantized = f"{node.input[2]}_quantized"
    name = quantized if quantized in stored else node.input[2]
    if name not in stored:
        return False
    before = numpy_helper.to_array(stored[name])
    if name == quantized:
        scale = numpy_helper.to_array(stored[f"{quantized}_scale"])
        after = before - np.round(shift / scale).astype(before.dtype)
    else:
        after = (before - shift).astype(before.dtype)
    stored[name].CopyFrom(numpy_helper.from_array(after, name))
    return True
