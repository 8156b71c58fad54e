"""Counts of networks beside the rows of the reference tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mobilenets.costs import Cost, cost
from mobilenets.table import Network, scale, with_classes
from mobilenets.table.rows import Conv
from mobilenets.zoo import network

Tables = dict[str, dict[str, Any]]
KIND = {"large": "mobilenet_v3_large", "small": "mobilenet_v3_small", "v1": "mobilenet_v1", "v2": "mobilenet_v2",
        "v1-shallow": "mobilenet_v1_shallow"}  # fmt: skip
"""Names in the reference tables -> ours."""


def counted(name: str, width: float = 1.0, resolution: int | None = None, classes: int | None = None) -> Cost:
    net = scale(network(name), width, resolution)
    return cost(net if classes is None else with_classes(net, classes))


def rows(reference: Tables, table: str, **where: Any) -> Iterator[dict[str, Any]]:
    for row in reference[table]["rows"]:
        if all(row[key] == value for key, value in where.items()):
            yield row


def row(reference: Tables, table: str, **where: Any) -> dict[str, Any]:
    (found,) = rows(reference, table, **where)
    return found


def millions(value: int) -> float:
    return value / 1e6


def weights_bias(c: Cost) -> int:
    return c.params - 2 * c.bn_channels


def last_convolution(net: Network, out: int) -> Network:
    at, last = [(i, r) for i, r in enumerate(net.rows) if isinstance(r, Conv)][-1]
    wide = replace(last, out=out)
    return replace(net, rows=(*net.rows[:at], wide, *net.rows[at + 1 :]))
