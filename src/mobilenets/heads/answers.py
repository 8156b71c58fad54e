"""What a model's outputs say: the boxes found in images, the classes of their pixels; raw, or made inside the file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenets.heads.boxes import Array
from mobilenets.heads.detections import CANDIDATES, Detections, detections
from mobilenets.outputs import BOXES, CLASSES, COUNT, MASK, PROBABILITIES, SCORES, Outputs


def detections_in(
    outputs: Outputs, anchors: Array, *, score: float = 0.05, overlap: float = 0.6, most: int = 100
) -> list[Detections]:
    """Detections of each image of a batch, decoded and suppressed here where the file has not done it.

    Args:
        outputs: a detector's, see `mobilenets.outputs`.
        anchors: (anchors, 4); see `anchors`.
        score: the least that counts, of raw outputs.
        overlap: from which a box is dropped, of raw outputs.
        most: detections of an image, of raw outputs.
    """
    if COUNT not in outputs:
        looked = max(CANDIDATES, most)
        return detections(
            outputs[BOXES], outputs[SCORES], anchors, score=score, overlap=overlap, most=most, candidates=looked
        )
    rows = zip(*(outputs[name] for name in (BOXES, SCORES, CLASSES, COUNT)), strict=True)
    return [Detections(boxes[:n], scores[:n], classes[:n]) for boxes, scores, classes, n in rows]


def masks_in(outputs: Outputs, sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    """The class of each pixel, (height, width) of each image: probabilities are resized (bilinear) first, classes not.

    Args:
        outputs: a segmenter's, see `mobilenets.outputs`.
        sizes: height and width of each image, in pixels.
    """
    import torch
    from torch.nn.functional import interpolate

    found = []
    for i, size in enumerate(sizes):
        if MASK in outputs:
            values = torch.from_numpy(outputs[MASK][i])[None, None]
            found.append(interpolate(values, size, mode="nearest-exact")[0, 0].numpy())
            continue
        values = torch.from_numpy(outputs[PROBABILITIES][i])[None]
        if tuple(values.shape[2:]) != tuple(size):
            values = interpolate(values, size, mode="bilinear", align_corners=False)
        found.append(values[0].argmax(0).to(torch.uint8).numpy())
    return found
