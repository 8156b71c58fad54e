"""What answers are read with: a detector's anchors, the names of classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobilenets.heads import anchors
from mobilenets.prediction.predictor import Predictor
from mobilenets.table import Network
from mobilenets.table import json as table_json


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
