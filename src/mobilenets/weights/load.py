"""Published weights from a local safetensors file into a model, with the conventions that they were trained under."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mobilenets.errors import MisuseError
from mobilenets.model import MobileNet, build, evaluating
from mobilenets.model.store import read_safetensors
from mobilenets.preprocessing import Preprocessing
from mobilenets.table.nodes import BatchNorm
from mobilenets.table.rows import Network, with_classes
from mobilenets.weights.convert import Converted, convert
from mobilenets.zoo import network as network_by_name


def load_weights(
    network: Network | str,
    path: str | Path,
    *,
    classes: int | Sequence[str] | None = None,
    origin: str | None = None,
    crop: float = 0.875,
) -> MobileNet:
    """A model with the published weights of a file, in evaluation mode.

    The origin's conventions come with them: padding, batch norm's epsilon, mean and standard deviation (the file's own
    where its metadata names them). A classifier of another number of classes than asked for starts anew, as do head
    rows that the file does not hold; `info.recipe` says so.

    Args:
        network: a table or a name; its width and resolution must be the weights'.
        path: a safetensors file with the names of timm, torchvision, TensorFlow or transformers.
        classes: number of outputs, or their names; None keeps the file's.
        origin: whose names they are; found out where None.
        crop: part of the resized short side that the origin keeps.

    Raises:
        MisuseError: no such file, or a pickle.
        UnknownNameError: no such network or origin.
        CheckpointError: a damaged file, or arrays that are not this network's.
    """
    path = Path(path)
    table = network_by_name(network) if isinstance(network, str) else network
    tensors, metadata = read_safetensors(path)
    arrays = {key: tensor.float().numpy() for key, tensor in tensors.items()}
    converted = convert(table, arrays, where=str(path), origin=origin)
    wanted = (classes if isinstance(classes, int) else len(classes)) if classes is not None else converted.classes
    table = with_classes(_conventions(table, converted, metadata), wanted or table.classes)
    preprocessing = Preprocessing(
        table.resolution,
        crop=crop,
        mean=_triple(metadata, "mean", converted.origin.mean),
        std=_triple(metadata, "std", converted.origin.std),
    )
    names = classes if classes is not None and not isinstance(classes, int) else table.classes
    model = build(table, names, preprocessing=preprocessing)
    state = model.state_dict()
    kept = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in converted.arrays.items()}
    head = model.nodes[-1].name
    if converted.classes and converted.classes != table.classes:
        kept = {k: v for k, v in kept.items() if not k.startswith(f"{head}.")}
    fresh = sorted({k.rpartition(".")[0] for k in state if k not in kept and not k.endswith("num_batches_tracked")})
    model.load_state_dict(state | kept)
    recipe = {"weights": str(path), "origin": converted.origin.name, "folded": converted.folded, "fresh": fresh}
    model.info = replace(model.info, recipe=recipe)
    return model.eval()


def _conventions(table: Network, converted: Converted, metadata: dict[str, str]) -> Network:
    padding = converted.origin.padding
    if "same" in metadata.get("padding", ""):
        padding = "same"
    return replace(table, padding=padding, bn_eps=converted.origin.eps(table))


def _triple(metadata: dict[str, str], key: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    try:
        return tuple(float(v) for v in metadata[key].split(","))
    except (KeyError, ValueError):
        return usual


@torch.no_grad()
def restore_norm(model: MobileNet, batches: Iterable[Tensor]) -> MobileNet:
    """Give batch norm back to weights that it was folded into, by the user's own images; outputs stay what they were.

    A folded layer computes w x + b. With the mean m and the variance v of w x over some images, batch norm of weight
    sqrt(v + eps), bias b + m and statistics m and v computes the same, and can be trained. Loaded as mean 0 and
    variance 1 instead, its first training step would replace statistics that never were, and wreck the features.

    Args:
        model: with neutral batch norm, as `load_weights` leaves it where `info.recipe["folded"]`; changed in place.
        batches: normalised images, (n, c, h, w), at least one batch.

    Raises:
        MisuseError: no images.
    """
    norms = {n.name: model.get_submodule(n.name) for n in model.nodes if isinstance(n, BatchNorm)}
    sources = {n.name: n.inputs[0] for n in model.nodes if isinstance(n, BatchNorm)}
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
