"""Ranges of a float graph's values on images: what static int8 is scaled by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, assert_never

import numpy as np
from numpy.typing import NDArray

from mobilenets.onnx.writer import IMAGE
from mobilenets.precision import Calibration

BINS = 2048
KEPT = 99.99
"""Per cent of a value's numbers that `percentile` keeps in range."""
CLIPPED = 0.01
"""Largest part of the numbers that `entropy` may clip, zeros aside. Without a bound a gate whose values all lie between
0.16 and 0.74 was clipped at 0.16, where one filled bin describes one filled bin: 24 % right instead of 82 %."""

Images = NDArray[np.uint8]
Values = NDArray[np.float32]
Counts = NDArray[np.int64]
Ranges = dict[str, tuple[float, float]]


def calibrate(model: Any, images: Images, method: Calibration) -> Ranges:
    """Smallest and largest number to represent of every float value, by name.

    ONNX Runtime's own calibrators are not used: as it calls them, `entropy` has one threshold to choose from (all of
    the range) and `percentile` makes ranges symmetric, which halves the resolution after a ReLU. Images go through in
    small batches and only counts are kept, so memory does not grow with their number.

    Args:
        model: an `onnx.ModelProto` in float whose values carry names; it is not changed.
        images: uint8 (n, h, w, c), as the model takes them.
        method: see `Calibration`.
    """
    names = _float_values(model)
    run = _tapped(model, names)
    whole = _extremes(run, names, images)
    match method:
        case "minmax":
            return whole
        case "percentile" | "entropy":
            histograms = {name: Histogram(whole[name], method) for name in names}
            for batch in _batches(images):
                for name, value in run(batch).items():
                    histograms[name].add(value)
            return {name: histogram.range() for name, histogram in histograms.items()}
        case _:
            assert_never(method)


class Histogram:
    """How many numbers of a value fall into each of equal bins over its whole range, and the range worth keeping.

    Args:
        whole: smallest and largest number.
        method: `percentile` counts the numbers, `entropy` their magnitudes.
    """

    def __init__(self, whole: tuple[float, float], method: Literal["percentile", "entropy"]) -> None:
        self.whole, self.method = whole, method
        self.low, self.high = whole if method == "percentile" else (0.0, max(-whole[0], whole[1]))
        self.counts = np.zeros(BINS, np.int64)

    def add(self, value: Values) -> None:
        """Count numbers, of any shape."""
        scale = BINS / (self.high - self.low) if self.high > self.low else 0.0
        numbers = np.abs(value) if self.method == "entropy" else value
        at = np.clip(((numbers.ravel() - self.low) * scale).astype(np.int32), 0, BINS - 1)
        self.counts += np.bincount(at, minlength=BINS)

    def range(self) -> tuple[float, float]:
        """Smallest and largest number to represent."""
        if self.counts.sum() == 0 or self.high <= self.low:
            return self.whole
        keep = _percentile if self.method == "percentile" else _least_divergence
        return keep(self.counts, self.whole)


def _float_values(model: Any) -> list[str]:
    """Everything that a node computes in float; shapes are inferred."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    float_names = {
        info.name for info in [*inferred.value_info, *inferred.output] if info.type.tensor_type.elem_type == 1
    }
    return [name for node in inferred.node for name in node.output if name in float_names]


Run = Callable[[Images], dict[str, Values]]


def _tapped(model: Any, names: Sequence[str]) -> Run:
    """Runs the model and gives the named values."""
    import onnxruntime

    import onnx

    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda images: dict(zip(names, session.run(list(names), {IMAGE: images}), strict=True))


def _batches(images: Images, size: int = 4) -> Iterator[Images]:
    return (images[i : i + size] for i in range(0, len(images), size))


def _extremes(run: Run, names: Sequence[str], images: Images) -> Ranges:
    ranges = dict.fromkeys(names, (np.inf, -np.inf))
    for batch in _batches(images):
        for name, value in run(batch).items():
            low, high = ranges[name]
            ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
    return ranges


def _percentile(counts: Counts, whole: tuple[float, float]) -> tuple[float, float]:
    """The narrowest bins that leave half of the rest outside at each end; an end at 0 stays there."""
    low, high = whole
    part = np.cumsum(counts) / counts.sum()
    tail = (1 - KEPT / 100) / 2
    edges = np.linspace(low, high, BINS + 1)
    first, last = int(np.searchsorted(part, tail, side="right")), int(np.searchsorted(part, 1 - tail))
    return float(edges[first]) if low < 0 else low, float(edges[min(last, BINS - 1) + 1])


def _least_divergence(counts: Counts, whole: tuple[float, float]) -> tuple[float, float]:
    """The clipping of magnitudes that loses the least information, in Kullback-Leibler divergence, of those allowed.

    Source: Migacz, 8-bit inference with TensorRT, 2017.
    """
    low, high = whole
    levels = 256 if low >= 0 else 128
    inside = np.cumsum(counts) - counts[0]
    least = int(np.searchsorted(inside, (1 - CLIPPED) * inside[-1])) + 1
    candidates = [kept for kept in range(levels, BINS + 1, 16) if kept >= least]
    best = min(candidates, key=lambda kept: _divergence(counts, kept, levels))
    limit = max(-low, high) * best / BINS
    return max(low, -limit), min(high, limit)


def _divergence(counts: Counts, kept: int, levels: int) -> float:
    """Of the first `kept` bins, quantized to `levels`, from all bins clipped to them."""
    inside = counts[:kept].astype(np.float64)
    inside[0] = 0  # zeros are exact in every quantization: the many that a ReLU makes would outvote the rest
    reference = inside.copy()
    reference[-1] += counts[kept:].sum()
    if inside.sum() == 0:
        return np.inf if reference.sum() else 0.0
    level = np.arange(kept) * levels // kept
    filled = (inside > 0).astype(np.float64)
    spread = np.bincount(level, inside, levels) / np.maximum(np.bincount(level, filled, levels), 1)
    quantized = spread[level] * filled
    p, q = reference / reference.sum(), quantized / quantized.sum()
    some = p > 0
    return float((p[some] * np.log(p[some] / np.maximum(q[some], 1e-9))).sum())
