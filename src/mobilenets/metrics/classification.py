"""Average precision of classes, where an image may have several."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def average_precision(truth: NDArray[Any], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Area under each class's precision-recall curve, by steps; images of equal score are one step.

    Shapes: (n, k) zeros and ones, (n, k) -> (k,); not a number for a class that no image has.
    """
    return np.array([_one_class(truth[:, i] > 0, scores[:, i]) for i in range(truth.shape[1])])


def mean_average_precision(truth: NDArray[Any], scores: NDArray[np.float32]) -> float:
    """Mean over the classes that an image has; 0 where none has."""
    found = average_precision(truth, scores)
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def _one_class(truth: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits, ranked = truth[order].cumsum(), scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # the last image of each score
    recall = hits[ends] / hits[-1]
    precision = hits[ends] / (ends + 1)
    return float((np.diff(recall, prepend=0.0) * precision).sum())
