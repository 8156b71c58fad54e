"""Seeded small scenes for classification, detection and segmentation examples.

A scene is one or more objects of known kinds on a cluttered background, lit, partly hidden and
photographed by an imperfect camera. Everything is drawn from a seed, so that examples and tests have
labelled images without a download. The kinds differ in outline and structure only: colours, textures,
poses and light come from the same distributions for every kind.

Outlines are drawn several times larger than the image and averaged down, which gives them soft edges;
surfaces are computed at the size of the image, which keeps a scene at a few milliseconds.
"""

from __future__ import annotations

from mobilenets.data.scenes.drawing import Scene, scene
from mobilenets.data.scenes.kinds import KINDS
from mobilenets.data.scenes.writing import write_classification, write_detection, write_segmentation

__all__ = ["KINDS", "Scene", "scene", "write_classification", "write_detection", "write_segmentation"]
