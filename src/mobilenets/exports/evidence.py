"""What a report says of exported files: each with size, score, latency, proof and operators; and the page of it all."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilenets.costs import cost
from mobilenets.costs.plain import report_part
from mobilenets.data.splits import Label
from mobilenets.errors import MobileNetsError
from mobilenets.exports.census import census
from mobilenets.exports.formats import format_of
from mobilenets.exports.judging import judge
from mobilenets.exports.verify import Verification
from mobilenets.files import write_text
from mobilenets.latency import Latency, time_session
from mobilenets.model import MobileNet, versions
from mobilenets.report import artifact, machine, now, write_page
from mobilenets.runtime import SUFFIXES, open_artifact
from mobilenets.runtime.session import Images


def artifact_part(
    model: MobileNet,
    path: Path,
    folder: Path,
    verification: Verification,
    *,
    latency: Latency | None = None,
    metric: float | None = None,
    images: int = 0,
) -> dict[str, Any]:
    """An exported file as `report.json` lists it.

    Args:
        model: that it was made from.
        path: the file.
        folder: of the report.
        verification: its proof.
        latency: of one image.
        metric: its own score, in its own runtime.
        images: that it was scored on.
    """
    return dict(
        artifact(
            path, folder, format=format_of(path).title, precision=verification.precision,
            verification=verification.to_dict(), census=census(model, path).to_dict(),
            latency=None if latency is None else latency.to_dict(), metric=metric, images=images,
        )
    )  # fmt: skip


def measured(model: MobileNet, path: Path, images: Images, labels: Sequence[Label] | None) -> dict[str, Any]:
    """Latency, and score where there are labels, of a file in its own runtime; nothing where none runs it here."""
    if path.suffix not in SUFFIXES:
        return {}
    try:
        session = open_artifact(path)
        latency = time_session(session, runs=50, limit_s=1.0)
        if labels is None:
            return {"latency": latency}
        scored = judge(model.network, model.info.task, model.info.classes)
        for start in range(0, len(images), 16):
            scored.add(session.outputs(images[start : start + 16]), labels[start : start + 16])
        return {"latency": latency, "metric": scored.metric(), "images": len(images)}
    except MobileNetsError:
        return {}


def write_evidence(folder: Path, model: MobileNet, parts: Mapping[str, Any]) -> None:
    """`report.json` and `report.html`: the parts, with the model's costs, this machine and the versions."""
    network = model.network
    counted = cost(network)
    data: dict[str, Any] = {
        "date": now(),
        "task": model.info.task,
        "device": machine(),
        "winner": {
            "network": network.name, "width": network.width, "resolution": network.resolution,
            "params": counted.params, "macs": counted.macs,
            "peak_activation_bytes": counted.peak_activation_bytes(),
        },
        "costs": report_part(counted),
        "versions": versions() | {"platform": platform.platform()},
    }  # fmt: skip
    for name, value in parts.items():
        data[name] = {**data[name], **value} if name in ("winner", "device") else value
    write_text(folder / "report.json", json.dumps(data, indent=2))
    write_page(data, folder / "report.html")
