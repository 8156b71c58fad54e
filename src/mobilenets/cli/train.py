"""`mobilenets train NETWORK DATA`."""

from __future__ import annotations

from pathlib import Path

from mobilenets.cli.networks import resolve
from mobilenets.cli.output import print_json, stdout
from mobilenets.cli.progress import Display


def run(
    network: str,
    data: Path,
    /,
    *,
    width: float = 1.0,
    resolution: int | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Train one network on a folder of images.

    Args:
        network: a name (see `mobilenets list`) or a table file (.json).
        data: a folder of class folders, or one with train/ and val/.
        width: width multiplier.
        resolution: input height and width, in pixels.
        epochs: passes over the images (30 unless --minutes is given).
        minutes: wall-clock training time instead of epochs.
        batch_size: images a step.
        lr: peak learning rate, at batch size 64.
        seed: of split, initialisation, order and augmentation.
        out: run folder; the next free runs/trainN unless given.
        resume: go on with the interrupted run in --out, by its own network and settings.
        overwrite: write into a folder that exists.
        json: one JSON object on stdout.
    """
    from dataclasses import replace

    from mobilenets.training import Recipe, train

    table = resolve(network, width=width, resolution=resolution)
    recipe = Recipe(
        epochs=None if minutes is not None else 30 if epochs is None else epochs, minutes=minutes, seed=seed
    )
    if minutes is not None and epochs is not None:
        recipe = replace(recipe, epochs=epochs)  # refuses with its own message
    changes = {k: v for k, v in (("batch_size", batch_size), ("lr", lr)) if v is not None}
    recipe = replace(recipe, **changes)  # type: ignore[arg-type]
    with Display() as display:
        model = train(table, data, out=out, recipe=recipe, resume=resume, overwrite=overwrite, watcher=display)
    where, metrics = display.folder or out, model.info.metrics
    if json:
        network_keys = {
            "network": model.network.name,
            "width": model.network.width,
            "resolution": model.network.resolution,
        }
        print_json({"task": "classify", **network_keys, "folder": str(where), **metrics})
        return
    stdout().print(
        f"top-1 {metrics['val_top1']:.1%} on the validation images; best checkpoint {where}/best.safetensors"
    )
