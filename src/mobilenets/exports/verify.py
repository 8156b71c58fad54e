"""Proof that an artifact computes what the model computes: the same images through both, in the artifact's runtime."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenets.data.splits import Label, classes_in
from mobilenets.errors import MisuseError
from mobilenets.exports.formats import FORMATS
from mobilenets.exports.fresh import Run, run_c, run_fresh
from mobilenets.metrics import METRICS, SPOKEN, Task, mean_average_precision
from mobilenets.model import MobileNet, evaluating, normalise
from mobilenets.onnx import metadata as metadata_of
from mobilenets.runtime.session import Images, Probabilities

TOLERANCE = 1e-4
"""Largest allowed difference between class probabilities in float32."""

TOLERANCES = {"fp32": TOLERANCE, "fp16": 2e-2}
"""The same by precision: 16 bits hold 3 digits, and a network's layers add up what is rounded away."""

AGREEMENT = 0.9
"""Part of the images on which an int8 artifact must name the model's class, where labels cannot tell."""

MAX_DROP = 0.01
"""Largest allowed loss of the task's metric in int8, on labelled images."""

Rule = Literal["probabilities", "agreement", "metric", "specification"]
"""What was asked of an artifact."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome of a comparison.

    fp32 and fp16 are judged by `probabilities`; int8 by the task's `metric` where labelled images were given, else by
    the `agreement` of the most probable class. Core ML is judged by its `specification`: nothing here runs it.

    Attributes:
        images: how many went through both; 0 where nothing ran.
        max_difference: largest absolute difference between class probabilities.
        tolerance: what was allowed of it, by the rule `probabilities`.
        top1_agreement: part of the images on which both name the same class.
        first_departure: the first node whose values differ, where the artifact failed and it can be told.
        rule: what was asked.
        runtime: what ran it, or why nothing did.
        precision: of the artifact.
        batch: images that it takes at once; None for any number.
        floor: smallest allowed agreement, by the rule `agreement`.
        metric: the model's and the artifact's score on labelled images.
        max_drop: largest allowed loss of it, by the rule `metric`.
        problems: what else is wrong: metadata that are not the model's, a specification that is not.
        remark: why the first node to depart cannot be told, where it cannot.
    """

    images: int
    max_difference: float
    tolerance: float
    top1_agreement: float
    first_departure: str | None = None
    rule: Rule = "probabilities"
    runtime: str = ""
    precision: str = "fp32"
    batch: int | None = None
    floor: float = AGREEMENT
    metric: tuple[float, float] | None = None
    metric_name: str = METRICS["classify"]
    max_drop: float = MAX_DROP
    problems: tuple[str, ...] = ()
    remark: str = ""

    @property
    def passed(self) -> bool:
        """What the rule asks; a difference that is not a number fails."""
        if self.problems:
            return False
        match self.rule:
            case "probabilities":
                return self.max_difference <= self.tolerance
            case "agreement":
                return self.top1_agreement >= self.floor
            case "metric":
                assert self.metric is not None
                return self.metric[0] - self.metric[1] <= self.max_drop + 1e-9
            case "specification":
                return True

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"passed": self.passed}

    def __str__(self) -> str:
        said = "; ".join([self._judged(), *self.problems])
        if not self.passed and self.first_departure:
            said += f"; the first node to depart is {self.first_departure}"
        return f"{said}; {self.remark}" if self.remark else said

    def _judged(self) -> str:
        match self.rule:
            case "probabilities":
                return self._of_probabilities()
            case "agreement":
                allowed = "" if self.passed else f", at least {self.floor:.0%} wanted"
                return f"names the model's class on {self.top1_agreement:.1%} of {self.images} images{allowed}"
            case "metric":
                assert self.metric is not None
                allowed = "" if self.passed else f", {self.max_drop:.1%} less allowed"
                name = {METRICS[task]: SPOKEN[task] for task in METRICS}[self.metric_name]
                return (
                    f"{name} {self.metric[1]:.1%} of the model's {self.metric[0]:.1%} on {self.images} images{allowed}"
                )
            case "specification":
                return f"{self.runtime}; its specification is {'as it should be' if self.passed else 'wrong'}"

    def _of_probabilities(self) -> str:
        if self.max_difference <= self.tolerance:
            return f"largest probability difference {self.max_difference:.1e} on {self.images} images"
        return (
            f"largest probability difference {self.max_difference:.1e} on {self.images} images, allowed "
            f"{self.tolerance:.0e}, top-1 agreement {self.top1_agreement:.1%}"
        )


def verify(
    model: MobileNet,
    artifact: str | Path,
    images: Images,
    *,
    tolerance: float | None = None,
    labels: Sequence[Label] | None = None,
    floor: float = AGREEMENT,
    max_drop: float = MAX_DROP,
    runtime: str | None = None,
) -> Verification:
    """Reload an artifact in a fresh process and compare it with the model it was made from.

    Args:
        model: the PyTorch model.
        artifact: the file, reloaded from disk in its own runtime.
        images: uint8 (n, h, w, c), preprocessed to the model's resolution.
        tolerance: largest allowed difference between probabilities; by the file's precision unless given.
        labels: of the images, as class numbers (several an image, where it may have several): int8 is then judged by
            the task's metric.
        floor: smallest allowed agreement of int8 with the model, without labels.
        max_drop: largest allowed loss of the metric in int8, with labels.
        runtime: one that reads the format; None takes its own.

    Raises:
        MisuseError: no images, or images of another shape.
        MissingExtraError: the runtime is not installed.
        CheckpointError: the artifact cannot be loaded.
    """
    artifact = Path(artifact)
    _check(images, model.network.resolution)
    run = _run(model, artifact, images, runtime)
    problems = wrong_metadata(model, run.metadata)
    if run.probabilities is None:
        return _by_specification(model, artifact, run, problems)
    expected = probabilities(model, images)
    difference = float(np.abs(expected - run.probabilities).max())
    int8 = run.precision.startswith("int8")
    rule: Rule = "probabilities" if not int8 else "agreement" if labels is None else "metric"
    metric = None
    if labels is not None:
        metric = (score(expected, labels, model.info.task), score(run.probabilities, labels, model.info.task))
    allowed = tolerance if tolerance is not None else TOLERANCES.get(run.precision.partition("+")[0], TOLERANCE)
    result = Verification(
        len(images),
        difference,
        allowed,
        float((expected.argmax(1) == run.probabilities.argmax(1)).mean()),
        None,
        rule,
        run.runtime,
        run.precision,
        run.batch,
        floor,
        metric,
        METRICS[model.info.task],
        max_drop,
        problems,
    )
    if result.passed or problems:
        return result
    from mobilenets.exports.departures import departure

    worst = int(np.nan_to_num(np.abs(expected - run.probabilities), nan=np.inf).max(1).argmax())
    address, remark = departure(model, artifact, images[worst][None], run.precision)
    return replace(result, first_departure=address, remark=remark)


def _run(model: MobileNet, artifact: Path, images: Images, runtime: str | None) -> Run:
    match FORMATS[artifact.suffix].name if artifact.suffix in FORMATS else None:
        case "c":
            return run_c(artifact, images)
        case "coreml":
            from mobilenets.exports.coreml_ import metadata_of_package

            about = metadata_of_package(artifact)
            return Run(None, "not run here: Core ML runs on Apple's systems only", about.get("precision", ""), 1, about)
        case _:
            return run_fresh(artifact, images, runtime=runtime)


def _by_specification(model: MobileNet, artifact: Path, run: Run, problems: tuple[str, ...]) -> Verification:
    if artifact.suffix == ".mlpackage":
        from mobilenets.exports.coreml_ import wrong

        problems = (*problems, *wrong(model, artifact))
    return Verification(
        0, 0.0, 0.0, 0.0, rule="specification", runtime=run.runtime, precision=run.precision, batch=run.batch,
        problems=problems,
    )  # fmt: skip


def wrong_metadata(model: MobileNet, found: dict[str, str]) -> tuple[str, ...]:
    """What the artifact says of itself that is not the model's."""
    info = model.info
    expected = metadata_of(model.network, info.preprocessing, info.classes, info.task)
    names = ("classes", "preprocessing", "task", "table")
    return tuple(f"its {name} are not the model's" for name in names if not _same(expected[name], found.get(name, "")))


def _same(one: str, other: str) -> bool:
    """Whether two texts are the same, or the same JSON."""
    try:
        return one == other or bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def _check(images: Images, size: int) -> None:
    if len(images) == 0:
        raise MisuseError("no image to verify on: give at least one.")
    if images.shape[1:3] != (size, size) or images.dtype != np.uint8:
        raise MisuseError(
            f"images to verify on must be uint8 n h w c of {size}x{size} pixels, got {images.dtype} "
            f"{'x'.join(map(str, images.shape))}."
        )


def probabilities(model: MobileNet, images: Images) -> Probabilities:
    """The model's class probabilities (n, classes) of uint8 images (n, h, w, c)."""
    with evaluating(model), torch.inference_mode():
        parts = [
            model.probabilities(model(normalise(torch.from_numpy(images[i : i + 16]), model.info.preprocessing)))
            for i in range(0, len(images), 16)
        ]
    found: Probabilities = torch.cat(parts).numpy()
    return found


def score(found: Probabilities, labels: Sequence[Label], task: Task) -> float:
    """The task's metric of class probabilities: top-1 accuracy, or mean average precision."""
    truth: NDArray[np.float64] = np.zeros(found.shape)
    for row, label in zip(truth, labels, strict=True):
        row[list(classes_in(label))] = 1.0
    if task == "multi-label":
        return mean_average_precision(truth, found)
    return float(truth[np.arange(len(found)), found.argmax(1)].mean())
