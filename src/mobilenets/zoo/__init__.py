"""The index of networks: data and docstrings only."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from mobilenets.errors import UnknownNameError
from mobilenets.table import json as table_json
from mobilenets.table.rows import Network
from mobilenets.zoo import comparison, v1, v2, v3

INDEX: dict[str, Network] = {
    "mobilenet_v1": v1.V1,
    "mobilenet_v1_full": v1.FULL,
    "mobilenet_v1_shallow": v1.SHALLOW,
    "mobilenet_v2": v2.V2,
    "mobilenet_v3_large": v3.LARGE,
    "mobilenet_v3_small": v3.SMALL,
    "mobilenet_v3_large_minimalistic": v3.LARGE_MINIMALISTIC,
    "mobilenet_v3_small_minimalistic": v3.SMALL_MINIMALISTIC,
    "alexnet": comparison.ALEXNET,
    "vgg16": comparison.VGG16,
    "googlenet": comparison.GOOGLENET,
    "squeezenet": comparison.SQUEEZENET,
    "xception": comparison.XCEPTION,
}
"""Every network by name."""

FAMILIES = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "mobilenet_v3_large_minimalistic",
    "mobilenet_v3_small_minimalistic",
)
"""Networks that scale to a grid of candidates."""


def networks(pattern: str = "*") -> list[str]:
    """Names of the networks that match a glob, in the index's order: `networks("*v3*")`."""
    wild = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return [name for name in INDEX if fnmatch.fnmatchcase(name, wild.lower())]


def network(name: str | Path) -> Network:
    """A network by name or from a table file (`.json`).

    Raises:
        UnknownNameError: no such network; near names are offered.
        MisuseError: a table file that cannot be read.
    """
    if str(name).endswith(".json"):
        return table_json.read(name)
    found = INDEX.get(str(name))
    if found is None:
        raise UnknownNameError("network", str(name), INDEX, hint="`mobilenets list` shows all.")
    return found
