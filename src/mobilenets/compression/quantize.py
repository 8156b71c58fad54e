"""`quantize`: an int8 file that holds its accuracy in its own runtime, or the float one and the reason."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.compression.ladder import Climbed, Rung, Score, Try, climb, judged
from mobilenets.compression.techniques import Ground, Made, sweep, techniques
from mobilenets.data import decode
from mobilenets.data.cache import Squares
from mobilenets.data.folder import Sample, labelled, open_folder
from mobilenets.data.sources import Source
from mobilenets.data.splits import Label
from mobilenets.errors import DataError, MisuseError, MobileNetsError, VerificationError
from mobilenets.exports import FORMATS, Verification, size_bytes, verify, write
from mobilenets.exports.whole import failed_name, move, remove
from mobilenets.files import run_folder, write_text
from mobilenets.metrics import METRICS, SPOKEN
from mobilenets.model import MobileNet, load, save
from mobilenets.precision import Scheme
from mobilenets.prediction import score as evaluation
from mobilenets.quantization.sensitivity import draw_sensitivity
from mobilenets.runtime import describe, open_artifact
from mobilenets.runtime.session import Images
from mobilenets.training import Watcher, load_splits

CALIBRATION = 128
"""Images that activation ranges are taken from."""
SCORED = 10_000
"""Most validation images that every rung is scored on."""
PROOF, SLACK = 512, 0.05
"""Images of the proof in a fresh process, and what so few of them may differ by beyond the allowed drop."""
FILES = ("quantize.json", "sensitivity.png", "model.safetensors", "float.safetensors", "aware.safetensors",
         "minimalistic.safetensors")  # fmt: skip
"""What a run folder may hold beside the artifacts."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """What `quantize` gives back.

    Attributes:
        artifact: the file that is kept: int8 where a rung passed, else the float one.
        passed: whether it is int8.
        model: the float network behind it.
        report: what `quantize.json` holds.
        folder: the run folder.
        verification: of the int8 file in a fresh process.
    """

    artifact: Path
    passed: bool
    model: MobileNet
    report: dict[str, Any]
    folder: Path
    verification: Verification | None = None

    def part(self) -> dict[str, Any]:
        """The ladder as a report's page shows it; see `report.schema.Quantization`."""
        asked, base = self.report, self.report["float"]
        return {
            "runtime": asked["runtime"],
            "images": asked["images"],
            "calibration_images": asked["calibration_images"],
            "max_drop_points": 100 * asked["max_drop"],
            "float_metric": base["metric"],
            "metric_name": asked["metric_name"],
            "chosen": asked["chosen"],
            "rungs": [_shown(rung) for rung in asked["rungs"]],
            "nodes": asked["nodes"],
        }


def _shown(rung: dict[str, Any]) -> dict[str, Any]:
    score = rung["score"] or {}
    return {
        "name": rung["name"],
        "what": rung["what"],
        "metric": score.get("metric"),
        "drop_points": None if rung["drop"] is None else 100 * rung["drop"],
        "file_bytes": score.get("file_bytes"),
        "seconds": rung["seconds"],
        "passed": rung["passed"] if rung["score"] else None,
        "note": rung["note"],
    }


def quantize(
    model: MobileNet | str | Path,
    data: str | Path,
    *,
    format: str = "onnx",
    max_drop: float = 0.01,
    minutes: float = 10.0,
    calibration: str | Path | None = None,
    per_channel: bool = True,
    every: bool = False,
    out: str | Path | None = None,
    seed: int = 0,
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
        max_drop: what the metric may lose: 0.01 is one point.
        minutes: for the techniques that train.
        calibration: images for the ranges of activations; 128 of `train` unless given.
        per_channel: begin with a scale per output channel of a weight; else with one for all of it.
        every: try all techniques, and take the best of those that pass.
        out: run folder; None takes the next free runs/quantizeN.
        seed: of the calibration images and of training.
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
    if resume and out is None:
        raise MisuseError("--resume needs --out: the run folder to go on with.")
    samples = scored_samples(data, module, seed)
    sources = _calibration_sources(data, calibration, samples, seed, watcher)
    asked = {"model": "" if isinstance(model, MobileNet) else str(Path(model).resolve()),
             "data": str(Path(data).resolve()), "format": format, "max_drop": max_drop, "per_channel": per_channel,
             "seed": seed}  # fmt: skip
    if resume and out is not None:
        run, finished = Path(out), finished_rungs(Path(out), asked)
    else:
        run, finished = run_folder(out, "quantize", overwrite=overwrite), []
        for name in (*FILES, f"model{suffix}", f"model.int8{suffix}"):
            remove(run / name)
    watcher.started(run)

    def squares() -> tuple[Squares, Squares]:
        folder = open_folder(data, seed=seed)
        return load_splits(folder, module.network.resolution, watcher, channels=module.network.in_channels)

    watcher.phase("decoding validation images", len(samples))
    pixels, labels = decoded(samples, module, watcher)
    watcher.phase("decoding calibration images", len(sources))
    ground = Ground(
        module, _pixels(sources, module), squares, run, minutes, seed, wide=format == "onnx", watcher=watcher
    )
    work = Work(module, run / f"model{suffix}", pixels, labels, ground, max_drop, asked, finished)
    return work.result(Scheme(per_channel=per_channel), every=every)


class Work:
    """A climb in a run folder: every finished rung is written down, so that a resume goes on after it.

    Args:
        model: the float network.
        artifact: where its float file goes; the int8 one lies beside it, as `NAME.int8.EXT`.
        pixels: validation images, uint8 (n, h, w, c).
        labels: of each.
        ground: what techniques may use.
        max_drop: what the metric may lose.
        asked: for `quantize.json`.
        finished: rungs of an earlier sitting.
    """

    def __init__(
        self, model: MobileNet, artifact: Path, pixels: Images, labels: Sequence[Label], ground: Ground,
        max_drop: float, asked: dict[str, Any], finished: Sequence[Rung] = (),
    ) -> None:  # fmt: skip
        self.model, self.artifact, self.pixels, self.labels = model, artifact, pixels, labels
        self.ground, self.max_drop, self.asked, self.watcher = ground, max_drop, asked, ground.watcher
        self.quantized = artifact.with_suffix(f".int8{artifact.suffix}")
        self.known = {rung.name: rung for rung in finished}
        self.rungs: list[Rung] = []
        self.metric = SPOKEN[model.info.task]

    def result(self, scheme: Scheme, *, every: bool = False) -> Quantized:
        """Climb, keep what won, draw and write down what it is."""
        if not self.artifact.exists():
            self.watcher.phase("the float file")
            write(self.model, self.artifact)
        self.float_score = self.score(self.artifact)
        self.watcher.note(f"float: {self.metric} {self.float_score.metric:.2%} on {len(self.pixels)} images")
        start = Made(self.model, scheme)
        climbed = climb(start, techniques(self.ground), self.judge, every=every, on_rung=self.told)
        best = climbed.best
        verification = None
        if best.passed:
            self.write(climbed.made)
            verification = self.proof(climbed.made)
            save(climbed.made.model, self.ground.run / "model.safetensors")
        else:
            remove(self.quantized)
        report = self.report(climbed, verification)
        write_text(self.ground.run / "quantize.json", json.dumps(report, indent=2))
        kept = self.quantized if best.passed else self.artifact
        return Quantized(kept, best.passed, climbed.made.model, report, self.ground.run, verification)

    def proof(self, made: Made) -> Verification:
        """The file reloaded in a fresh process; the gate has judged its accuracy, this would notice another file.

        Raises:
            VerificationError: it answers otherwise there; it is kept as `NAME.failed.EXT`.
        """
        self.watcher.phase("proving the int8 file in a fresh process")
        some, labels = self.pixels[:PROOF], self.labels[:PROOF]
        found = verify(made.model, self.quantized, some, labels=labels, max_drop=self.max_drop + SLACK)
        if not found.passed:
            move(self.quantized, failed := failed_name(self.quantized))
            raise VerificationError(
                f"{self.quantized} does not do in a fresh process what it did: {found}. See {failed}."
            )
        return found

    def judge(self, attempt: Try[Made]) -> Rung:
        """Write and score a try; one that an earlier sitting scored is not scored again."""
        if attempt.name in self.known:
            return self.known[attempt.name]
        begin = time.perf_counter()
        score, failure = None, ""
        if attempt.made is not None:
            self.watcher.phase(attempt.name)
            try:
                self.write(attempt.made)
                score = self.score(self.quantized)
            except MobileNetsError as error:
                if not self.rungs:  # the first try: this format does not work here at all
                    raise
                failure = str(error).splitlines()[0]
        rung = judged(attempt, score, self.float_score.metric, self.max_drop, time.perf_counter() - begin)
        return rung if not failure else judged(Try(attempt.name, attempt.what, None, failure), None, 0.0, 0.0, 0.0)

    def told(self, rung: Rung) -> None:
        """Write a finished rung down, and tell of it."""
        self.rungs.append(rung)
        state = {"asked": self.asked, "rungs": [rung.to_dict() for rung in self.rungs]}
        write_text(self.ground.run / "quantize.json", json.dumps(state, indent=2))
        if rung.score is None or rung.drop is None:
            self.watcher.note(f"{rung.name}: not tried: {rung.note}")
            return
        verdict = "passes" if rung.passed else f"more than {100 * self.max_drop:g}"
        self.watcher.note(
            f"{rung.name}: {self.metric} {rung.score.metric:.2%}, {100 * rung.drop:+.2f} points lost: {verdict}"
        )

    def write(self, made: Made) -> None:
        """A network as the int8 file."""
        write(made.model, self.quantized, precision="int8", calibration=self.ground.calibration, scheme=made.scheme)

    def score(self, path: Path) -> Score:
        """An artifact on the validation images, in its own runtime."""
        session = open_artifact(path, threads=os.cpu_count() or 1)
        found = []
        for start in range(0, len(self.pixels), 64):
            found.append(session.run(self.pixels[start : start + 64]))
            self.watcher.advance(min(start + 64, len(self.pixels)), len(self.pixels))
        scored = evaluation(np.concatenate(found), self.labels, (), session.classes)
        return Score(scored.metric, scored.loss, size_bytes(path))

    def report(self, climbed: Climbed[Made], verification: Verification | None) -> dict[str, Any]:
        """What `quantize.json` holds at the end; the picture of what each node loses is drawn for it."""
        self.watcher.phase("what each node loses")
        made, best, run = climbed.made, climbed.best, self.ground.run
        found = sweep(made, self.ground)
        draw_sensitivity(found, run / "sensitivity.png", f"{made.model.network.label}: {best.name}")
        ops = {node.name: type(node).__name__.lower() for node in made.model.nodes}
        session = open_artifact(self.quantized if best.passed else self.artifact)
        return {
            "asked": self.asked,
            "network": self.model.network.label,
            "metric_name": METRICS[self.model.info.task],
            "images": len(self.pixels),
            "calibration_images": len(self.ground.calibration),
            "max_drop": self.max_drop,
            "float": {"metric": self.float_score.metric, "file_bytes": self.float_score.file_bytes,
                      "artifact": self.artifact.name},
            "chosen": best.name if best.passed else None,
            "artifact": self.quantized.name if best.passed else self.artifact.name,
            "rungs": [rung.to_dict() for rung in climbed.rungs],
            "nodes": [
                {"name": n.address, "op": ops[n.address], "snr_db": _finite(n.snr_db), "alone_db": _finite(n.alone_db),
                 "precision": "fp32" if n.address in made.scheme.keep_float else
                 "int16" if n.address in made.scheme.wide else "int8"}
                for n in found.nodes
            ],
            "verification": None if verification is None else verification.to_dict(),
            **describe(session),
        }  # fmt: skip


def _finite(value: float) -> float | None:
    """JSON has no infinity: a node that loses nothing."""
    return value if math.isfinite(value) else None


def _suffix(format: str, max_drop: float, minutes: float) -> str:
    known = {f.name: f.suffix for f in FORMATS.values() if "int8" in f.precisions and not f.weights_only}
    if format not in known:
        raise MisuseError(f"`format` (={format!r}) must be one of {', '.join(known)}: those that run int8 here.")
    if not 0 <= max_drop < 1:
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
    try:
        folder = open_folder(data, seed=seed)
    except DataError:  # one image a class, or one class: nothing to train on, but it can be scored
        return thinned(labelled(Path(data), classes), seed)
    if folder.classes == classes:
        return thinned(folder.splits["val"], seed)
    return thinned(labelled(Path(data), classes), seed)


def thinned(samples: Sequence[Sample], seed: int, most: int = SCORED) -> tuple[Sample, ...]:
    """At most so many of the samples, drawn at random, in their order."""
    if len(samples) <= most:
        return tuple(samples)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(samples))[:most])
    return tuple(samples[i] for i in chosen)


def _calibration_sources(
    data: str | Path, given: str | Path | None, samples: Sequence[Sample], seed: int, watcher: Watcher
) -> list[Source]:
    if given is not None:
        found: list[Source] = list(decode.find_images([given]))
    else:
        try:
            found = [sample.path for sample in open_folder(data, seed=seed).splits["train"]]
        except DataError:
            found = [sample.path for sample in samples]
            watcher.note("no training images: ranges are taken from scored ones; --calibration names others.")
    order = np.random.default_rng(seed).permutation(len(found))[:CALIBRATION]
    return [found[i] for i in np.sort(order)]


def _pixels(sources: Sequence[Source], model: MobileNet) -> Images:
    from mobilenets.exports import sample_images

    return sample_images(model, sources, limit=len(sources))


def decoded(samples: Sequence[Sample], model: MobileNet, watcher: Watcher) -> tuple[Images, list[Label]]:
    """Validation images as the file takes them, and their labels; unreadable ones are left out."""
    from concurrent.futures import ThreadPoolExecutor

    def loaded(sample: Sample) -> Any:
        try:
            return decode.load_image(sample.path, model.info.preprocessing)
        except DataError:
            return None

    images, labels = [], []
    with ThreadPoolExecutor() as pool:
        for i, (image, sample) in enumerate(zip(pool.map(loaded, samples), samples, strict=True)):
            if image is not None:
                images.append(image)
                labels.append(sample.label)
            watcher.advance(i + 1, len(samples))
    if not images:
        raise DataError("none of the validation images can be read: `mobilenets check` names them.")
    return np.stack(images), labels


def finished_rungs(run: Path, asked: dict[str, Any]) -> list[Rung]:
    """Rungs of the interrupted run in a folder, which must be of what is asked for now."""
    try:
        kept = json.loads((run / "quantize.json").read_text(encoding="utf-8"))
        before, rungs = kept["asked"], [Rung.from_dict(values) for values in kept["rungs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MisuseError(f"{run}: no interrupted quantize to resume ({error}); run without --resume.") from error
    for name, value in asked.items():
        if before.get(name) != value:
            raise MisuseError(f"{run}: begun with {name} {before.get(name)}, asked to go on with {value}.")
    return rungs
