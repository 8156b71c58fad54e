"""Counts of networks beside the rows of the reference tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mobilenets.costs import Cost, cost
from mobilenets.table import scale, with_classes
from mobilenets.zoo import network

Tables = dict[str, dict[str, Any]]


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
