"""What a `search` tells at its end: report.json, the picture, how well each rung foretold the next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from mobilenets.costs import cost
from mobilenets.exports.whole import size_bytes
from mobilenets.files import write_text
from mobilenets.metrics import METRICS
from mobilenets.model import versions
from mobilenets.report import machine, now
from mobilenets.searching.finishing import Found
from mobilenets.searching.job import Job
from mobilenets.searching.ladder import RUNGS, spearman
from mobilenets.searching.pictures import draw_front
from mobilenets.searching.state import State


def write_report(job: Job, found: list[Found]) -> dict[str, Any]:
    """Write report.json and front.png; returns the report."""
    state, asked = job.state, job.state.asked
    best = best_of(found, state.rung("full"))
    trials = job.study.trials()
    job.keep_time()
    split = "test" if "test" in job.folder.splits else "val"
    device = machine() if asked.device == "local" else {"kind": asked.device}
    report: dict[str, Any] = {
        "verb": "search",
        "date": now(),
        "task": job.folder.task,
        "metric": METRICS[job.folder.task],
        "asked": asdict(asked) | {"study": bool(asked.study)},
        "budget": {"text": job.costs.budget.text, **{k: v for k, v in asdict(job.costs.budget).items() if v}},
        "device": {
            **device, "name": best.latency.device, "runtime": best.latency.runtime, "threads": best.latency.threads,
            "precision": best.latency.precision,
        },
        "space": {
            "networks": float(job.space.size), "base": state.base, "choices": state.choices,
            "table_factor": state.factor, "table_error": state.error,
        },
        "study": {"trials": len(trials), "seconds": state.explored_s, "scored_images": state.scored},
        "shared_s": state.shared_s,
        "full_s": state.full_s,
        "rank_correlation": correlations(state),
        "networks": [_told(job, each) for each in found],
        "result": _told(job, best) | {"split": split},
        "rungs": {rung: {name: s for name, s in state.rung(rung).items() if name in state.chosen} for rung in RUNGS},
        "seconds": state.spent_s,
        "versions": versions(),
    }  # fmt: skip
    draw_front(job, trials, found)
    write_text(job.run / "report.json", json.dumps(report, indent=2))
    return report


def best_of(found: Sequence[Found], full: Mapping[str, float]) -> Found:
    """What is shipped: within the budget, and best on validation images; images for testing choose nothing.

    Args:
        found: trained networks; their own scores are on test images where there are some.
        full: scores of their trainings on validation images, by name.
    """
    return max(found, key=lambda each: (each.met, full[each.name]))


def correlations(state: State) -> dict[str, dict[str, float | int | None]]:
    """Spearman's of each two rungs after one another, over the networks that stood on both."""
    found: dict[str, dict[str, float | int | None]] = {}
    for lower, upper in pairwise(RUNGS):
        one, other = state.rung(lower), state.rung(upper)
        both = [name for name in state.chosen if name in one and name in other]
        value = spearman([one[name] for name in both], [other[name] for name in both])
        found[f"{lower} to {upper}"] = {"spearman": value, "networks": len(both)}
    return found


def _told(job: Job, each: Found) -> dict[str, Any]:
    counted, folder = cost(each.model.network), job.folder_of(each.name)
    return {
        "network": each.name, "resolution": each.model.network.resolution, "metric": each.score, "images": each.images,
        "latency_ms": each.latency.median_ms, "latency_p90_ms": each.latency.p90_ms, "latency_runs": each.latency.runs,
        "met": each.met, "file_bytes": size_bytes(each.artifact), "macs": counted.macs, "params": counted.params,
        "artifact": str(each.artifact), "checkpoint": str(folder / "model.safetensors"),
        "table": str(folder / "table.json"),
        "verification": each.verification.to_dict(),
        "point": job.state.chosen[each.name],
    }  # fmt: skip
