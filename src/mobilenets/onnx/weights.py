"""Weights as arrays by state-dict key: random ones, batch norm and layer scale folded, parallel branches folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.table.folding import folded_into
from mobilenets.table.lower import lower
from mobilenets.table.nodes import BatchNorm, Convolution, FullyConnected, LayerNorm, Node, Parameter, Scale, Shape
from mobilenets.table.rows import Network

Array = NDArray[Any]

NORM_KEYS = ("weight", "bias", "running_mean", "running_var")
"""What a batch norm holds, in the order in which ONNX wants it."""


def random_weights(network: Network, seed: int = 0) -> dict[str, Array]:
    """Weights of the right shapes that keep activations in range, for timing a network that is not trained yet."""
    generator = np.random.default_rng(seed)
    weights: dict[str, Array] = {}

    def draw(node: Node, shape: Shape, fan_in: int, bias: bool = False) -> None:
        values = generator.standard_normal(shape, dtype=np.float32)
        weights[f"{node.name}.weight"] = values * np.float32((2 / fan_in) ** 0.5)
        if bias:
            weights[f"{node.name}.bias"] = np.zeros(shape[0], np.float32)

    for node in lower(network):
        match node:
            case Convolution():
                fan_in = node.in_channels // node.groups
                shape = (node.shape[0], fan_in, node.kernel, node.kernel)
                draw(node, shape, fan_in * node.kernel**2, node.bias)
            case FullyConnected():
                draw(node, (node.shape[-1], node.in_features), node.in_features, bias=True)
            case BatchNorm():
                for key, value in zip(NORM_KEYS, (1, 0, 0, 1), strict=True):
                    weights[f"{node.name}.{key}"] = np.full(node.shape[0], value, np.float32)
            case LayerNorm():
                for key, value in zip(NORM_KEYS[:2], (1, 0), strict=True):
                    weights[f"{node.name}.{key}"] = np.full(node.shape[-1], value, np.float32)
            case Scale():
                weights[f"{node.name}.weight"] = np.full(node.shape[0], node.initial, np.float32)
            case Parameter():
                draw(node, node.shape, 2)
            case _:
                pass  # the rest holds no weights
    return weights


def fold(weight: Array, bias: Array, norm: Mapping[str, Array], eps: float) -> tuple[Array, Array]:
    """Batch norm folded into the convolution or matrix product before it: w' = w s, b' = (b - mean) s + beta.

    s = gamma / sqrt(var + eps). Computed in float64, returned as float32.
    """
    scale = norm["weight"].astype(np.float64) / np.sqrt(norm["running_var"].astype(np.float64) + eps)
    folded_bias = (bias - norm["running_mean"].astype(np.float64)) * scale + norm["bias"]
    return scaled(weight, scale), folded_bias.astype(np.float32)


def scaled(weight: Array, factor: Array) -> Array:
    """A weight times a factor per output channel."""
    return (weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))).astype(np.float32)


def norm_of(weights: Mapping[str, Array], name: str) -> dict[str, Array]:
    """The arrays of one batch norm."""
    return {key: weights[f"{name}.{key}"] for key in NORM_KEYS}


def chains_of(nodes: Sequence[Node]) -> dict[str, tuple[BatchNorm | Scale, ...]]:
    """What folds into each convolution or matrix product, in order, by its name."""
    folded = folded_into(nodes)
    chains: dict[str, tuple[BatchNorm | Scale, ...]] = {}
    for node in nodes:
        if isinstance(node, BatchNorm | Scale) and node.name in folded:
            into = folded[node.name]
            chains[into] = (*chains.get(into, ()), node)
    return chains


def deployed_weight(
    node: Convolution | FullyConnected, chain: Sequence[BatchNorm | Scale], weights: Mapping[str, Array]
) -> tuple[Array, Array, str]:
    """Weight and bias with what follows folded in, and the name of the value that comes out: the last one's."""
    weight = weights[f"{node.name}.weight"]
    bias = weights.get(f"{node.name}.bias")
    bias = np.zeros(weight.shape[0], np.float32) if bias is None else bias
    output = node.name
    for after in chain:
        if isinstance(after, BatchNorm):
            weight, bias = fold(weight, bias, norm_of(weights, after.name), after.eps)
        else:
            factor = weights[f"{after.name}.weight"]
            weight, bias = scaled(weight, factor), bias * factor
        output = after.name
    return weight, bias, output


def fold_branches(network: Network, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Weights as trained to weights as deployed: parallel branches become one convolution (MobileOne, section 3.2).

    Every branch is linear, so the sum of their kernels, each with its batch norm folded and laid at its place, is the
    kernel of the whole. Weights of networks without branches come back as they are.
    """
    deployed = lower(network)
    trained = {node.name: node for node in lower(network, training=True)}
    if all(node.name in trained for node in deployed):
        return dict(weights)
    folded: dict[str, Array] = {}
    for node in deployed:
        if node.name in trained:
            folded |= {key: value for key, value in weights.items() if key.rpartition(".")[0] == node.name}
        elif isinstance(node, Convolution):
            prefix = node.name.removesuffix(".conv")
            branches = [
                _branch(node, trained[end], trained, weights, prefix) for end in trained[f"{prefix}.sum"].inputs
            ]
            for key, parts in zip(("weight", "bias"), zip(*branches, strict=True), strict=True):
                folded[f"{node.name}.{key}"] = np.stack(parts).sum(0, dtype=np.float64).astype(np.float32)
    return folded


def _branch(
    whole: Convolution, norm: Node, trained: Mapping[str, Node], weights: Mapping[str, Array], prefix: str
) -> tuple[Array, Array]:
    """One branch's kernel at its place in the whole's, and its bias."""
    assert isinstance(norm, BatchNorm)
    out, fan_in = whole.shape[0], whole.in_channels // whole.groups
    before = trained.get(norm.inputs[0])
    if isinstance(before, Convolution) and before.name.startswith(f"{prefix}."):
        own = weights[f"{before.name}.weight"]
    else:  # the skip: every channel to itself
        own = np.zeros((out, fan_in, 1, 1), np.float32)
        own[np.arange(out), np.arange(out) % fan_in] = 1
    kernel, bias = fold(own, np.zeros(out, np.float32), norm_of(weights, norm.name), norm.eps)
    if kernel.shape[-1] == whole.kernel:
        return kernel, bias
    placed = np.zeros((out, fan_in, whole.kernel, whole.kernel), np.float32)
    # a 1x1 kernel looks at the pixel where the padding ends
    placed[:, :, whole.pads[0] // whole.dilation, whole.pads[1] // whole.dilation] = kernel[:, :, 0, 0]
    return placed, bias
