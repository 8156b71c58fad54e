"""Weights of RGB images for images of other channels: grey ones, or ones with more than three."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mobilenets.errors import MisuseError
from mobilenets.model import MobileNet
from mobilenets.table.nodes import INPUT, Convolution


def with_channels(model: MobileNet, channels: int) -> MobileNet:
    """The same weights for another number of input channels.

    Grey: the filters of red, green and blue are summed, so that a grey image gives what it gave as RGB. Four and more:
    RGB stays, and each further channel starts as the mean of the three. Mean and standard deviation likewise.

    Args:
        model: of three input channels; as it is where it has `channels` already.
        channels: 1, or 3 and more.

    Raises:
        MisuseError: two channels, or a model that is not of three.
    """
    found = model.network.in_channels
    if found == channels:
        return model
    if found != 3 or channels in {0, 2}:
        raise MisuseError(
            f"weights of {found} input channels cannot start a network of {channels}: from 3 they can go to 1 or to "
            "more than 3. Build such a network without weights."
        )
    preprocessing = model.info.preprocessing
    preprocessing = replace(
        preprocessing, mean=_spread(preprocessing.mean, channels), std=_spread(preprocessing.std, channels)
    )
    network = replace(model.network, in_channels=channels)
    info = replace(model.info, preprocessing=preprocessing)
    new = MobileNet(network, info=info, dropout=model.dropout, training=model.as_trained)
    state = model.state_dict()
    for node in new.nodes:
        if isinstance(node, Convolution) and INPUT in node.inputs:
            state[f"{node.name}.weight"] = _filters(state[f"{node.name}.weight"], channels)
    new.load_state_dict(state)
    return new.train(model.training)


def _filters(weight: Tensor, channels: int) -> Tensor:
    """Filters (out, 3, k, k) to (out, channels, k, k)."""
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return torch.cat([weight, weight.mean(1, keepdim=True).expand(-1, channels - 3, -1, -1)], 1)


def _spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value a channel; beyond the three, their mean."""
    mean = sum(values) / len(values)
    return (mean,) if channels == 1 else (*values, *(mean,) * (channels - 3))
