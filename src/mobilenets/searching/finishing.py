"""From a trained network of a search to its file: exported, proven, timed, scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobilenets.compression.quantize import quantize
from mobilenets.costs import Budget
from mobilenets.data.folder import Folder
from mobilenets.exports import Verification, export, sample_images
from mobilenets.exports.whole import size_bytes
from mobilenets.files import write_text
from mobilenets.latency import Latency, time_artifact
from mobilenets.model import MobileNet, save
from mobilenets.prediction import evaluate_labelled, open_model
from mobilenets.search.timing import Clock, timed_again, within
from mobilenets.searching.state import Asked
from mobilenets.table import json as table_json
from mobilenets.training import Watcher


@dataclass(frozen=True, slots=True)
class Found:
    """A network that was trained to its end.

    Attributes:
        name: of its table.
        model: trained.
        artifact: its file.
        verification: of the file.
        latency: of the file.
        met: whether the file is within the budget.
        score: of the file, on test images where there are some, else on validation images.
        images: that it was scored on.
    """

    name: str
    model: MobileNet
    artifact: Path
    verification: Verification
    latency: Latency
    met: bool
    score: float
    images: int


def finished(
    model: MobileNet, into: Path, asked: Asked, budget: Budget, data: Folder, clock: Clock, int8_minutes: float,
    watcher: Watcher,
) -> Found:  # fmt: skip
    """Checkpoint and file of a trained network; int8 where a technique holds it, else float.

    Args:
        model: trained.
        into: folder of all that is the network's.
        asked: data, precision, threads and seed.
        budget: that the file should meet.
        data: the images, split.
        clock: the device.
        int8_minutes: for the ladder of int8.
        watcher: told about progress.
    """
    name = model.network.name
    watcher.phase(f"exporting and verifying {name}")
    save(model, into / "model.safetensors")
    artifact, verification = into / "model.onnx", None
    if asked.precision == "int8":
        made = quantize(
            into / "model.safetensors", asked.data, minutes=int8_minutes, out=into / "quantize", seed=asked.seed,
            overwrite=True, watcher=watcher,
        )  # fmt: skip
        if made.verification is None:
            watcher.note(f"{name}: no technique holds int8: its file stays in float")
        else:
            model, artifact, verification = made.model, made.artifact, made.verification
            save(model, into / "model.safetensors")
    if verification is None:
        images = sample_images(model, [sample.path for sample in data.splits["val"]])
        precision = "fp32" if asked.precision == "int8" else asked.precision
        verification = export(model, artifact, images=images, precision=precision)
    latency, _ = timed_again(lambda: time_artifact(clock.device, artifact, threads=clock.threads, seconds=3.0), budget)
    split = "test" if "test" in data.splits else "val"
    watcher.phase(f"scoring {name} on {split} images")
    scored = evaluate_labelled(open_model(artifact), data.splits[split], on_progress=watcher.advance)
    met = within(budget, latency, size_bytes(artifact))
    write_text(into / "table.json", table_json.dumps(model.network))  # a rung of int8 may ship another one
    return Found(into.name, model, artifact, verification, latency, met, scored.metric, scored.images)
