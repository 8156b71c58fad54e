"""The winner on its device: it must answer there as it answers here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.errors import VerificationError
from mobilenets.exports.verify import AGREEMENT, TOLERANCE
from mobilenets.latency import Device
from mobilenets.latency.measure import Model, loaded, probabilities
from mobilenets.runtime import open_artifact
from mobilenets.runtime.session import Images


@dataclass(frozen=True, slots=True)
class Answers:
    """What an artifact said on a device, against what it says on this machine.

    Attributes:
        images: how many were asked.
        max_difference: largest absolute difference between class probabilities.
        top1_agreement: part of the images on which both name the same class.
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
    probable class decides.

    Raises:
        VerificationError: they disagree.
        DeviceError: the device cannot be reached, or cannot run it.
    """
    here = open_artifact(artifact, threads=threads)
    expected = here.run(images)
    with device.connect() as link, loaded(link, [Model.of(artifact)], threads=threads) as (timing,):
        found = probabilities(timing, images)
    difference = float(np.abs(expected - found).max())
    agreement = float((expected.argmax(1) == found.argmax(1)).mean())
    if not (agreement >= AGREEMENT if here.precision == "int8" else difference <= TOLERANCE):
        raise VerificationError(
            f"{artifact} answers otherwise on {device.text} than here: largest probability difference "
            f"{difference:.1e}, the same class on {agreement:.0%} of {len(images)} images."
        )
    return Answers(len(images), difference, agreement)
