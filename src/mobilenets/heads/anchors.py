"""Anchors by scale and aspect ratio (SSD, arXiv 1512.02325, section 2.2; TF's `ssd_anchor_generator`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError
from mobilenets.table.lower import lower
from mobilenets.table.nodes import PerAnchor, row_of
from mobilenets.table.rows import BoxPredictor, Network

SMALLEST, LARGEST = (4, 6, 8, 10, 13, 16, 20, 25, 30), (30, 40, 50, 60, 70, 80, 95)
"""Scales that are tried for a data set's boxes, in percent of the image."""
RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)
"""Width over height; the last anchor of a place is square and lies between this map's scale and the next one's."""


def anchors(network: Network) -> NDArray[np.float32]:
    """Anchors of a detector in the order of its outputs: (anchors, 4), centre x, centre y, width, height.

    Units: parts of the image's width and height.

    Raises:
        MisuseError: the network is no detector.
    """
    row, sizes = _predictor(network), _sizes(network)
    return np.concatenate(
        [_grid(size, shapes) for size, shapes in zip(sizes, shapes_of(row), strict=True)], dtype=np.float32
    )


def fit_anchors(network: Network, boxes: NDArray[np.floating[Any]]) -> Network:
    """The detector with scales of its anchors under which boxes overlap their best anchor most.

    All pairs of scales in steps are tried; a box that some anchor shape overlaps by 0.5 when both are centred counts
    most, which is what matching asks of it. The table's own scales stay where no others are better by 1 %.

    Args:
        network: a detector.
        boxes: (n, 4) x0 y0 x1 y1 in parts of the image; there may be none.

    Raises:
        MisuseError: the network is no detector.
    """
    row = _predictor(network)
    sizes = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    sizes = sizes[(sizes > 0).all(1)][:20000]
    if not len(sizes):
        return network
    tried = [replace(row, smallest=low, largest=high) for low in SMALLEST for high in LARGEST if low < high]
    found = [_covered(sizes, candidate) for candidate in tried]
    best = int(np.argmax(found))
    if found[best] < _covered(sizes, row) + 0.01:
        return network
    return replace(network, rows=(*network.rows[:-1], tried[best]))


def _covered(sizes: NDArray[np.float64], row: BoxPredictor) -> float:
    """Mean overlap of boxes (n, 2) with their best anchor shape, both centred; 0.5 or more counts twice."""
    shapes = np.asarray([shape for group in shapes_of(row) for shape in group])
    shared = np.minimum(sizes[:, None], shapes).prod(-1)
    overlap = (shared / (sizes.prod(-1)[:, None] + shapes.prod(-1) - shared)).max(1)
    return float((overlap + (overlap >= 0.5)).mean()) / 2


def _predictor(network: Network) -> BoxPredictor:
    row = network.rows[-1]
    if not isinstance(row, BoxPredictor):
        raise MisuseError(f"{network.name} has no anchors: it is no detector. `ssdlite_{network.name}` names one.")
    return row


def _sizes(network: Network) -> list[tuple[int, int]]:
    """Height and width of each feature map."""
    nodes = {node.name: node for node in lower(network)}
    boxes = [n for n in nodes.values() if isinstance(n, PerAnchor) and row_of(n) == len(network.rows)]
    shapes = [nodes[node.inputs[0]].shape for node in boxes]
    return [(height, width) for _, height, width in shapes[: len(shapes) // 2]]  # the classes have the same again


def shapes_of(row: BoxPredictor) -> list[list[tuple[float, float]]]:
    """Width and height of each anchor of a place, map by map.

    Scales grow evenly from the first map's to the last one's. Three anchors (TF's on the first map) are a square of
    half the smallest scale, and two oblongs.
    """
    maps = len(row.anchors)
    first, last = row.smallest / 100, row.largest / 100
    scales = [first + (last - first) * i / max(1, maps - 1) for i in range(maps)] + [1.0]
    shapes = []
    for i, count in enumerate(row.anchors):
        if count == 3:
            shapes.append([(first / 2, first / 2), _shaped(scales[i], 2.0), _shaped(scales[i], 0.5)])
            continue
        between = (scales[i] * scales[i + 1]) ** 0.5
        shapes.append([_shaped(scales[i], ratio) for ratio in RATIOS[: count - 1]] + [(between, between)])
    return shapes


def _shaped(scale: float, ratio: float) -> tuple[float, float]:
    return scale * ratio**0.5, scale / ratio**0.5


def _grid(size: tuple[int, int], shapes: list[tuple[float, float]]) -> NDArray[np.float64]:
    """The shapes of a map centred at every place: (h w a, 4)."""
    height, width = size
    y, x, shape = np.meshgrid(np.arange(height), np.arange(width), np.arange(len(shapes)), indexing="ij")
    sides = np.asarray(shapes)[shape]
    return np.stack([(x + 0.5) / width, (y + 0.5) / height, sides[..., 0], sides[..., 1]], -1).reshape(-1, 4)
