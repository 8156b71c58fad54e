"""What is found in a data set: plain data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mobilenets.data.annotations import Boxes, Mask
from mobilenets.data.sources import Source
from mobilenets.metrics import Task

Severity = Literal["fault", "warning", "note"]
"""A fault spoils training or its score; a warning may; a note tells what is handled by itself."""

KINDS = {
    "layout": "folders that cannot be used as they are",
    "classes": "classes that are empty or differ between splits",
    "leak": "the same image in two splits",
    "label conflict": "the same image under two classes",
    "empty file": "files of 0 bytes",
    "truncated": "images that end too early",
    "decompression bomb": "images too large to decode",
    "unreadable": "files that are no image, or damaged",
    "suspicious label": "the model is sure of another class",
    "unreadable annotation": "files of boxes that are damaged",
    "unknown class": "objects of a class that is not in the list",
    "unreadable mask": "masks that are damaged, or not what the list of classes wants",
    "mask values": "masks with numbers or colours of no class",
    "mask size": "masks of another size than their image",
    "annotation size": "the image has another size than its annotation says",
    "outside image": "boxes that go beyond their image",
    "no area": "objects without area",
    "duplicate box": "the same box several times",
    "no image": "annotations of images that are not there",
    "no annotation": "images that nothing is said of",
    "wrong extension": "contents are of another format than the name says",
    "left out": "files in class folders that are not read",
    "outside classes": "images that lie in no class folder",
    "duplicate": "the same file several times",
    "near duplicate": "the same picture several times",
    "mirrored copy": "a picture and its mirror image",
    "one colour": "next to nothing to see",
    "too small": "far smaller than the network's input",
    "extreme aspect": "the centre crop cuts most of the picture away",
    "imbalance": "some classes have many times the images of others",
    "few images": "classes with very few images",
    "few objects": "classes with very few objects",
    "tiny objects": "objects of a few pixels in the network's input",
    "no objects": "images without anything to find",
    "rotated": "turned upright as EXIF says",
    "grey": "read as RGB",
    "CMYK": "read as RGB",
    "16 bits": "scaled to 8 bits",
    "transparent": "laid on white",
    "animated": "the first frame is read",
}
"""Kinds of findings and what they are, worst first."""

_SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: one of `KINDS`.
        severity: how bad it is.
        paths: the files (or folders) it is about; copies of one picture are one finding, the closest two first.
        message: what it is and what to do.
    """

    kind: str
    severity: Severity
    paths: tuple[Source, ...]
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        paths = [str(path) for path in self.paths]
        return {"kind": self.kind, "severity": self.severity, "message": self.message, "paths": paths}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found in a data set.

    Attributes:
        root: the data set.
        resolution: the network's input that sizes were compared with, in pixels.
        counts: images by split and class, the unreadable ones among them; a data set without splits is `all`. Of boxes,
            objects by split and class; of masks, the images that a class is in.
        findings: worst first.
        task: what the images are labelled for.
        sizes: images by split.
        truth: boxes or masks of the images.
    """

    root: Path
    resolution: int
    counts: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]
    task: Task
    sizes: Mapping[str, int]
    truth: Mapping[Source, Boxes | Mask] = field(default_factory=dict, repr=False)

    @property
    def images(self) -> int:
        """How many images were looked at."""
        return sum(self.sizes.values())

    @property
    def sound(self) -> bool:
        """Whether there is neither a fault nor a warning."""
        return all(finding.severity == "note" for finding in self.findings)

    def adding(self, findings: Sequence[Finding]) -> Report:
        """The report with more findings in it."""
        return replace(self, findings=worst_first([*self.findings, *findings]))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        by_severity = Counter(finding.severity for finding in self.findings)
        return {
            "task": "check",
            "data": str(self.root),
            "resolution": self.resolution,
            "labelled": self.task,
            "images": self.images,
            "counts": {split: dict(of) for split, of in self.counts.items()},
            **{f"{severity}s": by_severity[severity] for severity in _SEVERITIES},
            "findings": [finding.to_dict() for finding in self.findings],
        }


def worst_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings by severity, then kind; within a kind in the order given."""
    kinds = list(KINDS)
    return tuple(sorted(findings, key=lambda f: (_SEVERITIES.index(f.severity), kinds.index(f.kind))))


def below(path: Source, root: Path) -> str:
    """A file as it is shown: from the root of the data set, whatever kind of path it is."""
    return str(path).removeprefix(f"{root}{os.sep}")
