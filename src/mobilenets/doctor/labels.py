"""What a trained model says, to labels that look wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.sources import Source
from mobilenets.doctor.findings import Finding

CONFIDENT = 0.8
"""Probability of another class from which on a label is suspicious."""


def suspicious(
    said: Iterable[tuple[Source, NDArray[np.float32]]], labels: Mapping[Source, str], classes: Sequence[str]
) -> list[Finding]:
    """Images of which a model is confident that they are of another class, highest loss first.

    Args:
        said: files with the model's class probabilities.
        labels: class of each file.
        classes: the model's, in its order.
    """
    found: list[tuple[float, Finding]] = []
    for path, row in said:
        label, best = classes.index(labels[path]), int(row.argmax())
        if best == label or row[best] < CONFIDENT:
            continue
        loss = -math.log(max(float(row[label]), 1e-12))
        message = f"labelled {classes[label]}, the model says {classes[best]} ({row[best]:.0%}, loss {loss:.1f})."
        found.append((loss, Finding("suspicious label", "warning", (path,), f"{message} Look at it.")))
    return [finding for _, finding in sorted(found, key=lambda pair: -pair[0])]
