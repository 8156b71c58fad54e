"""The winner on its device: it must answer there as it answers here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.errors import VerificationError
from mobilenets.exports.verify import AGREEMENT, TOLERANCE
from mobilenets.latency import Device
from mobilenets.latency.measure import Model, loaded, outputs
from mobilenets.metrics import Task
from mobilenets.outputs import CLASSES, MASK, PROBABILITIES, SCORES, Outputs
from mobilenets.runtime import open_artifact
from mobilenets.runtime.session import Images


@dataclass(frozen=True, slots=True)
class Answers:
    """What an artifact said on a device, against what it says on this machine.

    Attributes:
        images: how many were asked.
        max_difference: largest absolute difference between class probabilities, or boxes' scores; 0 of masks.
        top1_agreement: part of the images on which both name the same class; of boxes by rank, of pixels.
    """

    images: int
    max_difference: float
    top1_agreement: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def answers_on(device: Device, artifact: Path, images: Images, *, threads: int = 1) -> Answers:
    """Ask the device and this machine, and compare.

    Float arithmetic may differ by rounding; int8 kernels of other processors round otherwise, so there the most
    probable class decides. So it does for boxes and masks: near a threshold the last digit does.

    Raises:
        VerificationError: they disagree.
        DeviceError: the device cannot be reached, or cannot run it.
    """
    here = open_artifact(artifact, threads=threads)
    expected = here.outputs(images)
    with device.connect() as link, loaded(link, [Model.of(artifact)], threads=threads) as (timing,):
        found = outputs(timing, images)
    difference, agreement = _likeness(here.task, expected, found)
    exact = here.precision != "int8" and PROBABILITIES in expected
    if not (difference <= TOLERANCE if exact else agreement >= AGREEMENT):
        raise VerificationError(
            f"{artifact} answers otherwise on {device.text} than here: largest probability difference "
            f"{difference:.1e}, the same class on {agreement:.0%} of {len(images)} images."
        )
    return Answers(len(images), difference, agreement)


def _likeness(task: Task, expected: Outputs, found: Outputs) -> tuple[float, float]:
    """Largest difference of probabilities or scores, and the part of images, boxes or pixels that have one class."""
    match task:
        case "classify" | "multi-label":
            one, other = expected[PROBABILITIES], found[PROBABILITIES]
            return float(np.abs(one - other).max()), float((one.argmax(1) == other.argmax(1)).mean())
        case "detect":
            real = expected[SCORES] > 0
            same = (expected[CLASSES] == found[CLASSES])[real]
            return float(np.abs(expected[SCORES] - found[SCORES]).max()), float(same.mean()) if same.size else 1.0
        case "segment":
            return 0.0, float((expected[MASK] == found[MASK]).mean())
