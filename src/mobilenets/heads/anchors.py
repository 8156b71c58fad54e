"""Anchors by scale and aspect ratio (SSD, arXiv 1512.02325, section 2.2; TF's `ssd_anchor_generator`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError
from mobilenets.heads.boxes import corners, iou
from mobilenets.table.lower import lower
from mobilenets.table.nodes import PerAnchor, row_of
from mobilenets.table.rows import BoxPredictor, Network

SMALLEST, LARGEST = (4, 6, 8, 10, 13, 16, 20, 25, 30), (30, 40, 60, 80, 95)
"""Scales that are tried for a data set's boxes, in percent of the image."""
LAYOUTS = (3, 6, 7)
"""Numbers of anchors of the first map that are tried."""
LOOKED_AT = 400
"""Boxes that anchors are fitted to, of all classes together, but 20 of each."""
RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)
"""Width over height; the last anchor of a place is square and lies between this map's scale and the next one's."""


def anchors(network: Network) -> NDArray[np.float32]:
    """Anchors of a detector in the order of its outputs: (anchors, 4), centre x, centre y, width, height.

    Units: parts of the image's width and height.

    Raises:
        MisuseError: the network is no detector.
    """
    row, sizes = _predictor(network), _sizes(network)
    return _placed(row, sizes)


def fit_anchors(network: Network, boxes: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> Network:
    """The detector with anchors that overlap a data set's boxes most.

    All layouts of the first map and pairs of scales in steps are tried, every anchor in its place: a shape that fits is
    no use on a map that is too coarse. The table's own anchors stay where no others are better by 1 %, and more
    anchors must be, too.

    Args:
        network: a detector.
        boxes: (n, 4) x0 y0 x1 y1 in parts of the image; there may be none.
        labels: (n,) their classes, which all count alike, as in average precision.

    Raises:
        MisuseError: the network is no detector.
    """
    row, sizes = _predictor(network), _sizes(network)
    groups = _sample(boxes.astype(np.float32), labels)
    if not groups:
        return network
    best, found = row, _covered(groups, row, sizes)
    for first in sorted({row.anchors[0], *LAYOUTS}):
        anchors = (first, *row.anchors[1:])
        scales = ((low, high) for low in SMALLEST for high in LARGEST if low < high)
        tried = [replace(row, anchors=anchors, smallest=low, largest=high) for low, high in scales]
        covered = [_covered(groups, candidate, sizes) for candidate in tried]
        if max(covered) > found + 0.01:
            best, found = tried[int(np.argmax(covered))], max(covered)
    return replace(network, rows=(*network.rows[:-1], best))


def _sample(boxes: NDArray[np.float32], labels: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """Boxes by class, some of each."""
    known, random = np.unique(labels), np.random.default_rng(0)
    most = max(20, LOOKED_AT // max(1, len(known)))
    groups = [boxes[labels == label] for label in known]
    return [group[random.permutation(len(group))[:most]] for group in groups]


def _covered(groups: list[NDArray[np.float32]], row: BoxPredictor, sizes: list[tuple[int, int]]) -> float:
    """Mean overlap of boxes with their best anchor; a box that matching would give to an anchor counts twice."""
    placed = corners(_placed(row, sizes))
    best = [iou(boxes, placed).max(1) for boxes in groups]
    return float(np.mean([(found + (found >= 0.5)).mean() for found in best])) / 2


def _placed(row: BoxPredictor, sizes: list[tuple[int, int]]) -> NDArray[np.float32]:
    """All anchors of some maps."""
    return np.concatenate(
        [_grid(size, shapes) for size, shapes in zip(sizes, shapes_of(row), strict=True)], dtype=np.float32
    )


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
    half the map's scale, and two oblongs; seven are six, and such a square.
    """
    maps = len(row.anchors)
    first, last = row.smallest / 100, row.largest / 100
    scales = [first + (last - first) * i / max(1, maps - 1) for i in range(maps)] + [1.0]
    shapes = []
    for i, count in enumerate(row.anchors):
        if count == 3:
            shapes.append([(scales[i] / 2, scales[i] / 2), _shaped(scales[i], 2.0), _shaped(scales[i], 0.5)])
            continue
        between, half = (scales[i] * scales[i + 1]) ** 0.5, scales[i] / 2
        squares = [(between, between), (half, half)][: max(1, count - len(RATIOS))]
        shapes.append([_shaped(scales[i], ratio) for ratio in RATIOS[: count - 1]] + squares)
    return shapes


def _shaped(scale: float, ratio: float) -> tuple[float, float]:
    return scale * ratio**0.5, scale / ratio**0.5


def _grid(size: tuple[int, int], shapes: list[tuple[float, float]]) -> NDArray[np.float64]:
    """The shapes of a map centred at every place: (h w a, 4)."""
    height, width = size
    y, x, shape = np.meshgrid(np.arange(height), np.arange(width), np.arange(len(shapes)), indexing="ij")
    sides = np.asarray(shapes)[shape]
    return np.stack([(x + 0.5) / width, (y + 0.5) / height, sides[..., 0], sides[..., 1]], -1).reshape(-1, 4)
