"""A climb in a run folder: every try written and scored, what won proven, drawn and reported."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilenets.compression.ladder import Climbed, Rung, Score, Try, climb, judged
from mobilenets.compression.techniques import Ground, Made, sweep, techniques
from mobilenets.data.splits import Label
from mobilenets.errors import MobileNetsError, VerificationError
from mobilenets.exports import Postprocess, Verification, size_bytes, verify, write
from mobilenets.exports.evidence import artifact_part, write_evidence
from mobilenets.exports.judging import judge
from mobilenets.exports.whole import failed_name, move, remove
from mobilenets.files import write_text
from mobilenets.latency import time_session
from mobilenets.metrics import METRICS, SPOKEN
from mobilenets.model import MobileNet, save
from mobilenets.outputs import PROBABILITIES
from mobilenets.precision import Scheme
from mobilenets.prediction import score as evaluation
from mobilenets.processors import processors
from mobilenets.quantization.sensitivity import draw_sensitivity
from mobilenets.report import command, listed
from mobilenets.runtime import describe, open_artifact
from mobilenets.runtime.session import Images

BATCH = 32
PROOF, SLACK = 512, 0.05
"""Images of the proof in a fresh process, and what so few of them may differ by beyond the allowed drop."""


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


def report_part(report: dict[str, Any]) -> dict[str, Any]:
    """The ladder in `quantize.json` as a report's page shows it; see `report.schema.Quantization`."""
    return {
        "runtime": report["runtime"],
        "images": report["images"],
        "calibration_images": report["calibration_images"],
        "max_drop_points": 100 * report["max_drop"],
        "float_metric": report["float"]["metric"],
        "metric_name": report["metric_name"],
        "chosen": report["chosen"],
        "rungs": [_shown(rung) for rung in report["rungs"]],
        "nodes": report["nodes"],
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
        postprocess: of detectors and segmenters, inside the files or not.
    """

    def __init__(
        self, model: MobileNet, artifact: Path, pixels: Images, labels: Sequence[Label], ground: Ground,
        max_drop: float, asked: dict[str, Any], finished: Sequence[Rung] = (),
        postprocess: Postprocess = Postprocess(),  # noqa: B008 - frozen
    ) -> None:  # fmt: skip
        self.model, self.artifact, self.pixels, self.labels = model, artifact, pixels, labels
        self.ground, self.max_drop, self.asked, self.watcher = ground, max_drop, asked, ground.watcher
        self.quantized = artifact.with_suffix(f".int8{artifact.suffix}")
        self.known = {rung.name: rung for rung in finished}
        self.postprocess = postprocess
        self.rungs: list[Rung] = []
        self.since = time.perf_counter()
        self.metric = SPOKEN[model.info.task]

    def result(self, scheme: Scheme, *, every: bool = False) -> Quantized:
        """Climb, keep what won, draw and write down what it is."""
        if not self.artifact.exists():
            self.watcher.phase("the float file")
            write(self.model, self.artifact, postprocess=self.postprocess)
        self.float_score = self.score(self.artifact)
        self.watcher.note(f"float: {self.metric} {self.float_score.metric:.2%} on {len(self.pixels)} images")
        start, self.since = Made(self.model, scheme), time.perf_counter()
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
        self.pages(report, climbed, verification)
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

    def pages(self, report: dict[str, Any], climbed: Climbed[Made], verification: Verification | None) -> None:
        """`report.html` and `report.json`."""
        run, made, best = self.ground.run, climbed.made, climbed.best
        artifacts = []
        if verification is not None and best.score is not None:
            latency = time_session(open_artifact(self.quantized), runs=100, limit_s=2.0)
            artifacts = [
                artifact_part(
                    made.model, self.quantized, run, verification, latency=latency, metric=best.score.metric,
                    images=len(self.pixels),
                )
            ]  # fmt: skip
        asked = self.asked
        again = [f"--{name}={asked[name]}" for name in ("data", "format", "seed") if name in asked]
        again += [f"--max-drop={100 * self.max_drop:g}", f"--minutes={self.ground.minutes:g}"]
        again += ["--per-tensor"] * (not asked.get("per_channel", True)) + ["--raw"] * (not self.postprocess.inside)
        kept = self.quantized if best.passed else self.artifact
        score = best.score if best.passed and best.score is not None else self.float_score
        write_evidence(run, self.model, {
            "verb": "quantize",
            "asked": asked,
            "commands": [command("do it again", "quantize", asked.get("model") or "MODEL", *again)],
            "winner": {"metric": score.metric, "metric_name": f"val_{report['metric_name']}",
                       "file_bytes": score.file_bytes, "artifact": str(kept)},
            "data": {"path": str(asked.get("data", "")), "val_images": len(self.pixels),
                     "classes": list(self.model.info.classes)},
            "quantization": report_part(report),
            "artifacts": artifacts,
            "pictures": [{"title": "What each node loses", "file": "sensitivity.png"}],
            "files": listed([kept, run / "model.safetensors"], run),
        })  # fmt: skip

    def judge(self, attempt: Try[Made]) -> Rung:
        """Write and score a try; one that an earlier sitting scored is not scored again."""
        if attempt.name in self.known:
            return self.known[attempt.name]
        score = None
        if attempt.made is not None:
            self.watcher.phase(attempt.name)
            try:
                self.write(attempt.made)
                score = self.score(self.quantized)
            except MobileNetsError as error:
                if not self.rungs:  # the first try: this format does not work here at all
                    raise
                attempt = replace(attempt, note=str(error).splitlines()[0])
        seconds = time.perf_counter() - self.since  # what made the try, training among it, counts too
        return judged(attempt, score, self.float_score.metric, self.max_drop, seconds)

    def told(self, rung: Rung) -> None:
        """Write a finished rung down, and tell of it."""
        self.since = time.perf_counter()
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
        write(
            made.model, self.quantized, precision="int8", calibration=self.ground.calibration, scheme=made.scheme,
            postprocess=self.postprocess,
        )  # fmt: skip

    def score(self, path: Path) -> Score:
        """An artifact on the validation images, in its own runtime."""
        session = open_artifact(path, threads=processors())
        task = self.model.info.task
        scored, found = judge(self.model.network, task, session.classes), []
        for start in range(0, len(self.pixels), BATCH):
            outputs = session.outputs(self.pixels[start : start + BATCH])
            scored.add(outputs, self.labels[start : start + BATCH])
            found += [outputs[PROBABILITIES]] if task in ("classify", "multi-label") else []
            self.watcher.advance(min(start + BATCH, len(self.pixels)), len(self.pixels))
        loss = evaluation(np.concatenate(found), self.labels, (), session.classes).loss if found else 0.0
        return Score(scored.metric(), loss, size_bytes(path))

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
