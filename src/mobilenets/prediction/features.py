"""Embeddings: what a network makes of an image at one of its nodes, beside what it says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError, MisuseError, UnknownNameError
from mobilenets.metrics import Task
from mobilenets.prediction.asking import FEATURES
from mobilenets.prediction.predictor import Checkpoint, Predictor
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession
from mobilenets.runtime.session import first_line


class Featured:
    """A `Predictor` whose outputs have `FEATURES`, too: a node's values, their mean over the places of a map.

    ONNX files are run once for both, checkpoints twice.
    """

    def __init__(self, inner: Predictor, node: str) -> None:
        self._inner, self._node = inner, node
        self.classes: tuple[str, ...] = inner.classes
        self.preprocessing: Preprocessing = inner.preprocessing
        self.task: Task = inner.task
        self.metadata: Mapping[str, str] = inner.metadata
        self.runtime: str = getattr(inner, "runtime", "")
        self.threads: int = getattr(inner, "threads", 1)

    def outputs(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Outputs by name of uint8 images (n, h, w, c), and `FEATURES` (n, c)."""
        found = dict(self._inner.outputs(images))
        if isinstance(self._inner, Checkpoint):
            found[self._node] = self._inner.values(images, self._node)
        return found | {FEATURES: _pooled(found[self._node])}

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities (n, classes) of uint8 images (n, h, w, c)."""
        return self._inner.run(images)


def open_featured(model: object, node: str, *, threads: int, inner: Predictor | None = None) -> Featured:
    """An `.onnx` file or a checkpoint that gives a node's values, too.

    Args:
        model: an `.onnx` file; else `inner` must be a checkpoint's.
        node: a node as `mobilenets show` and `print(model)` name it, such as `row19.conv.act`; the beginning of several
            names, such as `row19.conv`, stands for the last one of them. Files name nodes that were folded into another
            by the last of them.
        threads: inside an operator.
        inner: the model, where it is open already.

    Raises:
        MisuseError: another kind of file.
        UnknownNameError: no such node.
        CheckpointError: the file cannot be read.
    """
    if isinstance(inner, Checkpoint):
        return Featured(inner, _last_of(node, inner.nodes()))
    if Path(str(model)).suffix.lower() != ".onnx" or (inner is not None and not isinstance(inner, OnnxRuntimeSession)):
        raise MisuseError(f"features are had from checkpoints and from .onnx files in ONNX Runtime, not from {model}.")
    import onnx

    try:
        proto = onnx.load(str(model))
    except Exception as error:  # protobuf's errors have no root of their own
        raise CheckpointError(f"{model}: ONNX cannot read it: {first_line(error)}") from error
    known = [name for each in proto.graph.node for name in each.output if name]
    name = _last_of(node, known)
    if name not in {each.name for each in proto.graph.output}:
        proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return Featured(OnnxRuntimeSession.open(proto.SerializeToString(), threads=threads, more=(name,)), name)


def _last_of(node: str, known: Sequence[str]) -> str:
    if node in known:
        return node
    if below := [name for name in known if name.startswith(f"{node}.")]:
        return below[-1]
    raise UnknownNameError("node", node, known, hint="`mobilenets show` and `print(model)` name the nodes.")


def _pooled(values: NDArray[Any]) -> NDArray[np.float32]:
    """N c h w -> n c; anything else is flattened."""
    if values.ndim == 4:
        values = values.mean(axis=(2, 3), dtype=np.float32)
    return np.ascontiguousarray(values, np.float32).reshape(len(values), -1)
