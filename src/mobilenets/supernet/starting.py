"""Shared weights that begin with those of a trained network, where its blocks are the space's."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mobilenets.model import MobileNet
from mobilenets.search.space import BOTTLENECK, SEPARABLE, STAGES
from mobilenets.supernet.shared import SharedWeights
from mobilenets.table.rows import Bottleneck, Conv, DepthwiseSeparable, Network
from mobilenets.weights import by_strength


def begin_with(shared: SharedWeights, source: MobileNet) -> int:
    """Put a trained network's weights into the space's places of the same kind and total stride; in place.

    Its strongest channels come first, so that every width takes the best of them; what a place is wider begins without
    a say in the channels that came. Classifiers and heads stay as they are. Images are normalised as the source's were.

    Args:
        shared: weights that were not trained yet.
        source: bottlenecks (V2, V3, MnasNet) or separable blocks (V1), trained; its batch norm is not folded.

    Returns:
        How many rows were taken.

    Raises:
        MisuseError: channels that cannot be moved one by one.
    """
    state = by_strength(source).state_dict()
    places, taken = counterparts(source.network), 0
    for number, place in places.items():
        prefix = f"row{number + 1:02d}."
        theirs = {f"{place}.{k.removeprefix(prefix)}": v for k, v in state.items() if k.startswith(prefix)}
        wanted = {key for key in shared.tensors if key.startswith(f"{place}.")}
        if ".stage" in place and any("expand" in key for key in wanted) != any("expand" in k for k in theirs):
            continue  # V2's first block expands nothing: its depthwise channels are others
        for key in wanted & set(theirs):
            _put(shared.tensors[key].data, theirs[key])
        taken += bool(wanted & set(theirs))
    # detectors and segmenters see whole images, whatever the source was trained on
    shared.preprocessing = replace(source.info.preprocessing, crop=1.0, shaping=shared.preprocessing.shaping)
    return taken


def counterparts(source: Network) -> dict[int, str]:
    """Places of the space that a network's rows fit: row's index -> place.

    Stages are runs of blocks of one kind and width, and begin anew where one strides; each of the space's gets the next
    one of its total stride.
    """
    stages: list[tuple[int, str, list[int]]] = []
    found, stride, before = {}, 1, (0, "")
    for i, row in enumerate(source.rows):
        stride *= getattr(row, "stride", 1)
        match row:
            case Conv() if i == 0:
                found[i] = "stem"
            case Bottleneck() | DepthwiseSeparable():
                kind = BOTTLENECK if isinstance(row, Bottleneck) else SEPARABLE
                if (row.out, kind) != before or row.stride > 1:
                    stages.append((stride, kind, []))
                stages[-1][2].append(i)
                before = row.out, kind
            case Conv(kernel=1, norm=True):
                found[i] = f"{before[1]}.last"
            case _:
                pass
    total = 2
    for number, stage in enumerate(STAGES, 1):
        total *= stage.stride
        fits = next((each for each in stages if each[0] == total), None)
        if fits is None:
            continue
        stages = stages[stages.index(fits) + 1 :]
        blocks = fits[2][: max(stage.depths)]
        found |= {i: f"{fits[1]}.stage{number}.block{block}" for block, i in enumerate(blocks, 1)}
    return found


def _put(tensor: Tensor, values: Tensor) -> None:
    """Values into the first channels and middle of a larger tensor; what they read of other inputs is nothing."""
    with torch.no_grad():
        if values.ndim == 4 and values.shape[-1] > tensor.shape[-1]:
            border = (values.shape[-1] - tensor.shape[-1]) // 2
            values = values[..., border:-border, border:-border]
        both = [min(have, want) for have, want in zip(tensor.shape, values.shape, strict=True)]
        part = tensor[: both[0]]
        if tensor.ndim == 1:
            part.copy_(values[: both[0]])
            return
        part.zero_()
        border = (tensor.shape[-1] - values.shape[-1]) // 2 if tensor.ndim == 4 else 0
        middle = part[..., border : tensor.shape[-1] - border, border : tensor.shape[-1] - border] if border else part
        middle[:, : both[1]].copy_(values[: both[0], : both[1]])
