"""The rungs of the ladder: each takes the best network and scheme so far and gives what shall be tried next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mobilenets.compression.ladder import Technique, Try
from mobilenets.data.cache import Squares
from mobilenets.errors import MobileNetsError
from mobilenets.model import MobileNet, build, load, save, with_info
from mobilenets.precision import Scheme
from mobilenets.quantization.aware import train_aware
from mobilenets.quantization.bias import correct_biases
from mobilenets.quantization.equalize import equalize
from mobilenets.quantization.sensitivity import Sensitivity, sensitivity
from mobilenets.runtime.session import Images
from mobilenets.table import minimalistic
from mobilenets.training import Finetune, Training, Watcher
from mobilenets.training.distill import ask_teachers

SWEPT = 16
"""Images that tell the nodes apart."""
ISLANDS = (1, 2, 4, 8)
"""How many of the worst nodes are tried in float."""
AWARE_SHARE = 0.4
"""Part of the minutes that quantization-aware fine-tuning gets; the minimalistic network gets what is left."""


CLASSIFIERS = "only classifiers are trained for int8 so far"
"""Why detectors and segmenters do without the rungs that train."""


@dataclass(frozen=True, slots=True)
class Made:
    """A float network and how it is quantized.

    Attributes:
        model: what is quantized.
        scheme: how.
        uncorrected: the network before its biases were corrected for another scheme; None where they were not.
    """

    model: MobileNet
    scheme: Scheme
    uncorrected: MobileNet | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """What techniques may use.

    Attributes:
        float_model: the network as it was given, the teacher of all that is trained.
        calibration: uint8 (n, h, w, c) images that ranges are taken from.
        squares: gives (training, validation) images to train on, decoded when first asked for.
        run: folder in which trained networks are kept, for a resume.
        minutes: for all that is trained.
        seed: of it.
        wide: whether the format has 16-bit activations.
        watcher: told about progress.
    """

    float_model: MobileNet
    calibration: Images
    squares: Callable[[], tuple[Squares, Squares]]
    run: Path
    minutes: float
    seed: int
    wide: bool
    watcher: Watcher


def techniques(ground: Ground) -> list[Technique[Made]]:
    """All of them, the cheapest first."""
    return [
        _calibrations,
        _per_channel,
        lambda made: _equalized(made, ground),
        lambda made: _corrected(made, ground),
        lambda made: _islands(made, ground),
        lambda made: _aware(made, ground),
        lambda made: _minimal(made, ground),
    ]


def _calibrations(made: Made) -> Iterator[Try[Made]]:
    said = {
        "minmax": "ranges from the smallest to the largest value seen",
        "percentile": "ranges without the outermost values",
        "entropy": "ranges by the least information lost",
    }
    for calibration in ("minmax", "percentile", "entropy"):
        scheme = replace(made.scheme, calibration=calibration)
        yield Try(f"calibration: {calibration}", said[calibration], replace(made, scheme=scheme))


def _per_channel(made: Made) -> Iterator[Try[Made]]:
    if not made.scheme.per_channel:
        scheme = replace(made.scheme, per_channel=True)
        yield Try("per channel", "a scale for each output channel of a weight", replace(made, scheme=scheme))


def _equalized(made: Made, ground: Ground) -> Iterator[Try[Made]]:
    what = "weights' ranges evened out between layers (Nagel et al., arXiv:1906.04721)"
    yield Try("equalization", what, replace(made, model=equalize(made.model, ground.calibration)))


def _corrected(made: Made, ground: Ground) -> Iterator[Try[Made]]:
    what = "what int8 adds to each channel's mean, measured and taken off its bias"
    yield Try("bias correction", what, _unbiased(made, ground))


def _unbiased(made: Made, ground: Ground) -> Made:
    """The same with its biases corrected for its scheme."""
    ground.watcher.phase("bias correction")
    plain = made.uncorrected or made.model
    model = correct_biases(plain, ground.calibration, made.scheme, on_progress=ground.watcher.advance)
    return Made(model, made.scheme, plain)


def _islands(made: Made, ground: Ground) -> Iterator[Try[Made]]:
    ground.watcher.phase("which nodes lose most")
    found = sweep(made, ground)
    what = "the nodes whose output loses most stay out of int8"
    for count in ISLANDS:
        nodes = found.worst(count)
        if len(nodes) < count:
            return
        kept = frozenset(nodes)
        kinds = {"16 bits": replace(made.scheme, wide=kept), "float": replace(made.scheme, keep_float=kept)}
        for kind, scheme in kinds.items():
            if kind == "float" or ground.wide:
                attempt = replace(made, scheme=scheme)  # what was corrected for all of it in int8 would now be wrong
                attempt = attempt if made.uncorrected is None else _unbiased(attempt, ground)
                yield Try(f"worst {count} in {kind}", what, attempt, ", ".join(nodes))


def sweep(made: Made, ground: Ground) -> Sensitivity:
    """What int8 does to each node."""
    few = ground.calibration[:: max(1, len(ground.calibration) // SWEPT)][:SWEPT]
    return sensitivity(made.model, few, made.scheme, calibration=ground.calibration, on_progress=ground.watcher.advance)


def _aware(made: Made, ground: Ground) -> Iterator[Try[Made]]:
    """From the float network, without the islands: what training mends needs none."""
    name, what = "quantization-aware fine-tuning", "trained with int8 in the loop, the float network as teacher"
    if _untrained(ground):
        yield Try(name, what, None, CLASSIFIERS)
        return

    def train() -> MobileNet:
        squares = ground.squares()
        ground.watcher.phase(name)
        return train_aware(
            ground.float_model, *squares, minutes=AWARE_SHARE * ground.minutes, teacher=_teacher(ground),
            scheme=whole(made.scheme), seed=ground.seed, watcher=ground.watcher,
        )  # fmt: skip

    yield from _trained(name, what, made, ground, ground.run / "aware.safetensors", train)


def _minimal(made: Made, ground: Ground) -> Iterator[Try[Made]]:
    name = "minimalistic network"
    what = "the family's table without h-swish, squeeze-and-excite and 5x5, taught by the float network"
    if _untrained(ground):
        yield Try(name, what, None, CLASSIFIERS)
        return
    table = minimalistic(ground.float_model.network)
    if table.rows == ground.float_model.network.rows:
        yield Try(name, what, None, "the network has no h-swish, squeeze-and-excite or 5x5 to leave out")
        return
    kept = ground.run / "minimalistic.safetensors"
    yield from _trained(name, what, made, ground, kept, lambda: _taught(table_of(ground.float_model), ground))


def _untrained(ground: Ground) -> bool:
    """Whether what a rung would train is not trained here."""
    return ground.float_model.info.task in ("detect", "segment")


def whole(scheme: Scheme) -> Scheme:
    """A scheme with no node left out of int8 and a scale per channel.

    With one scale for all of a weight, a fine-tuned network lost 58 points that lost 0.2 with a scale per channel.
    """
    return replace(scheme, per_channel=True, keep_float=frozenset(), wide=frozenset())


def _trained(
    name: str, what: str, made: Made, ground: Ground, kept: Path, train: Callable[[], MobileNet]
) -> Iterator[Try[Made]]:
    """A network that is trained, or kept from an earlier sitting, as it is and with its biases corrected.

    What keeps it from being trained (no images, an extra that is missing) costs this rung, not the ladder.
    """
    if not kept.is_file():
        if ground.minutes <= 0:
            yield Try(name, what, None, "no minutes were given for training")
            return
        try:
            save(train(), kept)
        except MobileNetsError as error:
            yield Try(name, what, None, str(error).splitlines()[0])
            return
    attempt = Made(load(kept), whole(made.scheme))
    yield Try(name, what, attempt)
    yield Try(f"{name}, bias correction", what, _unbiased(attempt, ground))


def table_of(model: MobileNet) -> MobileNet:
    """The minimalistic network of a model, with its weights where they fit: a 5x5 kernel's middle for a 3x3."""
    info = model.info
    small = build(minimalistic(model.network), info.classes or None, preprocessing=info.preprocessing)
    given = model.state_dict()
    own = small.state_dict()
    for key, value in own.items():
        old = given.get(key)
        if old is not None and old.dim() == 4 and old.shape[-1] - value.shape[-1] == 2:
            old = old[..., 1:-1, 1:-1]
        if old is not None and old.shape == value.shape:
            own[key] = old.clone()
    small.load_state_dict(own)
    return with_info(small, task=info.task)


def _teacher(ground: Ground) -> Path:
    """The float network as a file, which its answers are kept under."""
    path = ground.run / "float.safetensors"
    if not path.is_file():
        save(ground.float_model, path)
    return path


def _taught(small: MobileNet, ground: Ground) -> MobileNet:
    """Trained by labels and by the float network's answers."""
    train, val = ground.squares()
    began = time.perf_counter()
    teacher = _teacher(ground)
    ground.watcher.phase("asking the float network", len(train))
    answers = ask_teachers(
        [teacher], train, ground.float_model.info.classes, on_progress=ground.watcher.advance, note=ground.watcher.note
    )
    minutes = max((1 - AWARE_SHARE) * ground.minutes - (time.perf_counter() - began) / 60, 0.05)
    ground.watcher.phase(f"training {small.network.label}")
    torch.manual_seed(ground.seed)
    recipe = Finetune(minutes=minutes, seed=ground.seed)
    training = Training(small, recipe, train, val, teacher=answers)
    return training.run(on_tick=ground.watcher.tick, on_epoch=ground.watcher.epoch, on_note=ground.watcher.note)
