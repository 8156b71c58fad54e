"""The index of networks: data and docstrings only."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from mobilenets.errors import UnknownNameError
from mobilenets.table import json as table_json
from mobilenets.table.rows import Network
from mobilenets.zoo import comparison, dense, edgetpu, mnasnet, mobile_former, mobile_one, v1, v2, v3, v4
from mobilenets.zoo.heads import HEADS, with_head

GROUPS: dict[str, tuple[Network, ...]] = {
    "MobileNetV1": (v1.V1, v1.FULL, v1.SHALLOW),
    "MobileNetV2": (v2.V2,),
    "MnasNet": (mnasnet.A1, mnasnet.B1, mnasnet.SMALL),
    "MobileNetV3": (v3.LARGE, v3.SMALL, v3.LARGE_MINIMALISTIC, v3.SMALL_MINIMALISTIC),
    "MobileNetEdgeTPU": (edgetpu.V1, edgetpu.V2_XS, edgetpu.V2_S, edgetpu.V2_M, edgetpu.V2_L),
    "MobileNetV4": (v4.CONV_SMALL, v4.CONV_MEDIUM, v4.CONV_LARGE, v4.HYBRID_MEDIUM, v4.HYBRID_LARGE),
    "Mobile-Former": (
        mobile_former.M26,
        mobile_former.M52,
        mobile_former.M96,
        mobile_former.M151,
        mobile_former.M214,
        mobile_former.M294,
        mobile_former.M508,
    ),
    "Dense-MobileNet": (dense.DENSE16, dense.DENSE24, dense.DENSE32),
    "MobileOne": (mobile_one.S0, mobile_one.S1, mobile_one.S2, mobile_one.S3, mobile_one.S4),
    "others": (
        comparison.ALEXNET,
        comparison.VGG16,
        comparison.GOOGLENET,
        comparison.SQUEEZENET,
        comparison.XCEPTION,
    ),
}
"""Networks by the paper or design that they belong to."""

INDEX: dict[str, Network] = {network.name: network for group in GROUPS.values() for network in group}
"""Every network by name."""

FAMILIES = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "mobilenet_v3_large_minimalistic",
    "mobilenet_v3_small_minimalistic",
    "mnasnet_a1",
    "mnasnet_b1",
    "mnasnet_small",
    "mobilenet_v4_conv_small",
    "mobilenet_v4_conv_medium",
    "mobilenet_v4_hybrid_medium",
)
"""Networks that scale to a grid of candidates: all have an `estimate_top1`."""


def networks(pattern: str = "*") -> list[str]:
    """Names of the networks that match a glob, in the index's order: `networks("*v3*")`.

    Detectors and segmenters are among them where the glob begins with their head: `networks("ssdlite_*v3*")`.
    """
    pattern = pattern.lower()
    headed = [f"{head}_{name}" for head in HEADS if pattern.startswith(head) for name in INDEX]
    wild = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return [name for name in (*INDEX, *headed) if fnmatch.fnmatchcase(name, wild)]


def network(name: str | Path) -> Network:
    """A network by name or from a table file (`.json`).

    A head's name before the backbone's gives a detector or a segmenter: `ssdlite_mobilenet_v2`.

    Raises:
        UnknownNameError: no such network; near names are offered.
        MisuseError: a table file that cannot be read.
    """
    if str(name).endswith(".json"):
        return table_json.read(name)
    if (found := INDEX.get(str(name))) is not None:
        return found
    head, _, backbone = str(name).partition("_")
    if head in HEADS and backbone in INDEX:
        return with_head(head, INDEX[backbone])
    known = [f"{head}_{network}" for network in INDEX] if head in HEADS else INDEX
    raise UnknownNameError("network", str(name), known, hint="`mobilenets list` shows all.")
