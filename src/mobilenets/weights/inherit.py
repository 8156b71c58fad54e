"""A narrower network, or the same at another resolution, that starts from the weights of a wider one.

Channels that must agree form a group: a residual ties the outputs of its rows, a depthwise convolution its input and
output, squeeze-and-excite the map that it scales. Of every group the strongest channels are kept, the same ones
everywhere: by batch norm's weights (as arXiv 1708.06519 prunes). MobileNetV2 cut to 0.9 then names 30 of 100 photos
before any training, against 21 by the filters' norms times those weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from mobilenets.errors import MisuseError
from mobilenets.model import Info, MobileNet, evaluating, with_info
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
    Resize,
    Scale,
    WindowPool,
)
from mobilenets.table.rows import Network, Row, Upsample, with_classes
from mobilenets.weights.load import restore_norm

_FREE = {
    "out", "expand", "expand2", "growth", "groups", "squeeze", "expand1", "expand3", "conv1", "reduce3", "conv3",
    "reduce5", "conv5", "proj", "widths", "filters", "align",
}  # fmt: skip
"""What a width changes in a row, and the weights' own convention; networks are of one family where the rest agrees."""

Index = Tensor
"""Numbers of the source's channels that are kept, in order."""


def inherit(
    network: Network, source: MobileNet, batches: Iterable[Tensor] = (), *, classes: Sequence[str] = ()
) -> MobileNet:
    """A network that starts from the weights of a wider one of its family; in evaluation mode.

    Equal widths give equal weights. Padding, epsilon, a segmenter's way of upsampling and preprocessing (but the
    resolution) come from the source. Layers that give other classes start anew, and `info.recipe` says so: a
    classifier, a detector's class predictors, what classifies a segmenter's pixels.

    Args:
        network: rows of the same operators, kernels and strides, nowhere wider than the source's.
        source: the wider model; it stays as it is.
        batches: normalised images, (n, c, h, w), that batch norm's statistics are estimated on: those of the source
            hold for all its channels only. Without any they stay the source's, and `info.recipe` asks for them:
            `folded` for `restore_norm`, else `estimate` where the widths differ.
        classes: names of the outputs; the source's where there are none and their number is the same.

    Raises:
        MisuseError: another family, a wider network, or channels that cannot be chosen one by one (groups, attention).
    """
    _same_family(network, source.network)
    theirs = source.info.classes
    anew = network.classes != source.network.classes or bool(classes and theirs and tuple(classes) != theirs)
    model = _empty(network, source, tuple(classes) if classes or anew else theirs)
    kept = _Kept(model, source)
    fresh = kept.classifiers if anew else []
    state = model.state_dict()
    for node in model.nodes:
        if node.name not in fresh:
            state |= _taken(node, kept)
    model.load_state_dict(state)
    narrower = any(len(kept.of(name)) < _channels(node) for name, node in kept.source.items() if name in kept.nodes)
    before = source.info.recipe
    folded, estimate = bool(before.get("folded")), narrower or bool(before.get("estimate"))
    batches = iter(batches)
    started = sorted({*before.get("fresh", ()), *fresh})
    if (first := next(batches, None)) is not None:
        seen = chain([first], batches)
        # folded batch norm has no scale of its own to keep: it is given back, statistics and all
        restore_norm(model, seen, fresh=started) if folded else estimate_norm(model, seen)
        folded = estimate = False
    recipe = {
        "folded": folded,
        "fresh": started,
        "inherited_from": source.network.label if narrower else None,
        "estimate": estimate and not folded,
    }
    return with_info(model, recipe={**before, **recipe}).eval()


def by_strength(source: MobileNet) -> MobileNet:
    """The same network, the strongest channels of each layer first: whoever takes the first of them takes the best.

    Raises:
        MisuseError: channels that cannot be moved one by one (groups, attention).
    """
    model = _empty(source.network, source, source.info.classes)
    kept = _Kept(model, source, ranked=True)
    state = model.state_dict()
    for node in model.nodes:
        state |= _taken(node, kept)
    model.load_state_dict(state)
    return with_info(model, recipe=source.info.recipe, metrics=source.info.metrics).eval()


@torch.no_grad()
def estimate_norm(model: MobileNet, batches: Iterable[Tensor]) -> MobileNet:
    """Batch norm's running statistics anew: the mean over batches of each batch's mean and variance.

    Args:
        model: changed in place; its weights stay.
        batches: normalised images, (n, c, h, w); one image has no variance in the last layers, so such batches are
            left out.

    Raises:
        MisuseError: no batch of two images or more.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    seen = 0
    with evaluating(model):
        for norm in norms:
            norm.train()
            norm.momentum = None  # PyTorch's word for a plain mean over batches
        for batch in batches:
            if len(batch) > 1:
                if not seen:
                    for norm in norms:
                        norm.reset_running_stats()
                model(batch)
                seen += 1
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum
    if not seen:
        raise MisuseError("batch norm cannot be estimated without images: give at least one batch of two.")
    return model


def shared_rows(network: Network, source: Network) -> int:
    """How many rows from the first on are the same operators, kernels and strides in both."""
    pairs = zip(network.rows, source.rows, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if _kind(a) != _kind(b)), min(len(network.rows), len(source.rows)))


def _same_family(network: Network, source: Network) -> None:
    ours, theirs = len(network.rows), len(source.rows)
    shared = shared_rows(network, source)
    settings = [(n.in_channels, n.gate, n.squeeze, n.layer_scale) for n in (network, source)]
    if shared == ours == theirs and settings[0] == settings[1]:
        return
    differs = shared < min(ours, theirs)
    where = f"row {shared + 1} differs" if differs else f"{ours} and {theirs} rows, or other settings"
    raise MisuseError(
        f"{network.label} cannot inherit from {source.label}: {where}. Weights go from one table to a narrower one of "
        "the same operators, kernels and strides."
    )


def _kind(row: Row) -> tuple[Any, ...]:
    return (type(row), *(getattr(row, f.name) for f in fields(row) if f.name not in _FREE))


def _empty(network: Network, source: MobileNet, classes: tuple[str, ...]) -> MobileNet:
    """The module to fill: the network under the source's conventions."""
    theirs = source.network
    aligned = any(isinstance(row, Upsample) and row.align for row in theirs.rows)
    rows = tuple(replace(row, align=aligned) if isinstance(row, Upsample) else row for row in network.rows)
    table = replace(network, rows=rows, padding=theirs.padding, bn_eps=theirs.bn_eps, bn_momentum=theirs.bn_momentum)
    preprocessing = replace(source.info.preprocessing, resolution=table.resolution)
    info = Info(classes, preprocessing, task=table.task)
    return MobileNet(table, info=info, dropout=source.dropout, training=source.as_trained)


def _of_classes(network: Network, *, training: bool) -> set[str]:
    """Nodes whose shape follows the number of classes."""
    other = {n.name: n.shape for n in lower(with_classes(network, network.classes + 1), training=training)}
    return {node.name for node in lower(network, training=training) if node.shape != other[node.name]}


class _Kept:
    """Which channels of the source every value of the new network keeps."""

    def __init__(self, model: MobileNet, source: MobileNet, *, ranked: bool = False) -> None:
        self.ranked = ranked
        self.nodes: dict[str, Node] = {node.name: node for node in model.nodes}
        self.source: dict[str, Node] = {node.name: node for node in source.nodes}
        self.weights = source.state_dict()
        self.of_classes = _of_classes(model.network, training=model.as_trained)
        self.parent: dict[str, str] = {}
        for node in model.nodes:
            for other in self._tied(node):
                self.parent[self._root(node.name)] = self._root(other)
        self.members: dict[str, list[str]] = {}
        for name in self.nodes:
            self.members.setdefault(self._root(name), []).append(name)
        self.norms = {node.inputs[0]: node.name for node in source.nodes if isinstance(node, BatchNorm)}
        self.chosen: dict[str, Index] = {}

    @property
    def classifiers(self) -> list[str]:
        """Layers that give a value for each class."""
        layers = (n.name for n in self.nodes.values() if isinstance(n, Convolution | FullyConnected))
        return [name for name in layers if name in self.of_classes]

    def of(self, name: str) -> Index:
        """Channels of the source that a value keeps."""
        root = self._root(name)
        if root not in self.chosen:
            self.chosen[root] = self._choose(root)
        return self.chosen[root]

    def _root(self, name: str) -> str:
        while name in self.parent and self.parent[name] != name:
            name = self.parent[name]
        return name

    def _tied(self, node: Node) -> tuple[str, ...]:
        """Inputs whose channels are the output's, one by one."""
        match node:
            case Convolution() if node.depthwise and node.shape[0] == node.in_channels:
                return node.inputs
            case BatchNorm() | Activation() | GlobalPool() | WindowPool() | Scale() | Multiply():
                return node.inputs
            case Add():
                # a narrow table may have a residual that the wide one lacks, where rounding made channels equal: its
                # sum is new, and ties nothing that the source had apart
                return node.inputs if node.name in self.source else node.inputs[:1]
            case Resize():
                return node.inputs[:1]
            case _:
                return ()

    def _choose(self, root: str) -> Index:
        members = self.members.get(root, [])
        if root == INPUT or not members:
            return torch.arange(self.nodes_in())
        derived = next((d for name in members if (d := self._derived(self.nodes[name])) is not None), None)
        if derived is not None:
            return derived
        shared = next(name for name in members if name in self.source)
        wanted, found = _channels(self.nodes[shared]), _channels(self.source[shared])
        free = not self.of_classes.isdisjoint(members)
        if wanted > found and not free:
            raise MisuseError(
                f"{shared} has {wanted} channels, its source {found}: weights go to narrower networks only."
            )
        if free or (wanted >= found and not self.ranked):
            return torch.arange(found)
        score = sum((self._score(name) for name in members if name in self.source), torch.zeros(found))
        if self.ranked:
            return score.argsort(descending=True, stable=True)
        if not score.any():
            raise MisuseError(f"{shared}: its {found} channels cannot be chosen from one by one; keep them all.")
        return score.argsort(descending=True, stable=True)[:wanted].sort().values

    def nodes_in(self) -> int:
        """Channels of the image."""
        return next(n.in_channels for n in self.nodes.values() if isinstance(n, Convolution) and INPUT in n.inputs)

    def _derived(self, node: Node) -> Index | None:
        """Channels that follow from those of the inputs."""
        match node:
            case Concat() if (
                len(node.shape) == 3
            ):  # a detector's predictions are joined over the maps, not over channels
                parts, offset = [], 0
                for name in node.inputs:
                    parts.append(self.of(name) + offset)
                    offset += _channels(self.source[name])
                return torch.cat(parts)
            case Flatten():
                source, pixels = self.source[node.name], _pixels(self.nodes[node.inputs[0]])
                if _pixels(self.source[node.inputs[0]]) != pixels:
                    raise MisuseError(
                        f"{node.name}: its source has {source.shape[0]} values at another resolution; keep the "
                        "resolution of the weights."
                    )
                return (self.of(node.inputs[0])[:, None] * pixels + torch.arange(pixels)).flatten()
            case Convolution() if node.depthwise and node.shape[0] != node.in_channels:
                times = node.shape[0] // node.in_channels
                return (self.of(node.inputs[0])[:, None] * times + torch.arange(times)).flatten()
            case _:
                return None

    def _score(self, name: str) -> Tensor:
        """How strong a layer makes each channel, in units of the layer's mean: batch norm's weight.

        It is the deviation of the output, whatever the filter's norm. Where there is no batch norm, or all its weights
        are alike (never trained, or folded away), the norm of the filter.
        """
        node = self.source[name]
        if not isinstance(node, Convolution | FullyConnected):
            return torch.zeros(_channels(node))
        strength = self.weights[f"{name}.weight"].flatten(1).norm(dim=1)
        if (bn := self.norms.get(name)) is not None:
            slope = self.weights[f"{bn}.weight"].abs()
            strength = strength if (slope == slope[0]).all() else slope
        score: Tensor = strength / strength.mean().clamp(min=1e-12)
        return score


def _channels(node: Node) -> int:
    """Length of a value's channel axis: the first of a map, the last of vectors and tokens."""
    return node.shape[0] if len(node.shape) == 3 else node.shape[-1]


def _pixels(node: Node) -> int:
    return node.shape[1] * node.shape[2]


def _taken(node: Node, kept: _Kept) -> dict[str, Tensor]:
    """A node's tensors from the source's, the kept channels only."""
    found = {key: value for key, value in kept.weights.items() if key.rpartition(".")[0] == node.name}
    if not found:
        return {}
    before, out = kept.source[node.name], kept.of(node.name)
    match node:
        case BatchNorm() | Scale():
            return {k: v[out] if v.ndim else v for k, v in found.items()}
        case Convolution() if node.depthwise:
            return {k: v[out] for k, v in found.items()}
        case FullyConnected() | Convolution(groups=1) if getattr(before, "groups", 1) == 1:
            enters = kept.of(node.inputs[0])
            return {k: v[out][:, enters] if v.ndim > 1 else v[out] for k, v in found.items()}
        case _:
            _all_kept(node, kept)
            return found


def _all_kept(node: Node, kept: _Kept) -> None:
    """Grouped convolutions, attention and tokens are taken as they are, or not at all."""
    for name in (node.name, *node.inputs):
        if name in kept.source and not torch.equal(kept.of(name), torch.arange(_channels(kept.source[name]))):
            raise MisuseError(f"{node.name}: its channels cannot be chosen from one by one; keep the source's width.")
