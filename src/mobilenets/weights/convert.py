"""Arrays under another project's names to ours: one mapping an origin, complete both ways or refused with a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError, UnknownNameError
from mobilenets.onnx.weights import NORM_KEYS
from mobilenets.table.lower import lower
from mobilenets.table.nodes import BatchNorm, Convolution, FullyConnected, Node, row_of
from mobilenets.table.rows import Bottleneck, BoxPredictor, DepthwiseSeparable, Network, Upsample, with_classes
from mobilenets.weights.names import ORIGINS, Names, Origin

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Converted:
    """Weights under our names.

    Attributes:
        arrays: float32 by state-dict key; head rows that the file does not hold are not there.
        origin: whose names they had.
        folded: batch norm was folded into the weights: its arrays here change nothing, and training needs it back.
        classes: outputs of the classifier, a classifier's or detector's background left out; 0 where the file has none.
    """

    arrays: dict[str, Array]
    origin: Origin
    folded: bool
    classes: int


def convert(network: Network, found: Mapping[str, Array], *, where: str, origin: str | None = None) -> Converted:
    """Give arrays our names and layouts.

    Args:
        network: the table that they are of; the number of classes may differ.
        found: arrays by the origin's names. What stands outside the network's scope (boxes, anchors, other heads) is
            left alone, and so may the rows behind its last block be missing, all of them together.
        where: the file, for messages.
        origin: whose names these are; found out where None.

    Raises:
        UnknownNameError: no such origin.
        CheckpointError: no origin's names, or arrays that lack, exceed or do not fit; the message lists both sides.
    """
    chosen = _origin(network, found, where, origin)
    names = chosen.names(network)
    found = _in_scope(found, names)
    folded = not any(key.endswith(chosen.words.norm[2]) for key in found)
    present = [node for node in lower(network) if node.name in names]
    if not any(key.startswith(names[node.name]) for node in _head(network, present) for key in found):
        present = [node for node in present if node not in _head(network, present)]
    arrays: dict[str, Array] = {}
    used: set[str] = set()
    problems: list[str] = []
    for node in present:
        for key, theirs in _keys(node, names[node.name], chosen, folded=folded).items():
            if theirs not in found:
                problems.append(f"  - {theirs}")
                continue
            used.add(theirs)
            arrays[f"{node.name}.{key}"] = _laid_out(found[theirs], node, key, tensorflow="/" in theirs)
        if folded and isinstance(node, BatchNorm) and f"{node.name}.bias" in arrays:
            arrays |= _neutral(node, arrays[f"{node.name}.bias"], chosen.conventions(network).bn_eps)
    problems += [f"  + {key}" for key in sorted(set(found) - used) if not key.endswith("num_batches_tracked")]
    classes = _detector_classes(network, arrays) or _drop_background(network, present, arrays)
    if network.backbone and classes:
        fitting = {node.name: node for node in lower(with_classes(network, classes))}
        present = [fitting[node.name] for node in present]
    problems += _misfits(present, arrays)
    if problems:
        shown = "\n".join(problems[:20]) + (f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise CheckpointError(
            f"{where}: its arrays are not those of {network.label} under {chosen.name}'s names (- is missing, + is too "
            f"much, ~ has another shape):\n{shown}"
        )
    return Converted(arrays, chosen, folded, classes)


def _origin(network: Network, found: Mapping[str, Array], where: str, asked: str | None) -> Origin:
    """The origin asked for, or the one most of whose names are in the file."""
    if asked is not None and asked not in ORIGINS:
        raise UnknownNameError("origin of weights", asked, ORIGINS, hint=f"Known: {', '.join(ORIGINS)}.")
    backbone = network.backbone or network.name
    able = [o for o in ORIGINS.values() if backbone in o.networks and asked in (None, o.name)]
    able = [o for o in able if o.heads or not network.backbone]
    if not able:
        raise CheckpointError(f"{where}: {asked or 'no origin'} has no published {network.name} that is known here.")

    def matching(origin: Origin) -> int:
        names = origin.names(network)
        inside = _in_scope(found, names)
        return sum(any(key.startswith(prefix) for key in inside) for prefix in set(names.values()))

    best = max(able, key=matching)
    if not matching(best):
        shown = ", ".join(sorted(found)[:3])
        raise CheckpointError(
            f"{where}: no array in it has a name of {network.name} that is known here (it begins with {shown}). Known "
            f"naming schemes: {', '.join(o.name for o in able)}."
        )
    return best


def _in_scope(found: Mapping[str, Array], names: Names) -> dict[str, Array]:
    """Arrays of the network itself: TensorFlow's detection and DeepLab files hold others beside its scope.

    Those of a head have their own names there, which stay.
    """
    prefix = next(iter(names.values()))
    if "/" not in prefix:
        return dict(found)
    scope = prefix.partition("/")[0] + "/"
    # detection wraps the scope in one of the same name, and puts layers of its own into the outer one
    wrapped = any(scope + scope in key for key in found)
    inside = scope + scope if wrapped else scope
    heads = tuple(f"{name}/" for name in names.values() if not name.startswith(scope))
    return {
        key if key.startswith(heads) else key[key.rindex(scope) :]: value
        for key, value in found.items()
        if inside in key or key.startswith(heads)
    }


def _head(network: Network, nodes: list[Node]) -> list[Node]:
    """Nodes behind the last block: what a detector or a segmenter does not keep."""
    last = max(i for i, row in enumerate(network.rows, 1) if isinstance(row, Bottleneck | DepthwiseSeparable))
    return [node for node in nodes if row_of(node) > last]


def _keys(node: Node, prefix: str, origin: Origin, *, folded: bool) -> dict[str, str]:
    """Our key -> their name of each array of a node; batch norm that is folded leaves its shift as the bias."""
    words = origin.words
    match node:
        case BatchNorm() if folded:
            return {"bias": prefix + words.bias}
        case BatchNorm():
            return {key: prefix + word for key, word in zip(NORM_KEYS, words.norm, strict=True)}
        case Convolution(bias=bias):
            weight = {"weight": prefix + (words.depthwise if node.depthwise else words.weight)}
            return weight | ({"bias": prefix + words.bias} if bias else {})
        case FullyConnected():
            return {"weight": prefix + words.weight, "bias": prefix + words.bias}
        case _:
            return {}


def _laid_out(value: Array, node: Node, key: str, *, tensorflow: bool) -> Array:
    """float32 in our layout: TensorFlow's HWIO and HWC1 become OIHW; a 1x1 convolution and a matrix are one another."""
    value = value.astype(np.float32)
    if key != "weight" or isinstance(node, BatchNorm):
        return value
    if tensorflow and value.ndim == 4:
        depthwise = isinstance(node, Convolution) and node.depthwise
        value = value.transpose(2, 3, 0, 1) if depthwise else value.transpose(3, 2, 0, 1)
    if isinstance(node, FullyConnected):
        return value.reshape(value.shape[0], -1)
    return value.reshape(*value.shape, 1, 1) if value.ndim == 2 else value


def _neutral(node: BatchNorm, bias: Array, eps: float) -> dict[str, Array]:
    """A batch norm that only adds the bias: right for evaluation, wrong for training until it is calibrated."""
    channels = node.shape[0]
    values = (np.full(channels, np.sqrt(1 + eps)), bias, np.zeros(channels), np.ones(channels))
    return {f"{node.name}.{key}": np.asarray(v, np.float32) for key, v in zip(NORM_KEYS, values, strict=True)}


def _detector_classes(network: Network, arrays: dict[str, Array]) -> int:
    """Classes of a detector, 0 where it is none: TensorFlow's arrays are given our order.

    TensorFlow puts a background before each anchor's classes, and y before x, height before width.
    """
    row, at = network.rows[-1], f"row{len(network.rows):02d}"
    if not isinstance(row, BoxPredictor):
        return 0
    classes = 0
    for i, anchors in enumerate(row.anchors, 1):
        for part, order in (("boxes", [1, 0, 3, 2]), ("classes", slice(1, None))):
            for key in (f"{at}.{part}{i}.conv.weight", f"{at}.{part}{i}.conv.bias"):
                value = arrays.get(key)
                if value is None or len(value) % anchors or (part == "boxes" and len(value) != 4 * anchors):
                    continue  # it is missing, or of another number of anchors: both are listed as misfits
                values = value.reshape(anchors, -1, *value.shape[1:])[:, order]
                arrays[key] = values.reshape(-1, *value.shape[1:])
                classes = values.shape[1] if part == "classes" else classes
    return classes


def _drop_background(network: Network, nodes: list[Node], arrays: dict[str, Array]) -> int:
    """Outputs of the classifier, without the background class that TensorFlow puts first of 1001."""
    head = nodes[-1]
    weight = arrays.get(f"{head.name}.weight")
    if not isinstance(head, FullyConnected) or weight is None:
        pixels = [arrays.get(f"{node.name}.weight") for node in nodes if isinstance(node, Convolution)][-1]
        return len(pixels) if isinstance(network.rows[-1], Upsample) and pixels is not None else 0
    if len(weight) == 1001:
        for key in ("weight", "bias"):
            arrays[f"{head.name}.{key}"] = arrays[f"{head.name}.{key}"][1:]
    return len(arrays[f"{head.name}.weight"])


def _misfits(nodes: list[Node], arrays: Mapping[str, Array]) -> list[str]:
    """Arrays of another shape than their nodes' (the classifier's number of outputs is free)."""
    wrong = []
    for node in nodes:
        weight = arrays.get(f"{node.name}.weight")
        if weight is None:
            continue
        match node:
            case Convolution():
                wanted: tuple[int, ...] = (node.shape[0], node.in_channels // node.groups, node.kernel, node.kernel)
            case FullyConnected():
                wanted = (weight.shape[0], node.in_features)
            case _:
                wanted = (node.shape[0],)
        if weight.shape != wanted:
            wrong.append(f"  ~ {node.name}.weight: expected {_shape(wanted)}, found {_shape(weight.shape)}")
    return wrong


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
