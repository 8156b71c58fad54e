"""How like the model's answers a file's are: numbers where it gives numbers, boxes and pixels where it gives those."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenets.heads import Detections, anchors, detections_in, iou
from mobilenets.model import AnchorOutputs, MobileNet, evaluating, normalise
from mobilenets.outputs import BOXES, COUNT, MASK, PROBABILITIES, SCORES, Outputs
from mobilenets.runtime.session import Images


def model_outputs(model: MobileNet, images: Images) -> Outputs:
    """The model's own raw outputs for uint8 images (n, h, w, c), by name."""
    parts: list[tuple[torch.Tensor, ...]] = []
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(images), 16):
            found = model(normalise(torch.from_numpy(images[start : start + 16]), model.info.preprocessing))
            if isinstance(found, AnchorOutputs):
                parts.append((found.boxes, model.probabilities(found.classes)))
            else:
                parts.append((model.probabilities(found),))
    names = (BOXES, SCORES) if len(parts[0]) == 2 else (PROBABILITIES,)
    return {name: torch.cat(values).numpy() for name, values in zip(names, zip(*parts, strict=True), strict=True)}


@dataclass(frozen=True, slots=True)
class Closeness:
    """When a box of the file is one of the model's, beside being of the same class.

    Attributes:
        overlap: at least this intersection over union.
        score: scores differ by at most this much.
    """

    overlap: float
    score: float


CLOSENESS = {"fp32": Closeness(0.99, 1e-4), "fp16": Closeness(0.9, 2e-2), "int8": Closeness(0.5, 0.25)}
"""By precision."""
CUT = 0.02
"""Above the last of as many boxes as there may be, scores so near are left out: rounding decides which are cut off."""

Floats = NDArray[np.float64]


@dataclass
class Likeness:
    """A comparison, batch by batch.

    Attributes:
        model: what the file was made from.
        close: when two boxes are the same.
        thresholds: by which the file keeps boxes; see `heads.detections`.
        difference: largest difference between probabilities; of files that give none, 0.
        code_difference: largest difference between box codes.
        alike: images (of a classifier), pixels or boxes on which both agree.
        of: how many of them there are.
        worst: number of the image that differs most.
        images: compared so far.
    """

    model: MobileNet
    close: Closeness
    thresholds: dict[str, Any] = field(default_factory=dict)
    difference: float = 0.0
    code_difference: float = 0.0
    alike: float = 0.0
    of: float = 0.0
    worst: int = 0
    images: int = 0
    _most: float = -1.0

    @property
    def agreement(self) -> float:
        """Part of the images, pixels or boxes on which both agree; whole where there is none."""
        return self.alike / self.of if self.of else 1.0

    def add(self, expected: Outputs, found: Outputs) -> None:
        """Compare a batch.

        Args:
            expected: the model's raw outputs.
            found: the file's.
        """
        if MASK in found:
            off = 1 - self._same(expected[PROBABILITIES].argmax(1) == found[MASK])
        elif COUNT in found:
            off = self._same_boxes(expected, found)
        else:
            off = self._numbers(expected, found)
        if len(off) and (worst := float(np.nan_to_num(off, nan=np.inf).max())) > self._most:
            self._most, self.worst = worst, self.images + int(np.nan_to_num(off, nan=np.inf).argmax())
        self.images += len(next(iter(found.values())))

    def _numbers(self, expected: Outputs, found: Outputs) -> Floats:
        """Raw outputs, number by number; the largest difference of each image."""
        off = {name: _largest(expected[name] - value) for name, value in found.items()}
        likely = off[SCORES if SCORES in off else PROBABILITIES]
        self.difference = float(np.maximum(self.difference, likely.max()))
        if BOXES in off:
            self.code_difference = float(np.maximum(self.code_difference, off[BOXES].max()))
            self._same_boxes(expected, found)
            return likely + off[BOXES]
        self._same(expected[PROBABILITIES].argmax(1) == found[PROBABILITIES].argmax(1))
        return likely

    def _same(self, equal: NDArray[np.bool_]) -> Floats:
        self.alike += float(equal.sum())
        self.of += equal.size
        return np.asarray(equal.reshape(len(equal), -1).mean(1))

    def _same_boxes(self, expected: Outputs, found: Outputs) -> Floats:
        places = anchors(self.model.network)
        both = [detections_in(outputs, places, **self.thresholds) for outputs in (expected, found)]
        off = []
        for ours, theirs in zip(*both, strict=True):
            least = max(self._edge(one) for one in (ours, theirs))
            counts = [_found_again(ours, theirs, self.close, least), _found_again(theirs, ours, self.close, least)]
            alike, of = sum(count[0] for count in counts), sum(count[1] for count in counts)
            self.alike, self.of = self.alike + alike, self.of + of
            off.append(1 - alike / of if of else 0.0)
        return np.array(off)

    def _edge(self, one: Detections) -> float:
        """Score from which rounding decides neither whether a box counts, nor whether it is among the most."""
        least = float(self.thresholds.get("score", 0.05)) + self.close.score
        if len(one.scores) < self.thresholds.get("most", 100):
            return least
        return max(least, float(one.scores[-1]) + min(self.close.score, CUT))


def _largest(values: NDArray[np.float32]) -> Floats:
    return np.asarray(np.abs(values.reshape(len(values), -1)).max(1), np.float64)


def _found_again(ones: Detections, others: Detections, close: Closeness, least: float) -> tuple[int, int]:
    """How many of one side's boxes, of at least a score, the other has, and how many there are."""
    asked = ones.scores >= least
    if not asked.any():
        return 0, 0
    same = iou(ones.boxes[asked], others.boxes) >= close.overlap
    same &= ones.classes[asked][:, None] == others.classes[None]
    same &= np.abs(ones.scores[asked][:, None] - others.scores[None]) <= close.score
    return int(same.any(1).sum()), int(asked.sum())
