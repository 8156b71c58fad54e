"""Proof that an artifact computes what the model computes: the same images through both, in the artifact's runtime."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenets.errors import MisuseError
from mobilenets.model import MobileNet, evaluating, normalise
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession, raw_session

TOLERANCE = 1e-4
"""Largest allowed difference between class probabilities in float32."""

Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome of a comparison.

    Attributes:
        images: how many went through both.
        max_difference: largest absolute difference between class probabilities.
        tolerance: what was allowed.
        top1_agreement: part of the images on which both name the same class.
        first_departure: the first node whose values differ, where the probabilities do.
    """

    images: int
    max_difference: float
    tolerance: float
    top1_agreement: float
    first_departure: str | None = None

    @property
    def passed(self) -> bool:
        """Within tolerance; a difference that is not a number fails."""
        return self.max_difference <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"passed": self.passed}

    def __str__(self) -> str:
        if self.passed:
            return f"largest probability difference {self.max_difference:.1e} on {self.images} images"
        where = f"; the first node to depart is {self.first_departure}" if self.first_departure else ""
        return (
            f"largest probability difference {self.max_difference:.1e} on {self.images} images, allowed "
            f"{self.tolerance:.0e}, top-1 agreement {self.top1_agreement:.1%}{where}"
        )


def verify(model: MobileNet, artifact: str | Path, images: Images, *, tolerance: float = TOLERANCE) -> Verification:
    """Reload an artifact and compare it with the model it was made from.

    Args:
        model: the PyTorch model.
        artifact: the file, reloaded from disk in its own runtime.
        images: uint8 (n, h, w, c), preprocessed to the model's resolution.
        tolerance: largest allowed difference between probabilities.

    Raises:
        MisuseError: no images, or images of another shape.
    """
    _check(images, model.network.resolution)
    session = OnnxRuntimeSession.open(artifact)
    expected = _probabilities(model, images)
    found = np.concatenate([session.run(batch) for batch in _batches(images)])
    difference = float(np.abs(expected - found).max())
    agreement = float((expected.argmax(1) == found.argmax(1)).mean())
    departure = None
    if not difference <= tolerance:
        departure = first_departure(model, Path(artifact), images[int(np.abs(expected - found).max(1).argmax())][None])
    return Verification(len(images), difference, tolerance, agreement, departure)


def _check(images: Images, size: int) -> None:
    if len(images) == 0:
        raise MisuseError("no image to verify on: give at least one.")
    if images.shape[1:3] != (size, size) or images.dtype != np.uint8:
        raise MisuseError(
            f"images to verify on must be uint8 n h w c of {size}x{size} pixels, got {images.dtype} "
            f"{'x'.join(map(str, images.shape))}."
        )


def first_departure(model: MobileNet, artifact: Path, image: Images, *, relative: float = 1e-3) -> str | None:
    """Address of the first node whose values in the artifact differ from the model's by more than `relative`.

    The artifact's own graph is opened up: every value that carries a node's name becomes an output.
    """
    import onnx

    proto = onnx.load(str(artifact))
    names = [node.name for node in model.nodes]
    present = {output for node in proto.graph.node for output in node.output}
    wanted = [name for name in names if name in present]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    session = raw_session(proto.SerializeToString())
    found = session.run(wanted, {session.get_inputs()[0].name: image})
    with evaluating(model), torch.inference_mode():
        expected = model.taps(normalise(torch.from_numpy(image), model.info.preprocessing), wanted)
    for name, value in zip(wanted, found, strict=True):
        reference = expected[name].numpy()
        if value.shape != reference.shape:
            return name
        if not np.abs(value - reference).max() <= relative * max(float(np.abs(reference).max()), 1e-3):
            return name
    return None


def _probabilities(model: MobileNet, images: Images) -> NDArray[np.float32]:
    with evaluating(model), torch.inference_mode():
        parts = [
            model.probabilities(model(normalise(torch.from_numpy(batch), model.info.preprocessing)))
            for batch in _batches(images)
        ]
    probabilities: NDArray[np.float32] = torch.cat(parts).numpy()
    return probabilities


def _batches(images: Images, size: int = 16) -> list[Images]:
    return [images[i : i + size] for i in range(0, len(images), size)]
