"""What an `adapt` tells at its end: the file scored in its runtime, report.json, the picture."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilenets.adapting.job import Job
from mobilenets.adapting.outcome import Outcome
from mobilenets.adapting.state import State
from mobilenets.adapting.trajectory import front
from mobilenets.costs import Budget, cost
from mobilenets.exports.whole import size_bytes
from mobilenets.files import write_text
from mobilenets.latency import Latency
from mobilenets.metrics import METRICS
from mobilenets.model import MobileNet, versions
from mobilenets.prediction import evaluate_labelled, open_model
from mobilenets.report import machine, now
from mobilenets.table import json as table_json
from mobilenets.training import Watcher


def already_met(start: MobileNet, budget: Budget, latency: Latency, file_bytes: int) -> dict[str, Any]:
    """What is told of a start that is within the budget."""
    return {
        "task": start.info.task, "budget": _budget(budget), "met": True, "steps": [],
        "start": {"network": start.network.label, "latency_ms": latency.median_ms, "file_bytes": file_bytes},
    }  # fmt: skip


def write_report(
    run: Path, state: State, budget: Budget, start: MobileNet, job: Job, o: Outcome, watcher: Watcher
) -> dict[str, Any]:
    """Score file and start on the same images, write report.json, table.json and the picture; returns the report."""
    task = start.info.task
    split = "test" if "test" in job.folder.splits else "val"
    watcher.phase(f"scoring the file and the start on {split} images")
    samples = job.folder.splits[split]
    scored = evaluate_labelled(open_model(o.artifact), samples, on_progress=watcher.advance)
    before = evaluate_labelled(open_model(run / "steps" / "00.safetensors"), samples, on_progress=watcher.advance)
    write_text(run / "table.json", table_json.dumps(o.model.network))
    counted, counted_start = cost(o.model.network), cost(start.network)
    points = [(kept.measured_ms, kept.val) for kept in o.way]
    job.keep_time()
    report: dict[str, Any] = {
        "verb": "adapt",
        "date": now(),
        "task": task,
        "metric": METRICS[task],
        "asked": {
            "model": state.model, "data": state.data, "budget": " and ".join(state.budgets), "minutes": state.minutes,
            "delta": state.delta, "rule": state.rule, "device": state.device, "precision": state.precision,
            "threads": state.threads, "seed": state.seed,
        },
        "budget": _budget(budget),
        "met": o.met,
        "device": {
            **(machine() if state.device == "local" else {"kind": state.device}), "name": o.latency.device,
            "runtime": o.latency.runtime, "threads": o.latency.threads, "precision": o.latency.precision,
        },
        "divisor": state.divisor,
        "start": {
            "network": start.network.label, "metric": before.metric, "latency_ms": o.start_latency.median_ms,
            "latency_first_ms": state.start_ms, "file_bytes": o.way[0].file_bytes, "macs": counted_start.macs,
            "params": counted_start.params,
        },
        "result": {
            "network": o.model.network.label, "metric": scored.metric, "images": scored.images, "split": split,
            "latency_ms": o.latency.median_ms, "latency_p90_ms": o.latency.p90_ms, "latency_runs": o.latency.runs,
            "file_bytes": size_bytes(o.artifact), "macs": counted.macs, "params": counted.params,
            "artifact": str(o.artifact), "checkpoint": str(run / "model.safetensors"),
            "table": str(run / "table.json"),
        },
        "verification": o.verification.to_dict(),
        "chosen_by": {"images": state.scored, "of": "training images that the short fine-tunings did not see"},
        "steps": [kept.to_dict() for kept in o.way],
        "front": [o.way[i].number for i in front(points)],
        "seconds": state.spent_s,
        "tuning_s": state.tuning_s,
        "versions": versions(),
    }  # fmt: skip
    job.draw(tuned=(o.way[-1].measured_ms, job.room.val_score(o.model)))
    write_text(run / "report.json", json.dumps(report, indent=2))
    return report


def _budget(budget: Budget) -> dict[str, Any]:
    return {"text": budget.text, **{k: v for k, v in asdict(budget).items() if v is not None}}
