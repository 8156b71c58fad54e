"""A detector or a segmenter on the weights of its backbone, or of another head on it."""

from __future__ import annotations

from dataclasses import replace

from mobilenets.errors import MisuseError
from mobilenets.model import Info, MobileNet
from mobilenets.table.rows import HeadRow, MobileToFormer, Network
from mobilenets.weights.inherit import shared_rows


def on_backbone(network: Network, source: MobileNet) -> MobileNet:
    """A model whose rows are the source's as far as the two networks are the same, and the network's from there on.

    What the network adds starts anew: its head, or the part of one that the source lacks. `info.recipe["fresh"]` lists
    its nodes. Layers of the source that the network does not have are left. Padding, epsilon, mean, standard deviation
    and interpolation come from the source; the image is seen whole, stretched. The backbone is as wide as the source's,
    so that `inherit` can follow.

    Args:
        network: a detector or a segmenter.
        source: its backbone as a classifier, or with any head.

    Raises:
        MisuseError: another backbone, or one of other rows.
    """
    kept = [i for i, row in enumerate(source.network.rows) if not isinstance(row, MobileToFormer)]  # see `features`
    theirs = replace(source.network, rows=tuple(source.network.rows[i] for i in kept))
    shared = shared_rows(network, theirs)
    if network.backbone not in (theirs.name, theirs.backbone) or shared < min(map(_backbone_rows, (network, theirs))):
        raise MisuseError(
            f"weights of {theirs.label} cannot start {network.label}: expected those of its backbone "
            f"{network.backbone}, with the same operators, kernels and strides."
        )
    table = replace(
        network, rows=theirs.rows[:shared] + network.rows[shared:], width=theirs.width, padding=theirs.padding,
        bn_eps=theirs.bn_eps, bn_momentum=theirs.bn_momentum, gate=theirs.gate, squeeze=theirs.squeeze,
        layer_scale=theirs.layer_scale, in_channels=theirs.in_channels,
    )  # fmt: skip
    before = source.info.preprocessing
    preprocessing = replace(before, resolution=table.resolution, crop=1.0, shaping="stretch")
    model = MobileNet(table, info=Info((), preprocessing, task=table.task), training=source.as_trained)
    places = {f"row{there + 1:02d}": f"row{here:02d}" for here, there in enumerate(kept[:shared], 1)}
    state = model.state_dict()
    taken = {}
    for key, value in source.state_dict().items():
        row, _, rest = key.partition(".")
        if row in places:
            taken[f"{places[row]}.{rest}"] = value
    fresh = sorted({k.rpartition(".")[0] for k in state if k not in taken and not k.endswith("num_batches_tracked")})
    model.load_state_dict(state | taken)
    model.info = replace(model.info, recipe={**source.info.recipe, "fresh": fresh})
    return model.eval()


def _backbone_rows(network: Network) -> int:
    """Rows before the first one of a head; all of a classifier's, which are more than any head keeps."""
    ends = (i for i, row in enumerate(network.rows) if isinstance(row, HeadRow))
    return next(ends, len(network.rows))
