"""Which nodes int8 hurts: the signal over the error of each node's values, in decibels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.drawing import figure, save_figure
from mobilenets.model import MobileNet
from mobilenets.onnx.quantized import OPERATORS, float_ends
from mobilenets.precision import Scheme
from mobilenets.quantization.taps import Images, Twins, Values, batches, tapped, twins
from mobilenets.table.lower import lower
from mobilenets.table.nodes import Activation, Flatten

SHOWN = 5
"""Nodes whose names the picture and the texts give."""
_WORST, _PLAIN = "#c0392b", "#9db4c0"


@dataclass(frozen=True, slots=True)
class NodeError:
    """What int8 does to one node.

    Attributes:
        address: of the node.
        snr_db: of its values where all nodes are int8: what has piled up so far.
        alone_db: of the logits (and box codes) where this node alone is int8: what it costs.
    """

    address: str
    snr_db: float
    alone_db: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What int8 does to every node.

    Attributes:
        nodes: in network order.
        snr_db: of the logits where all nodes are int8.
        images: how many it was measured on.
    """

    nodes: tuple[NodeError, ...]
    snr_db: float
    images: int

    def worst(self, count: int) -> tuple[str, ...]:
        """Addresses of the nodes that cost most, the worst first."""
        ranked = sorted(self.nodes, key=lambda node: node.alone_db)
        return tuple(node.address for node in ranked[:count])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"worst": list(self.worst(SHOWN))}


def sensitivity(
    model: MobileNet,
    images: Images,
    scheme: Scheme | None = None,
    *,
    calibration: Images | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Signal-to-noise ratios of a model's nodes in int8, against float: `10 log10(sum x^2 / sum (x - x8)^2)`.

    Args:
        model: float.
        images: uint8 (n, h, w, c), to measure on; 16 tell the nodes apart.
        scheme: how int8 is made; the default where None.
        calibration: images that ranges are taken from; `images` where None.
        on_progress: called with (nodes done, all).

    Raises:
        MisuseError: no images, or images of another shape.
    """
    pair = twins(model, images if calibration is None else calibration, scheme or Scheme())
    whole = pair.int8()
    nodes = _quantized(model, pair)
    piled = _piled(pair, whole, nodes, images)
    ends = _ends(pair)
    reference = _run(pair.proto, ends, images)
    found = []
    for done, address in enumerate(nodes, 1):
        alone = _snr(reference, _run(pair.int8(only=address), ends, images))
        found.append(NodeError(address, piled[address], alone))
        if on_progress is not None:
            on_progress(done, len(nodes))
    return Sensitivity(tuple(found), _snr(reference, _run(whole, ends, images)), len(images))


def draw_sensitivity(result: Sensitivity, path: Path, title: str) -> None:
    """Two bars a node, in network order: what it costs the logits alone, and what has piled up in its own values.

    Errors are in percent of the signal (root mean square), so that what hurts is what is long; the worst are named.
    """
    nodes, worst = result.nodes, set(result.worst(SHOWN))
    rows = range(len(nodes))
    made = figure(8.5, max(3.0, 0.165 * len(nodes) + 1.3))
    alone, piled = made.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    colours = [_WORST if node.address in worst else _PLAIN for node in nodes]
    alone.barh(rows, [_percent(node.alone_db) for node in nodes], color=colours, height=0.8)
    piled.barh(rows, [_percent(node.snr_db) for node in nodes], color=colours, height=0.8)
    alone.set_title("error of the logits, this node alone in int8", fontsize=8, loc="left", color="#555555")
    piled.set_title("error of its values, all in int8", fontsize=8, loc="left", color="#555555")
    alone.set_yticks(rows, [node.address for node in nodes], fontsize=6.5)
    for label, node in zip(alone.get_yticklabels(), nodes, strict=True):
        if node.address in worst:
            label.set_color(_WORST)
            label.set_fontweight("bold")
    for row, node in zip(rows, nodes, strict=True):
        if node.address in worst:
            told = f" {_percent(node.alone_db):.1f} %"
            alone.text(_percent(node.alone_db), row, told, fontsize=6.5, va="center", color=_WORST)
    alone.set_ylim(len(nodes) - 0.4, -0.6)
    for axes in (alone, piled):
        axes.set_xlabel("error, % of the signal", fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
        axes.margins(x=0.12)
        axes.spines[["top", "right"]].set_visible(False)
    made.suptitle(f"{title} ({result.images} images)", fontsize=10, x=0.01, ha="left")
    save_figure(made, path)


def _percent(decibels: float) -> float:
    """Error over signal, root mean square, from the signal-to-noise ratio."""
    return float(100 * 10 ** (-decibels / 20))


def _quantized(model: MobileNet, pair: Twins) -> list[str]:
    """Addresses of the nodes that become int8, in order; what folds into another is not among them."""
    kinds = {node.name: node.op_type for node in pair.proto.graph.node}
    left = pair.scheme.keep_float | float_ends(lower(model.network))[1]
    found, seen = [], set()
    for node in lower(model.network):
        value = pair.written[node.name]
        if value in seen or isinstance(node, Activation | Flatten) or node.name in left:
            continue
        if kinds.get(value) in OPERATORS:
            found.append(node.name)
            seen.add(value)
    return found


def _piled(pair: Twins, whole: bytes, nodes: list[str], images: Images) -> dict[str, float]:
    """Signal over error of each node's values where all are int8."""
    import onnx

    inside = {node.name: node.output[0] for node in onnx.load_from_string(whole).graph.node}
    values = {address: inside[pair.written[address]] for address in nodes}
    before, after = tapped(pair.proto, list(values.values())), tapped(whole, list(values.values()))
    signal, error = np.zeros(len(nodes)), np.zeros(len(nodes))
    for batch in batches(images):
        for i, (reference, found) in enumerate(zip(before(batch), after(batch), strict=True)):
            signal[i] += float(np.square(reference, dtype=np.float64).sum())
            # what a later activation becomes part of has no lower end of its own here
            error[i] += float(np.square(reference - np.clip(found, reference.min(), reference.max())).sum())
    return {address: _decibels(signal[i], error[i]) for i, address in enumerate(nodes)}


def _ends(pair: Twins) -> list[str]:
    """Names of the values that the outputs are made of: the logits, and a detector's box codes."""
    given = {output.name for output in pair.proto.graph.output}
    return [node.input[0] for node in pair.proto.graph.node if given & set(node.output)]


def _run(model: Any, values: list[str], images: Images) -> list[Values]:
    run = tapped(model, values)
    return [np.concatenate(parts) for parts in zip(*(run(batch) for batch in batches(images)), strict=True)]


def _snr(reference: list[Values], found: list[Values]) -> float:
    """Of several values, the mean of their errors, each as a part of its own signal."""
    parts = [
        float(np.square(right - value).sum()) / max(float(np.square(right).sum()), 1e-30)
        for right, value in zip(reference, found, strict=True)
    ]
    return _decibels(1.0, float(np.mean(parts)))


def _decibels(signal: float, error: float) -> float:
    if error == 0:
        return math.inf
    return 10 * math.log10(max(signal, 1e-30) / error)
