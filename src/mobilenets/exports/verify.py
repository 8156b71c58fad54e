"""Proof that an artifact computes what the model computes: the same images through both, in the artifact's runtime."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mobilenets.data.splits import Label
from mobilenets.errors import MisuseError
from mobilenets.exports.formats import FORMATS
from mobilenets.exports.fresh import Run, run_c, run_fresh
from mobilenets.exports.judging import judge
from mobilenets.exports.likeness import CLOSENESS, Likeness, model_outputs
from mobilenets.exports.postprocess import thresholds_of
from mobilenets.exports.samples import spread
from mobilenets.metrics import METRICS, SPOKEN, Task
from mobilenets.model import MobileNet
from mobilenets.onnx import metadata as metadata_of
from mobilenets.outputs import PROBABILITIES
from mobilenets.runtime.session import Images, Probabilities
from mobilenets.table.lower import lower
from mobilenets.table.nodes import outputs as outputs_of

TOLERANCE = 1e-4
"""Largest allowed difference between class probabilities in float32."""

TOLERANCES = {"fp32": TOLERANCE, "fp16": 2e-2}
"""The same by precision: 16 bits hold 3 digits, and a network's layers add up what is rounded away."""

CODES = 10.0
"""Box codes may differ by so many times as much: they are ten times as far from an anchor as a box is, in its sides."""

AGREEMENT = 0.9
"""Part of the images on which an int8 artifact must name the model's class, where labels cannot tell; of the model's
boxes, or of all pixels, that it must give, too."""

AGREEMENTS = {"fp32": 0.99, "fp16": 0.95}
"""The same of boxes and pixels that are made inside a float file: near a threshold the last digit decides."""

MAX_DROP, MAX_DROP_HEADS = 0.01, 0.02
"""Largest allowed loss of the task's metric in int8, on labelled images; of AP and mIoU."""

PROOF_BYTES = 1 << 28
"""Most of raw outputs that a proof holds in memory: masks of large images are many bytes."""

Rule = Literal["probabilities", "agreement", "metric", "specification"]
"""What was asked of an artifact."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome of a comparison.

    fp32 and fp16 are judged by `probabilities` (and box codes), or by the `agreement` of boxes or pixels where these
    are made inside the file; int8 by the task's `metric` where labelled images were given, else by the `agreement` of
    the most probable class, of boxes or of pixels. Core ML is judged by its `specification`: nothing here runs it.

    Attributes:
        images: how many went through both; 0 where nothing ran.
        max_difference: largest absolute difference between class probabilities.
        tolerance: what was allowed of it, by the rule `probabilities`.
        top1_agreement: part of the images on which both name the same class; of a detector's boxes, of a segmenter's
            pixels.
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
        task: of the model.
        code_difference: largest absolute difference between a detector's box codes; `CODES` times the tolerance is
            allowed.
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
    task: Task = "classify"
    code_difference: float = 0.0

    @property
    def passed(self) -> bool:
        """What the rule asks; a difference that is not a number fails."""
        if self.problems:
            return False
        match self.rule:
            case "probabilities":
                return self.max_difference <= self.tolerance and self.code_difference <= CODES * self.tolerance
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
                return f"{self._agreed()}{allowed}"
            case "metric":
                assert self.metric is not None
                allowed = "" if self.passed else f", {self.max_drop:.1%} less allowed"
                name = {METRICS[task]: SPOKEN[task] for task in METRICS}[self.metric_name]
                return (
                    f"{name} {self.metric[1]:.1%} of the model's {self.metric[0]:.1%} on {self.images} images{allowed}"
                )
            case "specification":
                return f"{self.runtime}; its specification is {'as it should be' if self.passed else 'wrong'}"

    def _agreed(self) -> str:
        match self.task:
            case "classify" | "multi-label":
                return f"names the model's class on {self.top1_agreement:.1%} of {self.images} images"
            case "detect":
                return f"{self.top1_agreement:.1%} of the boxes are the model's, on {self.images} images"
            case "segment":
                return f"{self.top1_agreement:.1%} of the pixels have the model's class, on {self.images} images"

    def _of_probabilities(self) -> str:
        codes = f", of box codes {self.code_difference:.1e}" if self.task == "detect" else ""
        if self.passed or self.problems:
            return f"largest probability difference {self.max_difference:.1e}{codes} on {self.images} images"
        allowed = f"{self.tolerance:.0e}" + (f" and {CODES * self.tolerance:.0e}" if codes else "")
        agreement = (
            f"top-1 agreement {self.top1_agreement:.1%}"
            if self.task in ("classify", "multi-label")
            else (self._agreed())
        )
        return (
            f"largest probability difference {self.max_difference:.1e}{codes} on {self.images} images, allowed "
            f"{allowed}, {agreement}"
        )


def verify(
    model: MobileNet,
    artifact: str | Path,
    images: Images,
    *,
    tolerance: float | None = None,
    labels: Sequence[Label] | None = None,
    floor: float | None = None,
    max_drop: float | None = None,
    runtime: str | None = None,
) -> Verification:
    """Reload an artifact in a fresh process and compare it with the model it was made from.

    Args:
        model: the PyTorch model.
        artifact: the file, reloaded from disk in its own runtime.
        images: uint8 (n, h, w, c), preprocessed to the model's resolution. Of a segmenter with large raw outputs, as
            many of them, evenly, as fit in `PROOF_BYTES`.
        tolerance: largest allowed difference between probabilities; by the file's precision unless given.
        labels: of the images, as the task has them: int8 is then judged by the task's metric.
        floor: smallest allowed agreement with the model; by the file's precision unless given.
        max_drop: largest allowed loss of the metric in int8, with labels; by the task unless given.
        runtime: one that reads the format; None takes its own.

    Raises:
        MisuseError: no images, or images of another shape.
        MissingExtraError: the runtime is not installed.
        CheckpointError: the artifact cannot be loaded.
    """
    artifact, task = Path(artifact), model.info.task
    _check(images, model.network.resolution)
    chosen = _affordable(model, len(images))
    images = images[chosen]
    labels = None if labels is None else [labels[i] for i in chosen]
    run = _run(model, artifact, images, runtime)
    problems = wrong_metadata(model, run.metadata)
    if run.outputs is None:
        return _by_specification(model, artifact, run, problems)
    precision = run.precision.partition("+")[0]
    inside = run.metadata.get("postprocess") == "inside"
    compared, metric = _compared(model, run, images, labels)
    rule: Rule = "agreement" if inside else "probabilities"
    if precision == "int8":
        rule = "agreement" if labels is None else "metric"
    result = Verification(
        images=len(images),
        max_difference=compared.difference,
        tolerance=tolerance if tolerance is not None else TOLERANCES.get(precision, TOLERANCE),
        top1_agreement=compared.agreement,
        rule=rule,
        runtime=run.runtime,
        precision=run.precision,
        batch=run.batch,
        floor=AGREEMENTS.get(precision, AGREEMENT) if floor is None else floor,
        metric=metric,
        metric_name=METRICS[task],
        max_drop=allowed_drop(task) if max_drop is None else max_drop,
        problems=problems,
        task=task,
        code_difference=compared.code_difference,
    )
    if result.passed or problems:
        return result
    from mobilenets.exports.departures import departure

    address, remark = departure(model, artifact, images[compared.worst][None], run.precision)
    return replace(result, first_departure=address, remark=remark)


def allowed_drop(task: Task) -> float:
    """What int8 may lose of a task's metric unless told otherwise."""
    return MAX_DROP_HEADS if task in ("detect", "segment") else MAX_DROP


def _affordable(model: MobileNet, count: int) -> list[int]:
    """Which of the images are compared: all, or as many, evenly, as a segmenter's raw outputs leave room for."""
    each = sum(4 * int(np.prod(node.shape)) for node in outputs_of(lower(model.network)))
    most = max(1, PROOF_BYTES // each)
    return list(spread(range(count), most))


def _compared(
    model: MobileNet, run: Run, images: Images, labels: Sequence[Label] | None
) -> tuple[Likeness, tuple[float, float] | None]:
    """The artifact's answers beside the model's, and both scores where there are labels."""
    assert run.outputs is not None
    task, classes = model.info.task, model.info.classes
    close = CLOSENESS.get(run.precision.partition("+")[0], CLOSENESS["fp16"])
    compared = Likeness(model, close, thresholds_of(run.metadata))
    judges = judge(model.network, task, classes), judge(model.network, task, classes)
    for start in range(0, len(images), 16):
        part = slice(start, start + 16)
        expected = model_outputs(model, images[part])
        found = {name: value[part] for name, value in run.outputs.items()}
        compared.add(expected, found)
        if labels is not None:
            for each, outputs in zip(judges, (expected, found), strict=True):
                each.add(outputs, labels[part])
    return compared, None if labels is None else (judges[0].metric(), judges[1].metric())


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
        problems=problems, task=model.info.task,
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
    return model_outputs(model, images)[PROBABILITIES]
