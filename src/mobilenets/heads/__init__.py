"""Boxes: anchors, their coder, matching and non-maximum suppression, for arrays of NumPy and of torch alike."""

from mobilenets.heads.anchors import anchors, fit_anchors
from mobilenets.heads.answers import detections_in, masks_in
from mobilenets.heads.boxes import corners, decode, encode, iou
from mobilenets.heads.detections import MOST, Detections, detections, suppress
from mobilenets.heads.matching import BACKGROUND, match

__all__ = [
    "BACKGROUND",
    "MOST",
    "Detections",
    "anchors",
    "corners",
    "decode",
    "detections",
    "detections_in",
    "encode",
    "fit_anchors",
    "iou",
    "masks_in",
    "match",
    "suppress",
]
