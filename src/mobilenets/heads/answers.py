"""What a model's outputs say: the boxes found in images, the classes of their pixels; raw, or made inside the file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.heads.boxes import Array
from mobilenets.heads.detections import CANDIDATES, MOST, Detections, detections
from mobilenets.outputs import BOXES, CLASSES, COUNT, MASK, PROBABILITIES, SCORES, Outputs


def detections_in(
    outputs: Outputs, anchors: Array, *, score: float = 0.05, overlap: float = 0.6, most: int = MOST
) -> list[Detections]:
    """What was found in each image of a batch, best first; decoded and suppressed here where the file has not done it.

    Args:
        outputs: a detector's, see `mobilenets.outputs`.
        anchors: (anchors, 4), see `anchors`; not looked at where suppression was inside.
        score: the least that counts. A file with suppression inside has a least score of its own beside it.
        overlap: with a better box of its class from which a box is dropped; that of a file with suppression inside is
            its own.
        most: boxes of an image.
    """
    if COUNT not in outputs:
        looked = max(CANDIDATES, most)
        found = detections(
            outputs[BOXES], outputs[SCORES], anchors, score=score, overlap=overlap, most=most, candidates=looked
        )
        return [_with_area(each) for each in found]
    found = []
    for i, count in enumerate(outputs[COUNT].ravel().astype(int).tolist()):
        boxes, scores, classes = (outputs[name][i][:count] for name in (BOXES, SCORES, CLASSES))
        good = np.flatnonzero(scores >= score)[:most]
        found.append(Detections(boxes[good].clip(0, 1), scores[good], classes[good].astype(np.int64)))
    return [_with_area(each) for each in found]


def _with_area(found: Detections) -> Detections:
    """Without boxes that lie outside the image, of which clipping left a line."""
    good = (found.boxes[:, 2:] > found.boxes[:, :2]).all(1)
    return Detections(found.boxes[good], found.scores[good], found.classes[good])


def masks_in(outputs: Outputs, sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    """The class of each pixel of each image of a batch, at the image's own size: uint8 h w.

    Probabilities are resized (bilinear), then the most probable class is taken; a mask is resized to the nearest.

    Args:
        outputs: a segmenter's, see `mobilenets.outputs`.
        sizes: width and height of each image, in pixels.
    """
    if MASK in outputs:
        masks = (Image.fromarray(mask.astype(np.uint8)) for mask in outputs[MASK])
        return [
            np.asarray(mask.resize(size, Image.Resampling.NEAREST)) for mask, size in zip(masks, sizes, strict=True)
        ]
    return [_most_probable(each, size) for each, size in zip(outputs[PROBABILITIES], sizes, strict=True)]


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
