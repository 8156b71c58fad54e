"""What an exported detector or segmenter does after its network, and by which thresholds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mobilenets.errors import MisuseError
from mobilenets.exports.formats import Format
from mobilenets.outputs import output_names
from mobilenets.table.rows import Network


@dataclass(frozen=True, slots=True)
class Postprocess:
    """Whether boxes are decoded and suppressed inside the file, or each pixel's class taken; thresholds of detectors.

    Formats that cannot have it inside are raw whatever this says.

    Attributes:
        inside: inside the file, where the format can; raw outputs are for delegates, which run the network only.
        score: the least that counts.
        overlap: intersection over union with a better box of the same class from which a box is dropped.
        most: boxes of an image.

    Raises:
        MisuseError: a threshold out of range.
    """

    inside: bool = True
    score: float = 0.05
    overlap: float = 0.6
    most: int = 100

    def __post_init__(self) -> None:
        for name, value in (("score", self.score), ("overlap", self.overlap)):
            if not 0 <= value <= 1:
                raise MisuseError(f"post-processing: `{name}` (={value}) must be from 0 to 1.")
        if self.most < 1:
            raise MisuseError(f"post-processing: `most` (={self.most}) must be at least 1.")

    def within(self, format: Format, network: Network) -> bool:
        """Whether a network's file of a format has it inside."""
        return self.inside and format.inside and network.task != "classify"

    def thresholds(self) -> dict[str, Any]:
        """As `heads.detections` takes them."""
        return {name: value for name, value in asdict(self).items() if name != "inside"}


def described(network: Network, chosen: Postprocess) -> dict[str, str]:
    """What a file with it inside says of it, as texts by name, over what a raw one does."""
    found = {"postprocess": "inside", "outputs": json.dumps(output_names(network.task, "inside"))}
    return found | ({"suppression": json.dumps(chosen.thresholds())} if network.task == "detect" else {})


def thresholds_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The thresholds that a file was written with; none where it is raw."""
    found: dict[str, Any] = json.loads(metadata.get("suppression", "{}"))
    return found
