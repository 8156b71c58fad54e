"""Published weights from a local safetensors file into a model, with the conventions that they were trained under."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.model import MobileNet, build, evaluating, with_info
from mobilenets.model.store import read_safetensors
from mobilenets.preprocessing import Interpolation, Preprocessing
from mobilenets.table.nodes import BatchNorm
from mobilenets.table.rows import Network, Upsample
from mobilenets.weights.channels import with_channels
from mobilenets.weights.convert import Converted, convert
from mobilenets.weights.names import Conventions
from mobilenets.zoo import network as network_by_name


def load_weights(
    network: Network | str,
    path: str | Path,
    *,
    classes: int | Sequence[str] | None = None,
    origin: str | None = None,
    conventions: Conventions | None = None,
) -> MobileNet:
    """A model with the published weights of a file, in evaluation mode.

    The conventions come with them: padding, batch norm's epsilon, mean, standard deviation, crop and interpolation. A
    classifier of another number of classes than asked for starts anew, as do head rows that the file does not hold;
    `info.recipe` says so. Other input channels than three are served as `with_channels` does it.

    Args:
        network: a table or a name; its width must be the weights'.
        path: a safetensors file with the names of timm, torchvision, TensorFlow or transformers.
        classes: number of outputs, or their names; None keeps the file's.
        origin: whose names they are; found out where None.
        conventions: None takes the origin's usual ones. What the file's metadata names wins over both.

    Raises:
        MisuseError: no such file, a pickle, or two input channels.
        UnknownNameError: no such network or origin.
        CheckpointError: a damaged file, or arrays that are not this network's.
    """
    path = Path(path)
    table = network_by_name(network) if isinstance(network, str) else network
    tensors, metadata = read_safetensors(path)
    arrays = {key: tensor.float().numpy() for key, tensor in tensors.items()}
    converted = convert(replace(table, in_channels=3), arrays, where=str(path), origin=origin)
    chosen = _conventions(conventions or converted.origin.conventions(table), metadata)
    model = _model(table, converted, chosen, classes)
    state = model.state_dict()
    kept = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in converted.arrays.items()}
    if converted.classes and converted.classes != model.network.classes:
        kept = {k: v for k, v in kept.items() if v.shape == state[k].shape}  # all but the classifier
    fresh = sorted({k.rpartition(".")[0] for k in state if k not in kept and not k.endswith("num_batches_tracked")})
    model.load_state_dict(state | kept)
    recipe = {"weights": str(path), "origin": converted.origin.name, "folded": converted.folded, "fresh": fresh}
    return with_channels(with_info(model, recipe=recipe), table.in_channels).eval()


def load_anchors(path: str | Path) -> NDArray[np.float32]:
    """The anchors that a TensorFlow detector's file brings: (anchors, 4), centre x, centre y, width, height.

    `heads.anchors` computes them. Those of a quantized model are rounded, and its answers hold for the rounded ones.

    Raises:
        MisuseError: no such file.
        CheckpointError: a damaged file, or one without anchors.
    """
    tensors, _ = read_safetensors(Path(path))
    found = tensors.get("anchors")
    if found is None or found.ndim != 2 or found.shape[1] != 4:
        raise CheckpointError(f"{path}: it holds no `anchors` of shape (n, 4): take `heads.anchors(network)`.")
    return found.float().numpy()[:, [1, 0, 3, 2]]  # y x h w to x y w h


def _model(
    table: Network, converted: Converted, conventions: Conventions, classes: int | Sequence[str] | None
) -> MobileNet:
    """A model of three input channels that runs as the weights want it."""
    rows = tuple(replace(row, align=conventions.align) if isinstance(row, Upsample) else row for row in table.rows)
    table = replace(table, rows=rows, in_channels=3, padding=conventions.padding, bn_eps=conventions.bn_eps)
    shaping = Preprocessing.of(table).shaping
    preprocessing = Preprocessing(
        table.resolution, conventions.crop if shaping == "crop" else 1.0, conventions.mean, conventions.std,
        conventions.interpolation, shaping,
    )  # fmt: skip
    if classes is None:
        classes = converted.classes or table.classes
    return build(table, classes, preprocessing=preprocessing)


def _conventions(usual: Conventions, metadata: dict[str, str]) -> Conventions:
    """The usual conventions with those that the file's metadata names."""
    interpolation = metadata.get("interpolation", "")
    (crop,) = _numbers(metadata, "crop", (usual.crop,))
    return Conventions(
        padding="same" if "same" in metadata.get("padding", "") else usual.padding,
        bn_eps=usual.bn_eps,
        mean=_numbers(metadata, "mean", usual.mean),
        std=_numbers(metadata, "std", usual.std),
        crop=crop if 0 < crop <= 1 else usual.crop,
        interpolation=next((k for k in get_args(Interpolation) if k == interpolation), usual.interpolation),
        align=usual.align,
    )


def _numbers(metadata: dict[str, str], key: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    """The comma-separated numbers of a key; the usual ones where they are not there, not numbers or not as many."""
    try:
        found = tuple(float(v) for v in metadata[key].split(","))
    except (KeyError, ValueError):
        return usual
    return found if len(found) == len(usual) else usual


@torch.no_grad()
def restore_norm(model: MobileNet, batches: Iterable[Tensor], *, fresh: Collection[str] = ()) -> MobileNet:
    """Give batch norm back to weights that it was folded into, by the user's own images; outputs stay what they were.

    A folded layer computes w x + b. With the mean m and the variance v of w x over some images, batch norm of weight
    sqrt(v + eps), bias b + m and statistics m and v computes the same, and can be trained. Loaded as mean 0 and
    variance 1 instead, its first training step would replace statistics that never were, and wreck the features.

    Args:
        model: with neutral batch norm, as `load_weights` leaves it where `info.recipe["folded"]`; changed in place.
        batches: normalised images, (n, c, h, w), at least one batch.
        fresh: nodes that start anew; their batch norm never was folded, and stays as it starts.

    Raises:
        MisuseError: no images.
    """
    sources = {n.name: n.inputs[0] for n in model.nodes if isinstance(n, BatchNorm) and n.name not in fresh}
    norms = {name: model.get_submodule(name) for name in sources}
    sums: dict[str, tuple[Tensor, Tensor, int]] = {}
    with evaluating(model):
        for batch in batches:
            taps = model.taps(batch, sources.values())
            for name, source in sources.items():
                value = taps[source].double().transpose(0, 1).flatten(1)
                total, squares, count = sums.get(name, (torch.zeros(()), torch.zeros(()), 0))
                sums[name] = (total + value.sum(1), squares + (value**2).sum(1), count + value.shape[1])
    if not sums:
        raise MisuseError("batch norm cannot be restored without images: give at least one batch.")
    for name, (total, squares, count) in sums.items():
        norm = norms[name]
        assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d)
        assert norm.running_mean is not None and norm.running_var is not None
        mean = total / count
        variance = (squares / count - mean**2).clamp(min=0)
        # neutral as loaded: weight w0 / sqrt(1 + eps) is 1 and the shift is the bias
        shift = norm.bias.double() - norm.running_mean.double() * norm.weight / (norm.running_var + norm.eps).sqrt()
        slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        norm.weight.copy_(slope * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + slope * mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    return model
