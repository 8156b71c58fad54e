"""Laws of kernels' times, fitted to the times of whole artifacts: no device has to tell what a single kernel takes.

The time of a kernel is modelled as

    rough estimate (`rough_ms`) x scale x exp(features x law of its kind + deviation of this kernel),

with normal priors on laws and deviations, and an artifact's time as the sum over its kernels. The most probable laws
and deviations are found by Gauss-Newton on relative errors; artifacts that a busy moment slowed down weigh less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from operator import mul

import numpy as np
from numpy.typing import NDArray

from mobilenets.latency.kernels import Kernel, split_kind

Vector = NDArray[np.float64]

PRIOR = np.array([1.0, 0.3, 0.3, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.5, 0.5])
"""Standard deviations of a law's coefficients, as `features` orders them."""
DEVIATION = 0.1
"""Of a kernel from the law of its kind: what the law's form cannot say."""
NOISE = 0.03
"""Of an artifact's relative error: measurement, and what its kernels do to each other."""
OUTLIER = 3.0
"""Errors beyond so many times the noise begin to weigh less."""

START_MS, MACS_PER_MS, BYTES_PER_MS = 2e-3, 2e7, 8e6
"""Of a middling core: what it takes to start a kernel, to multiply and to move. The laws correct it."""


@dataclass(frozen=True, slots=True)
class Laws:
    """What was fitted.

    Attributes:
        scale: of the rough estimate, common to all kernels.
        coefficients: by kind of kernel, as `features` orders them.
        entries: milliseconds of each kernel that was in an artifact, by its key.
    """

    scale: float
    coefficients: Mapping[str, tuple[float, ...]]
    entries: Mapping[str, float]


def rough_ms(kernel: Kernel) -> float:
    """A first guess: a start, its multiply-accumulates and the float32 values it reads and writes, one after the other.

    Only its shape matters; the laws scale it.
    """
    inputs, outputs, pixels = kernel.in_channels, kernel.out_channels, kernel.size**2
    name, window = split_kind(kernel.kind)
    area = window**2
    match name:
        case "conv" | "grouped":
            weights = area * inputs * outputs
            macs, values = weights * pixels, weights + pixels * (outputs + kernel.stride**2 * inputs)
        case "depthwise":
            macs = area * inputs * outputs * pixels
            values = area * outputs + pixels * outputs * (1 + kernel.stride**2)
        case "vector" | "linear":
            macs = values = inputs * outputs
        case "tokens":
            macs = inputs * outputs * kernel.size
            values = inputs * outputs + kernel.size * (inputs + outputs)
        case "softmax" | "layernorm" | "dynamicrelu" | "shuffle" | "per_anchor" | "join" | "sigmoids":
            macs, values = 0, 2 * inputs * kernel.size
        case _ if name.startswith("matmul"):
            macs, values = inputs * outputs * kernel.size, kernel.size * (inputs + outputs)
        case _:
            macs, values = 0, 2 * outputs * pixels
    return START_MS + macs / MACS_PER_MS + 4 * values / BYTES_PER_MS


def features(kernel: Kernel) -> tuple[float, ...]:
    """Logs of the sizes, their squares and products. Channels in blocks of 8: what vector units work in."""
    inputs, outputs = kernel.in_channels, kernel.out_channels
    a, b = log(-(-inputs // 8) / 8), log(-(-outputs // 8) / 8)
    s, t = log(kernel.size / 14), log(kernel.stride)
    # packed layouts want multiples of 4: others, as V1's unrounded channels, take a route that is several times slower
    odd_in, odd_out = float(inputs % 4 != 0), float(outputs % 4 != 0)
    return 1.0, a, b, s, t, a * a, b * b, s * s, a * b, a * s, b * s, odd_in, odd_out


def law_ms(kernel: Kernel, law: Sequence[float]) -> float:
    """Milliseconds of a kernel by the law of its kind, before `Laws.scale`. Plain numbers: a search asks thousands."""
    return rough_ms(kernel) * exp(sum(map(mul, features(kernel), law)))


def fit_laws(artifacts: Sequence[Sequence[Kernel]], times_ms: Sequence[float]) -> Laws:
    """The most probable laws and kernel times, given the kernels and the measured time of each artifact."""
    seen = sorted({kernel for kernels in artifacts for kernel in kernels}, key=lambda k: k.key)
    kinds = sorted({kernel.kind for kernel in seen})
    counts = _counts(artifacts, seen)
    times = np.asarray(times_ms, np.float64)
    rough = np.array([rough_ms(kernel) for kernel in seen])
    scale = float(np.median(times / (counts @ rough)))
    design = _design(seen, kinds)
    variance = np.tile(PRIOR**2, len(kinds))
    logs = _solve(counts, times, scale * rough, design, variance)
    # what of the logs the laws explain, the deviations being the rest
    inverse = design.T @ design / DEVIATION**2 + np.diag(1 / variance)
    found = np.linalg.solve(inverse, design.T @ logs / DEVIATION**2).reshape(len(kinds), -1)
    return Laws(
        scale,
        {kind: tuple(float(v) for v in law) for kind, law in zip(kinds, found, strict=True)},
        {k.key: float(v) for k, v in zip(seen, scale * rough * np.exp(logs), strict=True)},
    )


def _counts(artifacts: Sequence[Sequence[Kernel]], seen: Sequence[Kernel]) -> Vector:
    """How often each kernel is in each artifact: (artifacts, kernels)."""
    at = {kernel: i for i, kernel in enumerate(seen)}
    counts = np.zeros((len(artifacts), len(seen)))
    for row, kernels in zip(counts, artifacts, strict=True):
        for kernel, count in Counter(kernels).items():
            row[at[kernel]] = count
    return counts


def _design(seen: Sequence[Kernel], kinds: Sequence[str]) -> Vector:
    """Features of each kernel in the columns of its kind: (kernels, kinds x features)."""
    width = len(PRIOR)
    design = np.zeros((len(seen), len(kinds) * width))
    for row, kernel in zip(design, seen, strict=True):
        start = kinds.index(kernel.kind) * width
        row[start : start + width] = features(kernel)
    return design


def _solve(counts: Vector, times: Vector, guess: Vector, design: Vector, variance: Vector) -> Vector:
    """Log of each kernel's time over its guess: Gauss-Newton in the space of the artifacts, the smaller one."""
    logs = np.zeros(len(guess))
    for i in range(30):
        shares = counts * (guess * np.exp(logs)) / times[:, None]
        residual = 1 - shares.sum(1)
        # from far away everything looks like an outlier: only once it fits, weigh by the fit
        weight = 1 / (1 + (residual / (OUTLIER * NOISE)) ** 2) if i > 3 else np.ones(len(times))
        # prior covariance of the logs, times the shares
        spread = design @ (variance[:, None] * (design.T @ shares.T)) + DEVIATION**2 * shares.T
        step = spread @ np.linalg.solve(shares @ spread + np.diag(NOISE**2 / weight), residual + shares @ logs) - logs
        largest = float(np.abs(step).max())
        logs = logs + step * min(1.0, 1.0 / largest) if largest else logs
        if largest < 1e-3:
            break
    return logs
