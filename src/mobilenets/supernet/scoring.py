"""Scoring a network of a space by shared weights: its batch norm is estimated anew, then it is validated."""

from __future__ import annotations

import numpy as np
import torch

from mobilenets.model import MobileNet
from mobilenets.search.points import Point
from mobilenets.supernet.shared import SharedWeights
from mobilenets.training import Recipe
from mobilenets.training.objectives import Data, objective_for
from mobilenets.training.parallel import World
from mobilenets.training.validation import evaluated
from mobilenets.weights import estimate_norm

CALIBRATION = 256
"""Training images that batch norm is estimated on."""


def calibrated(shared: SharedWeights, point: Point, train: Data, images: int = CALIBRATION) -> MobileNet:
    """A network of the space with its weights, its batch norm estimated on training images (arXiv 1903.05134, 3.4)."""
    model = shared.model(point)
    drawn = np.sort(np.random.default_rng(0).permutation(len(train))[:images])
    parts = np.array_split(drawn, max(1, len(drawn) // 64))
    return estimate_norm(model, (evaluated(model, torch.from_numpy(train.images[part])) for part in parts))


def scored(shared: SharedWeights, point: Point, train: Data, val: Data) -> float:
    """The task's metric of a network of the space on validation images, from 0 to 1."""
    model = calibrated(shared, point, train)
    return objective_for(model, Recipe(epochs=1), train).score(model, val, World()).metric
