"""Cross-layer equalization: channels of neighbouring layers share the range that int8 has, and nothing else changes.

Paper: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (arXiv:1906.04721),
section 4.1. A positive factor passes through a ReLU, or through nothing, so a channel can be made smaller in one layer
and larger in the next. The paper turns ReLU6 into ReLU for that; here a ReLU6 stays, and a channel behind it is only
moved as far as its largest value on the calibration images leaves the clip at 6 alone. h-swish lets no factor through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenets.model import MobileNet, arrays, evaluating, normalise
from mobilenets.onnx.weights import Array, chains_of, deployed_weight
from mobilenets.table.lower import lower
from mobilenets.table.nodes import Activation, BatchNorm, Convolution, FullyConnected, Node, Scale
from mobilenets.table.rows import Act

ROUNDS = 20
"""Passes over all pairs; a layer in the middle of two pairs is moved by both."""
MARGIN = 1.5
"""Images that were not seen may have values that much larger."""
LARGEST = 64.0
"""Factors beyond it would only serve channels that are all but dead."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers between which factors may pass.

    Attributes:
        first: the convolution whose output channels become smaller.
        second: the only reader of them, whose input channels become larger.
        clipped: the activation between them where it is a ReLU6, by its address.
    """

    first: str
    second: str
    clipped: str | None = None


def equalize(model: MobileNet, images: NDArray[np.uint8]) -> MobileNet:
    """The same function with weights that int8 loses less of; the model itself stays.

    Exact where ReLU or nothing lies between two layers. Behind a ReLU6 it is exact on images whose values stay within
    those of the calibration images; a channel that reached the clip there is not moved.

    Args:
        model: with batch norm, or folded.
        images: uint8 (n, h, w, c), for the largest values behind each ReLU6.
    """
    weights = arrays(model)
    nodes = {node.name: node for node in lower(model.network)}
    pairs = pairs_of(tuple(nodes.values()))
    room = _room(model, [pair.clipped for pair in pairs if pair.clipped], images)
    for _ in range(ROUNDS):
        moved = 0.0
        for pair in pairs:
            factor = _factor(nodes, pair, weights, room)
            _apply(nodes, pair, weights, factor)
            if pair.clipped:
                room[pair.clipped] = room[pair.clipped] * factor
            moved = max(moved, float(np.abs(np.log(factor)).max(initial=0)))
        if moved < 1e-3:
            break
    made = MobileNet(model.network, info=model.info)
    made.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    return made.eval()


def pairs_of(nodes: Sequence[Node]) -> list[Pair]:
    """Neighbouring layers with one reader between each step, in network order."""
    named = {node.name: node for node in nodes}
    uses = Counter(chain.from_iterable(node.inputs for node in nodes))
    chains = chains_of(nodes)
    pairs = []
    for node in nodes:
        if isinstance(node, Convolution | FullyConnected) and (found := _before(node, named, uses)):
            first, between = found
            if not (chains.get(first) or getattr(named[first], "bias", True)):
                continue  # nothing holds its bias, which is then 0: fine, but no norm to move either
            if isinstance(node, Convolution) and node.groups not in (1, node.in_channels):
                continue
            clipped = between.name if between is not None and between.function is Act.RELU6 else None
            pairs.append(Pair(first, node.name, clipped))
    return pairs


def _before(
    node: Convolution | FullyConnected, named: dict[str, Node], uses: Counter[str]
) -> tuple[str, Activation | None] | None:
    """The layer that alone feeds a layer, through a norm, a factor, and at most one activation that scales."""
    between: Activation | None = None
    at = named.get(node.inputs[0])
    while at is not None and uses[at.name] == 1:
        match at:
            case Convolution() | FullyConnected():
                return at.name, between
            case BatchNorm() | Scale() if isinstance(at, BatchNorm | Scale):
                pass
            case Activation() if between is None and at.function in (Act.RELU, Act.RELU6, Act.NONE):
                between = at
            case _:
                return None
        at = named.get(at.inputs[0])
    return None


def _room(model: MobileNet, addresses: list[str], images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """How far the largest value of each channel stays from the clip at 6: 6 over it, or 1 where it comes near."""
    if not addresses:
        return {}
    highest = {address: np.zeros(1) for address in addresses}
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(images), 8):
            pixels = torch.from_numpy(images[start : start + 8])
            for address, value in model.taps(normalise(pixels, model.info.preprocessing), addresses).items():
                highest[address] = np.maximum(highest[address], value.amax((0, 2, 3)).double().numpy())
    return {address: 6.0 / np.clip(MARGIN * value, 1e-6, 6.0) for address, value in highest.items()}


def _factor(
    nodes: dict[str, Node], pair: Pair, weights: dict[str, Array], room: dict[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """What the first layer's channels are divided by: so that both have the same range, where the clip allows."""
    first, second = _ranges(nodes, pair, weights)
    alive = (first > 1e-8) & (second > 1e-8)
    factor = np.where(alive, np.sqrt(np.where(alive, first, 1) / np.where(alive, second, 1)), 1.0)
    factor = np.clip(factor, 1 / LARGEST, LARGEST)
    if pair.clipped:
        left = room[pair.clipped]
        factor = np.where(left <= 1.0 + 1e-9, 1.0, np.maximum(factor, 1 / left))
    return factor


def _ranges(
    nodes: dict[str, Node], pair: Pair, weights: dict[str, Array]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest weight of each channel between the two layers: where it leaves the first, where it enters the second."""
    chains = chains_of(tuple(nodes.values()))
    folded = []
    for address in (pair.first, pair.second):
        node = nodes[address]
        assert isinstance(node, Convolution | FullyConnected)
        weight, _, _ = deployed_weight(node, chains.get(address, ()), weights)
        folded.append(np.abs(weight.reshape(*weight.shape[:2], -1)).max(2).astype(np.float64))
    leaving, entering = folded[0].max(1), folded[1]
    second = nodes[pair.second]
    depthwise = isinstance(second, Convolution) and second.depthwise
    return leaving, entering[:, 0].reshape(len(leaving), -1).max(1) if depthwise else entering.max(0)


def _apply(nodes: dict[str, Node], pair: Pair, weights: dict[str, Array], factor: NDArray[np.float64]) -> None:
    """Divide what the first layer gives, in its last norm or itself, and multiply what the second reads."""
    for key in _giving(tuple(nodes.values()), pair.first):
        if key in weights:
            shape = (-1, *(1,) * (weights[key].ndim - 1))
            weights[key] = (weights[key] / factor.reshape(shape)).astype(np.float32)
    key, second = f"{pair.second}.weight", nodes[pair.second]
    weight = weights[key]
    if isinstance(second, Convolution) and second.depthwise:
        repeated = np.repeat(factor, len(weight) // len(factor))
        weights[key] = (weight * repeated.reshape(-1, 1, 1, 1)).astype(np.float32)
    else:
        weights[key] = (weight * factor.reshape(1, -1, *(1,) * (weight.ndim - 2))).astype(np.float32)


def _giving(nodes: Sequence[Node], address: str) -> Iterator[str]:
    """Keys of the arrays that scale a layer's output: of the last thing folded into it, or its own."""
    chained = chains_of(nodes).get(address, ())
    last = chained[-1].name if chained else address
    yield f"{last}.weight"
    yield f"{last}.bias"
