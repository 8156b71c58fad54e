"""What a `fit` tells at its end: the artifact scored in its runtime, report.json, the picture."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mobilenets.adapting.trajectory import Kept, steps
from mobilenets.compression import Quantized
from mobilenets.compression.work import report_part as ladder
from mobilenets.costs import Budget, cost
from mobilenets.costs.plain import report_part
from mobilenets.data.folder import Folder
from mobilenets.exports import Verification
from mobilenets.exports.evidence import artifact_part
from mobilenets.files import write_text
from mobilenets.fitting.candidates import Candidate, prediction_error
from mobilenets.fitting.proving import Answers
from mobilenets.fitting.scoring import Scoring, beside, evidence, scored_with_mistakes
from mobilenets.fitting.state import State
from mobilenets.latency import Latency
from mobilenets.metrics import METRICS
from mobilenets.model import MobileNet, versions
from mobilenets.prediction import Predictor, evaluate_labelled, open_model
from mobilenets.report import command, draw, history, listed, machine, now, write_page
from mobilenets.runtime import open_artifact
from mobilenets.search.widths import SUFFIX
from mobilenets.training.objectives import Data
from mobilenets.watching import Watcher
from mobilenets.weights.provenance import provenance


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a `fit` ended with.

    Attributes:
        winner: the candidate that is shipped.
        candidates: all of them, with what became of each.
        model: the winner, trained.
        artifact: its exported file.
        verification: of the file against the model.
        latency: of the file, timed again.
        tries: how often it was timed.
        train: training images.
        val: validation images.
        answers: of the file on another device, against those here.
        quantized: the ladder of int8, where it was asked for.
        source: what the winner's training started from; None for random weights.
    """

    winner: Candidate
    candidates: list[Candidate]
    model: MobileNet
    artifact: Path
    verification: Verification
    latency: Latency
    tries: int
    train: Data
    val: Data
    answers: Answers | None = None
    quantized: Quantized | None = None
    source: str | None = None


def write_report(
    run: Path, state: State, budget: Budget, folder: Folder, o: Outcome, watcher: Watcher, keep_time: Callable[[], None]
) -> dict[str, Any]:
    """Score the artifact in its runtime, write report.json and the picture; returns what report.json holds."""
    predictor = open_model(o.artifact)
    val = folder.splits["val"]
    scoring = scored_with_mistakes(folder.task, predictor, val, folder.classes, watcher.advance)
    scored = scoring.scored
    session = open_artifact(o.artifact, threads=state.threads)
    network, metric = o.model.network, METRICS[o.model.network.task]
    keep_time()
    report: dict[str, Any] = {
        "task": folder.task,
        "budget": {"text": budget.text, **{k: v for k, v in asdict(budget).items() if v is not None}},
        "device": {
            **(machine() if state.device == "local" else {"kind": state.device}),
            "name": o.latency.device, "runtime": o.latency.runtime, "threads": o.latency.threads,
            "precision": o.latency.precision,
            **({} if o.answers is None else {"answers": o.answers.to_dict()}),
        },
        "winner": {
            "network": network.name,
            "width": network.width,
            "resolution": network.resolution,
            "macs": o.winner.macs,
            "params": o.winner.params,
            "peak_activation_bytes": o.winner.ram_bytes,
            "latency_ms": o.latency.median_ms,
            "latency_p90_ms": o.latency.p90_ms,
            "latency_runs": o.latency.runs,
            "latency_tries": o.tries,
            "file_bytes": o.artifact.stat().st_size,
            "metric": scored.metric,
            "metric_name": f"val_{METRICS[folder.task]}",
            **({} if not (more := beside(scored)) else {"beside": more}),
            "artifact": str(o.artifact),
            "checkpoint": str(run / "model.safetensors"),
        },
        "verification": o.verification.to_dict(),
        "prediction": {
            "median_error": prediction_error(o.candidates),
            "measured": sum(c.measured is not None for c in o.candidates),
        },
        "data": {
            "path": state.data,
            "classes": list(folder.classes),
            "train_images": len(o.train),
            "val_images": scored.images,
            "skipped": [
                {"path": str(path), "error": reason} for path, reason in (*o.train.skipped, *o.val.skipped)
            ],
        },
        "seconds": state.spent_s,
        "stepped_down": state.stepped_down,
        "rungs": [
            {"round": int(key.partition(" ")[0]), "candidate": key.partition(" ")[2], metric: score}
            for key, score in state.scores.items()
        ],
        "candidates": [c.to_dict() for c in o.candidates],
        "versions": versions() | {"onnxruntime": session.version, "platform": platform.platform()},
        **_evidence(run, state, folder, o, scoring, predictor),
    }  # fmt: skip
    if "test" in folder.splits:
        watcher.phase("scoring the artifact on test images")
        tested = evaluate_labelled(predictor, folder.splits["test"], on_progress=watcher.advance)
        report["winner"][f"test_{METRICS[folder.task]}"] = tested.metric
        report["data"]["test_images"] = tested.images
    write_text(run / "report.json", json.dumps(report, indent=2))
    draw(report, run / "report.png")
    write_page(report, run / "report.html")
    return report


def _evidence(
    run: Path, state: State, folder: Folder, o: Outcome, scoring: Scoring, predictor: Predictor
) -> dict[str, Any]:
    """What the page shows beside the result: what was asked, the training, what is mistaken, costs, files."""
    scored = scoring.scored
    files = [o.artifact, run / "model.onnx", run / "model.safetensors", run / "split.json"]
    way, picture = steps(run / "adapted" / "steps"), Path("adapted") / "trajectory.png"
    files += [run / picture] if way else []
    of = f"{o.artifact.name} on the validation images"
    return {
        "verb": "fit",
        "date": now(),
        "asked": {
            "data": state.data, "budget": " and ".join(state.budgets), "minutes": state.minutes, "device": state.device,
            "precision": state.precision, "threads": state.threads, "seed": state.seed, "weights": state.weights,
            "effort": state.effort,
        },
        "commands": [
            command("do it again", *state.arguments()),
            command("use it", "predict", o.artifact, "PHOTOS"),
        ],
        "artifacts": [
            artifact_part(
                o.model, o.artifact, run, o.verification, latency=o.latency, metric=scored.metric, images=scored.images
            )
        ],
        "history": history(run / "train" / "metrics.csv"),
        "costs": report_part(cost(o.model.network)),
        **evidence(folder.task, scoring, predictor, folder.splits["val"], run, of),
        "licences": provenance((o.model.network.backbone or o.model.network.name).removesuffix(SUFFIX), o.source),
        "files": listed(dict.fromkeys(files), run),
        **({} if o.quantized is None else {"quantization": ladder(o.quantized.report)}),
        **({} if not way else {"netadapt": [_step(kept) for kept in way], "pictures": [
            {"title": "Made narrower until it fits", "file": picture.as_posix(),
             "note": "Which layers gave, step by step, and what accuracy each millisecond cost."}
        ]}),
    }  # fmt: skip


def _step(kept: Kept) -> dict[str, Any]:
    """A network on NetAdapt's way, in short; the whole is in its own file."""
    names = ("number", "gave", "before", "after", "val", "measured_ms", "file_bytes", "macs", "load")
    return {name: getattr(kept, name) for name in names}
