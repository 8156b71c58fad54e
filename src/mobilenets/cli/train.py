"""`mobilenets train NETWORK DATA`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from mobilenets.cli.networks import resolve
from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display
from mobilenets.errors import MisuseError
from mobilenets.metrics import METRICS, SPOKEN

Auto = Literal["auto"]


def run(
    network: str,
    data: Path,
    /,
    *,
    width: float = 1.0,
    resolution: int | None = None,
    channels: int | None = None,
    weights: str = "auto",
    recipe: str | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    batch_size: int | Auto | None = None,
    lr: float | Auto | None = None,
    precision: str | None = None,
    balance: str | None = None,
    clip: float | None = None,
    patience: int | None = None,
    compile: bool = False,
    teacher: list[str] | None = None,
    temperature: float | None = None,
    teacher_share: float | None = None,
    match: list[str] | None = None,
    log: list[str] | None = None,
    seed: int = 0,
    out: Path | None = None,
    checkpoint_s: float = 60.0,
    resume: bool = False,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Train one network on labelled images. Under torchrun, many processes train one network.

    Args:
        network: a name (see `mobilenets list`) or a table file (.json).
        data: class folders, or these under train/ and val/; a CSV or Parquet file; tar shards.
        width: width multiplier.
        resolution: input height and width, in pixels.
        channels: of the images: 3 (RGB), 1 (grey), 4 (RGB and one more, in files of four channels).
        weights: what to start from: auto (the best published ones that can be had, else none), imagenet, none, a
            safetensors file, or hf://owner/repo.
        recipe: finetune (where there are weights), quick (where not), scratch or paper.
        epochs: passes over the images (30 unless --minutes is given).
        minutes: wall-clock time instead of epochs.
        batch_size: images a step, over all processes; auto measures the fastest.
        lr: peak learning rate, at batch size 64; auto finds one by a range test.
        precision: auto, fp32, bf16 or fp16.
        balance: none, loss (weights rare classes up) or sampling (draws all classes alike).
        clip: largest norm of the gradient.
        patience: stop after so many validations without a better one.
        compile: torch.compile the forward pass.
        teacher: checkpoint or exported file to learn from beside the labels; several make an ensemble.
        temperature: that softens what teachers say.
        teacher_share: part of the loss that answers the teachers.
        match: STUDENT_NODE=TEACHER_NODE: features that should agree with the first teacher's.
        log: tensorboard, wandb or mlflow, beside the CSV.
        seed: of split, initialisation, order and augmentation.
        out: run folder; the next free runs/trainN unless given.
        checkpoint_s: seconds between checkpoints.
        resume: go on with the interrupted run in --out, by its own network and settings.
        overwrite: write into a folder that exists.
        json: one JSON object on stdout.
    """
    from mobilenets.training import train

    table = resolve(network, width=width, resolution=resolution)
    if channels is not None:
        table = replace(table, in_channels=channels)
    changes = {
        "batch_size": 0 if batch_size == "auto" else batch_size, "lr": 0.0 if lr == "auto" else lr,
        "precision": precision, "balance": balance, "clip": clip, "patience": patience, "compile": compile or None,
        "temperature": temperature, "teacher_share": teacher_share, "seed": seed,
    }  # fmt: skip
    with Display() as display:
        model = train(
            table, data, out=out, recipe=recipe, minutes=minutes, epochs=epochs,
            changes={k: v for k, v in changes.items() if v is not None}, weights=weights, teachers=teacher or (),
            match=_pairs(match or []), loggers=log or (), resume=resume, overwrite=overwrite,
            checkpoint_s=checkpoint_s, watcher=display,
        )  # fmt: skip
    if os.environ.get("RANK", "0") == "0":
        _show(model, display.folder or out, json=json)


def _pairs(texts: list[str]) -> dict[str, str]:
    """`ours=theirs` as a mapping."""
    pairs = {}
    for text in texts:
        ours, found, theirs = text.partition("=")
        if not (ours and found and theirs):
            raise MisuseError(f"--match {text!r}: expected STUDENT_NODE=TEACHER_NODE, such as row05.add=row12.add.")
        pairs[ours] = theirs
    return pairs


def _show(model: Any, where: Path | None, *, json: bool) -> None:
    metrics, network, task = model.info.metrics, model.network, model.info.task
    if json:
        keys = {"network": network.name, "width": network.width, "resolution": network.resolution}
        print_json({"task": task, **keys, "folder": str(where), **metrics})
        return
    found = metrics[f"val_{METRICS[task]}"]
    stdout().print(f"{SPOKEN[task]} {found:.1%} on the validation images; best checkpoint {where}/best.safetensors")
