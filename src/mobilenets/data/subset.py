"""Some of the decoded images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.cache import Squares
from mobilenets.data.stretched import Pictures


def subset(data: Squares | Pictures, chosen: NDArray[np.int64]) -> Squares | Pictures:
    """The chosen images, copied into memory."""
    images, paths = np.array(data.images[chosen]), tuple(data.paths[i] for i in chosen) if data.paths else ()
    if isinstance(data, Squares):
        return Squares(images, data.labels[chosen], paths)
    truth = data.truth[chosen] if isinstance(data.truth, np.ndarray) else tuple(data.truth[i] for i in chosen)
    return replace(data, images=images, truth=truth, samples=tuple(data.samples[i] for i in chosen))
