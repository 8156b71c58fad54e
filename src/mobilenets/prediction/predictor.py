"""One face for a checkpoint and an exported file: uint8 images in, what the network says of them out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MisuseError
from mobilenets.metrics import Task
from mobilenets.onnx import metadata
from mobilenets.outputs import PROBABILITIES
from mobilenets.preprocessing import Preprocessing
from mobilenets.processors import processors
from mobilenets.runtime import SUFFIXES, open_artifact


class Predictor(Protocol):
    """Anything that turns preprocessed images into a network's outputs."""

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    task: Task
    metadata: Mapping[str, str]

    def outputs(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Outputs by name of uint8 images (n, h, w, c); see `answers` for what they mean."""
        ...

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities (n, classes) of uint8 images (n, h, w, c)."""
        ...


class Checkpoint:
    """A PyTorch model as a `Predictor`."""

    def __init__(self, model: Any, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.model = model
        self.classes: tuple[str, ...] = model.info.classes
        self.preprocessing: Preprocessing = model.info.preprocessing
        self.task: Task = model.info.task
        self.metadata: Mapping[str, str] = metadata(model.network, self.preprocessing, self.classes, self.task)

    def outputs(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Outputs by name of uint8 images (n, h, w, c)."""
        import torch

        from mobilenets.model import AnchorOutputs, evaluating, normalise

        with evaluating(self.model), torch.inference_mode():
            given = self.model(normalise(torch.from_numpy(images), self.preprocessing))
            if isinstance(given, AnchorOutputs):
                return {"boxes": given.boxes.numpy(), "scores": self.model.probabilities(given.classes).numpy()}
            return {PROBABILITIES: self.model.probabilities(given).numpy()}

    def nodes(self) -> list[str]:
        """Names of the network's nodes, in the order in which they run."""
        return [node.name for node in self.model.nodes]

    def values(self, images: NDArray[np.uint8], node: str) -> NDArray[Any]:
        """A node's values for uint8 images (n, h, w, c)."""
        import torch

        from mobilenets.model import evaluating, normalise

        with evaluating(self.model), torch.inference_mode():
            found: NDArray[Any] = self.model.taps(normalise(torch.from_numpy(images), self.preprocessing), [node])[
                node
            ].numpy()
        return found

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities (n, classes) of uint8 images (n, h, w, c)."""
        probabilities: NDArray[np.float32] = self.outputs(images)[PROBABILITIES]
        return probabilities


def open_model(
    model: Any, *, threads: int | None = None, runtime: str | None = None, precision: str | None = None
) -> Predictor:
    """A checkpoint (`.safetensors`), an exported file, or a model in memory, ready to predict.

    torch is imported only for what needs it.

    Args:
        model: what to open.
        threads: processors to use; None takes all.
        runtime: of an exported file; None takes the format's own.
        precision: of float arithmetic in an exported file: fp32 unless asked otherwise.

    Raises:
        MisuseError: no such file, a kind that is not known, or a runtime for what is no exported file.
    """
    if threads is not None and threads < 1:
        raise MisuseError(f"`threads` (={threads}) must be at least 1.")
    threads = threads or processors()
    if (runtime or precision) and Path(str(model)).suffix.lower() not in SUFFIXES:
        raise MisuseError(f"a runtime and its precision are for exported files ({', '.join(SUFFIXES)}), not {model}.")
    if not isinstance(model, str | Path):
        return Checkpoint(model, threads)
    suffix = Path(model).suffix.lower()
    if suffix in SUFFIXES:
        return open_artifact(model, threads=threads, runtime=runtime, precision=precision)
    if suffix in {".safetensors", ".pth", ".pt", ".pkl", ".ckpt"}:
        from mobilenets.model import load

        return Checkpoint(load(model).eval(), threads)
    known = ", ".join([".safetensors", *SUFFIXES])
    what = "no such file" if not Path(model).exists() else "not a model"
    raise MisuseError(f"{what}: {model}. Expected a checkpoint or an exported file ({known}).")
