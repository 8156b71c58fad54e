"""What a report calls things, task by task, and under which keys candidates' scores stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mobilenets.metrics import METRICS


@dataclass(frozen=True, slots=True)
class Words:
    """A task's words.

    Attributes:
        public: the score of public data that candidates are ranked by.
        told: the same behind a number in percent.
        promised: where it is from.
        loss: what the loss is, and its unit.
        compared: what is compared with PyTorch's.
        wrong: what makes an image one of the worst.
    """

    public: str
    told: str
    promised: str
    loss: str
    compared: str
    wrong: str


_CLASSES = Words(
    "ImageNet top-1",
    "on ImageNet",
    "published or interpolated ImageNet accuracy",
    "cross-entropy, nats",
    "probabilities",
    "least probability for the truth",
)
_WORDS = {
    "detect": Words(
        "COCO AP",
        "AP on COCO",
        "the AP on COCO that published detectors let expect of this backbone, width and resolution",
        "loss of boxes and classes",
        "box codes and probabilities, or boxes that are found",
        "boldest wrong boxes and the objects missed most clearly",
    ),
    "segment": Words(
        "Cityscapes mIoU",
        "mIoU on Cityscapes",
        "the mIoU on Cityscapes that published segmenters let expect of this backbone, width and resolution",
        "loss of pixels",
        "probabilities, or pixels' classes",
        "largest part of wrong pixels",
    ),
}


def words(task: object) -> Words:
    """Of a task; those of classes where it is another or none."""
    return _WORDS.get(str(task), _CLASSES)


def expected(candidate: Mapping[str, Any]) -> Any:
    """A candidate's expected score of public data, percent; None where it has none."""
    return next((candidate[key] for m in METRICS.values() if (key := f"expected_{m}_percent") in candidate), None)


def searched(candidate: Mapping[str, Any]) -> Any:
    """A candidate's best score in the search, as a share; None where it was not tried."""
    return next((candidate[key] for m in METRICS.values() if (key := f"search_{m}") in candidate), None)


def short(network: object) -> str:
    """`ssdlite_v2` of `ssdlite_mobilenet_v2`: what all have in common is left out."""
    return str(network).replace("mobilenet_", "", 1)
