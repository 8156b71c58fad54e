"""A network's outputs as boxes and masks, whether the file ends in its own post-processing or not.

A detector gives `boxes` and `scores` of all its anchors; with suppression inside, `boxes`, `scores`, `classes` and a
`count`. A segmenter gives `probabilities` of every class and pixel, or a `mask`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.heads import Detections, anchors, detections
from mobilenets.prediction.predictor import Predictor
from mobilenets.table import Network
from mobilenets.table import json as table_json

Outputs = Mapping[str, NDArray[Any]]

OVERLAP = 0.6
"""Intersection over union with a better box of its class from which a box is dropped."""
MOST = 100
"""Boxes of an image."""


def anchors_of(predictor: Predictor) -> NDArray[np.float32]:
    """Anchors of a detector, from the table that travels with it: (anchors, 4).

    Raises:
        MisuseError: it is no detector.
    """
    return anchors(_network(predictor))


def names_of(predictor: Predictor) -> tuple[str, ...]:
    """Names of a model's classes, their numbers where it has no names."""
    return predictor.classes or tuple(str(i) for i in range(_network(predictor).classes))


def _network(predictor: Predictor) -> Network:
    return table_json.loads(predictor.metadata["table"], where="the model's metadata")


def read_boxes(
    outputs: Outputs, places: NDArray[np.float32], *, score: float, overlap: float = OVERLAP, most: int = MOST
) -> list[Detections]:
    """What a detector found in each image of a batch, best first.

    Args:
        outputs: of the batch.
        places: the detector's anchors; not looked at where suppression was inside.
        score: the least that counts. A file with suppression inside has a least score of its own beside it.
        overlap: see `OVERLAP`; that of a file with suppression inside is its own.
        most: boxes of an image.
    """
    if "count" not in outputs:
        return detections(outputs["boxes"], outputs["scores"], places, score=score, overlap=overlap, most=most)
    found = []
    for i, count in enumerate(outputs["count"].ravel().astype(int).tolist()):
        boxes, scores, classes = (outputs[name][i][:count] for name in ("boxes", "scores", "classes"))
        good = np.flatnonzero(scores >= score)[:most]
        found.append(Detections(boxes[good].clip(0, 1), scores[good], classes[good].astype(np.int64)))
    return found


def read_masks(outputs: Outputs, sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    """The class of each pixel of each image of a batch, at the image's own size: uint8 h w.

    Probabilities are resized (bilinear), then the most probable class is taken; a mask is resized to the nearest.

    Args:
        outputs: of the batch.
        sizes: width and height of each image, in pixels.
    """
    if "mask" in outputs:
        masks = (Image.fromarray(mask.astype(np.uint8)) for mask in outputs["mask"])
        return [
            np.asarray(mask.resize(size, Image.Resampling.NEAREST)) for mask, size in zip(masks, sizes, strict=True)
        ]
    return [_most_probable(each, size) for each, size in zip(outputs["probabilities"], sizes, strict=True)]


def _most_probable(probabilities: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Class by class, so that a large photo's probabilities are never all in memory: (classes, h, w) -> uint8 h w."""
    classes = len(probabilities)
    best: NDArray[np.float32] = np.full((size[1], size[0]), -1.0, np.float32)
    mask = np.zeros((size[1], size[0]), np.uint8)
    for label, plane in enumerate(probabilities):
        if float(plane.max()) < 0.5 / classes:  # the winner has 1 / classes or more everywhere
            continue
        large = np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BILINEAR))
        better = large > best
        mask[better], best[better] = label, large[better]
    return mask
