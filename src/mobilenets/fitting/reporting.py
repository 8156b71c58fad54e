"""What a `fit` tells at its end: the artifact scored in its runtime, report.json, the picture."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mobilenets.data.cache import Squares
from mobilenets.data.folder import Folder
from mobilenets.exports import Verification
from mobilenets.files import write_text
from mobilenets.fitting.budget import Budget
from mobilenets.fitting.candidates import Candidate, prediction_error
from mobilenets.fitting.state import State
from mobilenets.latency import Latency, processor
from mobilenets.metrics import METRICS
from mobilenets.model import MobileNet, versions
from mobilenets.prediction import evaluate_samples, open_model
from mobilenets.report import draw
from mobilenets.runtime import describe, open_artifact
from mobilenets.watching import Watcher


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
    """

    winner: Candidate
    candidates: list[Candidate]
    model: MobileNet
    artifact: Path
    verification: Verification
    latency: Latency
    tries: int
    train: Squares
    val: Squares


def write_report(
    run: Path, state: State, budget: Budget, folder: Folder, o: Outcome, watcher: Watcher, keep_time: Callable[[], None]
) -> dict[str, Any]:
    """Score the artifact in its runtime, write report.json and the picture; returns what report.json holds."""
    predictor = open_model(o.artifact)
    scored = evaluate_samples(predictor, folder.splits["val"], on_progress=watcher.advance)
    session = open_artifact(o.artifact, threads=state.threads)
    network = o.model.network
    keep_time()
    report: dict[str, Any] = {
        "task": folder.task,
        "budget": {"text": budget.text, **{k: v for k, v in asdict(budget).items() if v is not None}},
        "device": {"name": processor(), "kind": "local", "cores": os.cpu_count(), **describe(session)},
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
            "train_images": len(o.train.labels),
            "val_images": scored.images,
            "skipped": [
                {"path": str(path), "error": reason} for path, reason in (*o.train.skipped, *o.val.skipped)
            ],
        },
        "seconds": state.spent_s,
        "stepped_down": state.stepped_down,
        "rungs": [
            {"round": int(key.partition(" ")[0]), "candidate": key.partition(" ")[2], "top1": score}
            for key, score in state.scores.items()
        ],
        "candidates": [c.to_dict() for c in o.candidates],
        "versions": versions() | {"onnxruntime": session.version, "platform": platform.platform()},
    }  # fmt: skip
    if "test" in folder.splits:
        watcher.phase("scoring the artifact on test images")
        tested = evaluate_samples(predictor, folder.splits["test"], on_progress=watcher.advance)
        report["winner"][f"test_{METRICS[folder.task]}"] = tested.metric
        report["data"]["test_images"] = tested.images
    write_text(run / "report.json", json.dumps(report, indent=2))
    draw(report, run / "report.png")
    return report
