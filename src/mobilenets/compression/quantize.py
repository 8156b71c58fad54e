"""`quantize`: an int8 file that holds its accuracy in its own runtime, or the float one and the reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.compression.ladder import Rung
from mobilenets.compression.techniques import Ground
from mobilenets.compression.work import Quantized, Work
from mobilenets.data import decode
from mobilenets.data.cache import Squares
from mobilenets.data.folder import Sample, labelled, open_folder, relabelled
from mobilenets.data.sources import Source
from mobilenets.data.splits import Label
from mobilenets.errors import DataError, MisuseError
from mobilenets.exports import FORMATS, Postprocess, sample_images
from mobilenets.exports.samples import CALIBRATION, loaded_images
from mobilenets.exports.verify import allowed_drop
from mobilenets.exports.whole import remove
from mobilenets.files import check_same, run_folder
from mobilenets.model import MobileNet, load
from mobilenets.precision import Scheme
from mobilenets.runtime.session import Images
from mobilenets.training import Watcher, load_splits

SCORED, SCORED_HEADS = 10_000, 1_000
"""Most validation images that every rung is scored on; with boxes or masks, which are larger and say more each."""
FILES = (
    "quantize.json", "report.json", "report.html", "sensitivity.png", "model.safetensors", "float.safetensors",
    "aware.safetensors", "minimalistic.safetensors",
)  # fmt: skip
"""What a run folder may hold beside the artifacts."""


def quantize(
    model: MobileNet | str | Path,
    data: str | Path,
    *,
    format: str = "onnx",
    max_drop: float | None = None,
    minutes: float = 10.0,
    calibration: str | Path | None = None,
    per_channel: bool = True,
    every: bool = False,
    out: str | Path | None = None,
    seed: int = 0,
    raw: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Quantized:
    """An int8 file whose accuracy, in its own runtime, is within `max_drop` of the float file's.

    Techniques are tried from the cheapest to the dearest, each on top of the best so far, until one passes:
    calibration by three methods, a scale per channel, cross-layer equalization, bias correction, the worst nodes out of
    int8, quantization-aware fine-tuning with the float network as teacher, and the minimalistic network of the family,
    taught by it.

    Args:
        model: a checkpoint or a model, in float.
        data: labelled images; those of `val` are scored (`test` where there is no `val`, else all), those of `train`
            trained on.
        format: `onnx`, `openvino`, `litert` or `executorch`.
        max_drop: what the metric may lose: 0.01, one point, unless given; 0.02 of AP and mIoU.
        minutes: for the techniques that train.
        calibration: images for the ranges of activations; 128 of `train` unless given.
        per_channel: begin with a scale per output channel of a weight; else with one for all of it.
        every: try all techniques, and take the best of those that pass.
        out: run folder; None takes the next free runs/quantizeN.
        seed: of the calibration images and of training.
        raw: of a detector or segmenter, without the post-processing that a format could have inside.
        resume: go on with the interrupted run in `out`.
        overwrite: write into a folder that exists.
        watcher: told about progress.

    Raises:
        MisuseError: wrong arguments, or a model that is no float checkpoint.
        DataError: images or labels that cannot be used.
        MissingExtraError: the format's converter or runtime is not installed.
    """
    watcher = watcher or Watcher()
    suffix = _suffix(format, max_drop, minutes)
    module = model if isinstance(model, MobileNet) else _loaded(Path(model))
    max_drop = allowed_drop(module.info.task) if max_drop is None else max_drop
    if resume and out is None:
        raise MisuseError("--resume needs --out: the run folder to go on with.")
    samples = scored_samples(data, module, seed)
    sources = _calibration_sources(data, calibration, samples, module, seed, watcher)
    asked = {"model": "" if isinstance(model, MobileNet) else str(Path(model).resolve()),
             "data": str(Path(data).resolve()), "format": format, "max_drop": max_drop, "per_channel": per_channel,
             "seed": seed} | ({"raw": True} if raw else {})  # fmt: skip
    if resume and out is not None:
        run, finished = Path(out), finished_rungs(Path(out), asked)
    else:
        run, finished = run_folder(out, "quantize", overwrite=overwrite), []
        for name in (*FILES, f"model{suffix}", f"model.int8{suffix}"):
            remove(run / name)
    watcher.started(run)

    def squares() -> tuple[Squares, Squares]:
        folder = relabelled(open_folder(data, seed=seed, task=module.info.task), module.info.classes)
        train, val = load_splits(folder, module.network.resolution, watcher, channels=module.network.in_channels)
        assert isinstance(train, Squares) and isinstance(val, Squares)
        return train, val

    watcher.phase("decoding validation images", len(samples))
    pixels, labels = decoded(samples, module, watcher)
    watcher.phase("decoding calibration images", len(sources))
    ground = Ground(
        module,
        sample_images(module, sources, limit=len(sources)),
        squares,
        run,
        minutes,
        seed,
        wide=format == "onnx",
        watcher=watcher,
    )
    place, ending = run / f"model{suffix}", Postprocess(inside=not raw)
    work = Work(module, place, pixels, labels, ground, max_drop, asked, finished, ending)
    return work.result(Scheme(per_channel=per_channel), every=every)


def _suffix(format: str, max_drop: float | None, minutes: float) -> str:
    known = {f.name: f.suffix for f in FORMATS.values() if "int8" in f.precisions and not f.weights_only}
    if format not in known:
        raise MisuseError(f"`format` (={format!r}) must be one of {', '.join(known)}: those that run int8 here.")
    if max_drop is not None and not 0 <= max_drop < 1:
        raise MisuseError(f"`max_drop` (={max_drop}) must be a part of the metric, from 0 to 1: 0.01 is one point.")
    if minutes < 0:
        raise MisuseError(f"`minutes` (={minutes}) must not be negative.")
    return known[format]


def _loaded(path: Path) -> MobileNet:
    if path.suffix.lower() in FORMATS:
        raise MisuseError(f"{path} is an exported file: give the checkpoint (.safetensors) that it was made from.")
    return load(path)


def scored_samples(data: str | Path, model: MobileNet, seed: int) -> tuple[Sample, ...]:
    """The labelled images that rungs are scored on: `val`, as a training splits it, or all where there is no training.

    Raises:
        DataError: labels that are no classes of the model.
        MisuseError: no data set.
    """
    classes = model.info.classes
    most = SCORED_HEADS if model.info.task in ("detect", "segment") else SCORED
    try:
        folder = open_folder(data, seed=seed, task=model.info.task)
    except DataError:  # one image a class, or one class: nothing to train on, but it can be scored
        return thinned(labelled(Path(data), classes, task=model.info.task), seed, most)
    return thinned(relabelled(folder, classes).splits["val"], seed, most)


def thinned(samples: Sequence[Sample], seed: int, most: int = SCORED) -> tuple[Sample, ...]:
    """At most so many of the samples, drawn at random, in their order."""
    if len(samples) <= most:
        return tuple(samples)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(samples))[:most])
    return tuple(samples[i] for i in chosen)


def _calibration_sources(
    data: str | Path, given: str | Path | None, samples: Sequence[Sample], model: MobileNet, seed: int, watcher: Watcher
) -> list[Source]:
    if given is not None:
        found: list[Source] = list(decode.find_images([given]))
    else:
        try:
            found = [sample.path for sample in open_folder(data, seed=seed, task=model.info.task).splits["train"]]
        except DataError:
            found = [sample.path for sample in samples]
            watcher.note("no training images: ranges are taken from scored ones; --calibration names others.")
    order = np.random.default_rng(seed).permutation(len(found))[:CALIBRATION]
    return [found[i] for i in np.sort(order)]


def decoded(samples: Sequence[Sample], model: MobileNet, watcher: Watcher) -> tuple[Images, list[Label]]:
    """Validation images as the file takes them, and their labels; unreadable ones are left out.

    Raises:
        DataError: none can be read.
    """
    paths = [sample.path for sample in samples]
    images, kept = loaded_images(paths, model.info.preprocessing, watcher.advance)
    if not kept:
        raise DataError("none of the validation images can be read: `mobilenets check` names them.")
    return images, [samples[i].label for i in kept]


def finished_rungs(run: Path, asked: dict[str, Any]) -> list[Rung]:
    """Rungs of the interrupted run in a folder, which must be of what is asked for now."""
    try:
        kept = json.loads((run / "quantize.json").read_text(encoding="utf-8"))
        before, rungs = kept["asked"], [Rung.from_dict(values) for values in kept["rungs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MisuseError(f"{run}: no interrupted quantize to resume ({error}); run without --resume.") from error
    check_same(run, before, asked)
    return rungs
