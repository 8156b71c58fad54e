"""What a table is built from: whole networks of every family of a task, and short ones of some of their rows."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise, product

from mobilenets.costs import cost
from mobilenets.metrics import Task
from mobilenets.table import scale, with_classes
from mobilenets.table.rows import Bottleneck, DepthwiseSeparable, HeadRow, Linear, Network, Pool
from mobilenets.zoo import FAMILIES
from mobilenets.zoo.grid import RESOLUTIONS, WIDTHS, bodies, families

CLASSES: dict[Task, tuple[int, ...]] = {
    "classify": (10, 1000, 100, 2),
    "multi-label": (10, 1000, 100, 2),
    "detect": (3, 80, 20, 1),
    "segment": (11, 21, 19, 2),
}
MOST_MACS = 3e9
"""Larger networks, segmenters all of them, would take more time than all others together."""
HELD_OUT = 20
PARTS = 4
"""Parts of about as many rows that a network's body is cut into."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something that is exported with random weights and timed."""

    label: str
    network: Network


def build_set(task: Task = "classify") -> list[Network]:
    """The networks that a table is built from: every family, each width and resolution several times."""
    sizes, classes = RESOLUTIONS[task], CLASSES[task]
    networks = []
    for i, family in enumerate(FAMILIES):
        heads = bodies(task, family)
        # diagonals through the grid, shifted from family to family: each family at every width and every resolution
        for j in range(len(WIDTHS)):
            network = scale(heads[j % len(heads)], WIDTHS[(i + j) % len(WIDTHS)], sizes[(2 * i + 3 * j) % len(sizes)])
            networks.append(with_classes(network, classes[(i + j) % len(classes)]))
    networks += _large_kernels(task)
    return [network for network in networks if cost(network).macs <= MOST_MACS]


def _large_kernels(task: Task) -> list[Network]:
    """Networks with the 5x5 and 7x7 kernels that a search may choose and few printed tables have."""
    sizes, classes = RESOLUTIONS[task], CLASSES[task]
    found = []
    for i, (family, kernel) in enumerate(product(("mobilenet_v1", "mobilenet_v3_large", "mobilenet_v3_small"), (5, 7))):
        body = bodies(task, family)[0]
        kernels = (Bottleneck, DepthwiseSeparable)
        rows = tuple(replace(row, kernel=kernel) if isinstance(row, kernels) else row for row in body.rows)
        for j in range(2):
            wide = scale(
                replace(body, rows=rows), WIDTHS[1 + (i + 2 * j) % (len(WIDTHS) - 1)], sizes[(i + j) % len(sizes)]
            )
            named = replace(wide, name=f"{wide.name}_{kernel}x{kernel}")
            found.append(with_classes(named, classes[(i + j) % len(classes)]))
    return found


def held_out(built: Iterable[Network], task: Task = "classify") -> list[Network]:
    """Networks of the same families that a table was not built from, drawn once and for all."""
    seen = {network.label for network in built}
    grid = [scale(body, width, size) for body in families(task) for width in WIDTHS for size in RESOLUTIONS[task]]
    unseen = [n for n in grid if n.label not in seen and (task == "classify" or cost(n).macs <= MOST_MACS)]
    classes = CLASSES[task]
    return [with_classes(n, classes[i % 2]) for i, n in enumerate(random.Random(0).sample(unseen, HELD_OUT))]


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
    """Runs of rows before the pooling or head, as networks of their own; not the first, which sees the image anyway."""
    rows = cost(network).rows
    body = next((i for i, row in enumerate(network.rows) if isinstance(row, Pool | HeadRow)), len(network.rows) - 1)
    before = network.resolution
    cuts = [round(body * k / PARTS) for k in range(1, PARTS + 1)]
    found = []
    for start, end in pairwise(cuts):
        if start == end:
            continue
        channels, size, _ = rows[start].input_shape
        stride = network.output_stride  # of what is left of it here
        part = replace(
            network, in_channels=channels, resolution=size, output_stride=stride and max(1, stride * size // before),
            rows=(*network.rows[start:end], Pool(), Linear(CLASSES["classify"][0])),
        )  # fmt: skip
        found.append(Artifact(f"{network.label} rows {start + 1} to {end}", part))
    return found
