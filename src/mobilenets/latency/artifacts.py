"""What a table is built from: whole networks of every family, and short ones of some of their rows."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from mobilenets.costs import cost
from mobilenets.table import scale, with_classes
from mobilenets.table.rows import Linear, Network, Pool
from mobilenets.zoo import FAMILIES, INDEX

WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.25)
RESOLUTIONS = (96, 128, 160, 192, 224)
CLASSES = (10, 1000, 100, 2)
HELD_OUT = 20
PARTS = 4
"""Parts of about as many rows that a network's body is cut into."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something that is exported with random weights and timed."""

    label: str
    network: Network


def build_set() -> list[Network]:
    """The networks that a table is built from: every family, each width and resolution several times."""
    networks = []
    for i, name in enumerate(FAMILIES):
        # diagonals through the grid, shifted from family to family: each family at every width and every resolution
        for j in range(len(WIDTHS)):
            width = WIDTHS[(i + j) % len(WIDTHS)]
            resolution = RESOLUTIONS[(2 * i + 3 * j) % len(RESOLUTIONS)]
            networks.append(with_classes(scale(INDEX[name], width, resolution), CLASSES[(i + j) % len(CLASSES)]))
    return networks


def held_out(built: Iterable[Network]) -> list[Network]:
    """Networks of the same families that a table was not built from, drawn once and for all."""
    seen = {network.label for network in built}
    grid = [scale(INDEX[name], width, size) for name in FAMILIES for width in WIDTHS for size in RESOLUTIONS]
    drawn = random.Random(0).sample([network for network in grid if network.label not in seen], HELD_OUT)
    return [with_classes(network, (10, 1000)[i % 2]) for i, network in enumerate(drawn)]


def artifacts(networks: Iterable[Network], *, parts: bool = True) -> list[Artifact]:
    """The networks and, with `parts`, of each two of the later parts of its body.

    Whole networks show kernels where they will be, with the caches and layouts that they will find. Parts, each behind
    the scaling of its pixels and before a pooling and a small classifier, tell which rows the time goes to.
    """
    found = []
    for i, network in enumerate(networks):
        found.append(Artifact(f"{network.label} of {network.classes}", network))
        if parts:
            found += [part for k, part in enumerate(_parts(network)) if k != i % (PARTS - 1)]
    return found


def _parts(network: Network) -> list[Artifact]:
    """Runs of rows before the global pooling, as networks of their own; not the first, which sees the image anyway."""
    rows = cost(network).rows
    body = next((i for i, row in enumerate(network.rows) if isinstance(row, Pool)), len(network.rows) - 1)
    cuts = [round(body * k / PARTS) for k in range(1, PARTS + 1)]
    found = []
    for start, end in pairwise(cuts):
        if start == end:
            continue
        channels, size, _ = rows[start].input_shape
        part = replace(
            network, in_channels=channels, resolution=size, rows=(*network.rows[start:end], Pool(), Linear(CLASSES[0]))
        )
        found.append(Artifact(f"{network.label} rows {start + 1} to {end}", part))
    return found
