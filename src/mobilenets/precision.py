"""fp32, fp16, int8: what a file may hold, and the choices that every quantizer understands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Calibration = Literal["minmax", "percentile", "entropy"]
"""How an activation's range is taken from images: all of it, without its tails, or by the least information lost."""

Precision = Literal["fp32", "fp16", "int8"]
"""Of an exported file's weights (fp16), or of its weights and activations (int8)."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Post-training static int8: weights and activations, ranges from calibration images.

    Attributes:
        calibration: how activation ranges are taken.
        per_channel: a scale for each output channel of a weight; else one for all of it.
        keep_float: addresses of nodes (`row04.depthwise.conv`) that stay in float.
        wide: addresses of nodes whose activations get 16 bits, where the format has that.
    """

    calibration: Calibration = "minmax"
    per_channel: bool = True
    keep_float: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()
