"""What this machine can do at most, measured in the runtime that networks run in: operations and bytes a second."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mobilenets.costs import cost
from mobilenets.costs.roofline import Ceilings, Roofline, roofline
from mobilenets.errors import MisuseError
from mobilenets.latency import processor, time_session
from mobilenets.latency.kernel_times import kernel_times
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession, raw_session
from mobilenets.table.rows import Network

MATRIX = 512
"""Rows and columns of the matrices: 3 MB in all, large enough for the full rate and small enough for a cache."""
MEMORY_VALUES = 12_000_000
"""Of each array: three of 48 MB are beyond the caches that a core has to itself."""
CACHE_VALUES = 64_000
"""Of each array: three of 256 KB."""


def measure_ceilings(*, threads: int = 1, limit_s: float = 0.3) -> Ceilings:
    """The ceilings of this machine: the best of many tries, about a second in all.

    Args:
        threads: inside an operator.
        limit_s: seconds for each of the three.
    """
    import onnxruntime

    matrix = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)
    product = _best_s("MatMul", matrix, threads, limit_s)
    memory, cache = (
        3 * 4 * values / _best_s("Add", np.ones(values, np.float32), threads, limit_s)
        for values in (MEMORY_VALUES, CACHE_VALUES)
    )
    runtime = f"onnxruntime {onnxruntime.__version__}"
    return Ceilings(2 * MATRIX**3 / product / 1e9, memory / 1e9, cache / 1e9, threads, processor(), runtime)


def measured_roofline(network: Network, *, threads: int = 1) -> Roofline:
    """A network under this machine's roof, with its kernels' times by the runtime's own profile.

    Weights are random.

    Raises:
        MisuseError: `threads` below 1.
    """
    if threads < 1:
        raise MisuseError(f"`threads` (={threads}) must be at least 1.")
    before = measure_ceilings(threads=threads)
    whole, found = _whole_ms(network, threads), kernel_times(network, threads=threads)
    ceilings = _higher(before, measure_ceilings(threads=threads))  # another process may have had the machine once
    return roofline(cost(network), ceilings, found, whole)


def _whole_ms(network: Network, threads: int) -> float:
    """Median of whole runs, nothing recorded."""
    preprocessing = Preprocessing.of(network)
    model = to_onnx(network, random_weights(network), preprocessing)
    session = OnnxRuntimeSession.open(model.SerializeToString(), threads=threads)
    return time_session(session, runs=30, limit_s=1.0).median_ms


def _higher(one: Ceilings, other: Ceilings) -> Ceilings:
    return replace(
        one,
        gflops=max(one.gflops, other.gflops),
        memory_gbs=max(one.memory_gbs, other.memory_gbs),
        cache_gbs=max(one.cache_gbs, other.cache_gbs),
    )


def _best_s(operator: str, value: Any, threads: int, limit_s: float) -> float:
    """Fastest of the calls of one operator on two arrays, at least 3 of them."""
    other = value.copy()  # the same one would be read once only
    session = _alone(operator, value.shape, threads)
    times: list[float] = []
    end = time.perf_counter() + limit_s
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        session.run(None, {"a": value, "b": other})
        times.append(time.perf_counter() - begin)
    return min(times)


def _alone(operator: str, shape: Sequence[int], threads: int) -> Any:
    from mobilenets.onnx.writer import IR_VERSION, OPSET
    from onnx import TensorProto, helper

    a, b, c = (helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name in "abc")
    graph = helper.make_graph([helper.make_node(operator, ["a", "b"], ["c"])], operator, [a, b], [c])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    return raw_session(model.SerializeToString(), threads=threads)
