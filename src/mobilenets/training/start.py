"""What a training begins with: random weights or published ones, and the conventions that come with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobilenets.data.annotations import Boxes
from mobilenets.data.folder import Folder
from mobilenets.heads import fit_anchors
from mobilenets.metrics import Task
from mobilenets.model import MobileNet, build, with_info
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import json as table_json
from mobilenets.table.nodes import predictors
from mobilenets.table.rows import BoxPredictor, Network
from mobilenets.training.objectives import Data
from mobilenets.training.objectives.boxes import begin_rare
from mobilenets.training.validation import evaluated
from mobilenets.weights import estimate_norm, pretrained, restore_norm
from mobilenets.zoo import network as network_by_name


@dataclass(frozen=True, slots=True)
class Start:
    """A model before its first step.

    Attributes:
        model: with the weights it begins with.
        source: where they come from; None where they are random.
        fresh: nodes that start anew all the same.
        folded: batch norm was folded into the weights and has to be given back.
        estimate: batch norm's statistics are another network's.
    """

    model: MobileNet
    source: str | None = None
    fresh: tuple[str, ...] = ()
    folded: bool = False
    estimate: bool = False

    def settings(self) -> dict[str, Any]:
        """Plain JSON values, enough to build the model again."""
        return {
            "table": table_json.to_dict(self.model.network),
            "preprocessing": self.model.info.preprocessing.to_dict(),
            "task": self.model.info.task,
            "weights": self.source,
            "fresh": list(self.fresh),
        }


def begin_from(
    network: Network | str,
    classes: Sequence[str],
    weights: str | Path,
    *,
    task: Task = "classify",
    seed: int,
    note: Callable[[str], None],
) -> Start:
    """The model for some classes, from `weights` (see `mobilenets.weights.pretrained`) or random ones.

    A classifier that starts anew sees whole images from now on: the recipes' crops hold most of each, so the origin's
    crop for evaluation would show less than was trained on. All else that the origin's conventions are stays.

    Raises:
        MisuseError: no such weights.
        CheckpointError: weights of another network.
    """
    torch.manual_seed(seed)
    table = network_by_name(network) if isinstance(network, str) else network
    model = pretrained(table, weights, classes=classes, note=note)
    if model is None:
        return Start(with_info(build(table, classes, training=True), task=task))
    told = model.info.recipe
    fresh = tuple(told.get("fresh", ()))
    if fresh:
        model.info = replace(model.info, preprocessing=replace(model.info.preprocessing, crop=1.0))
    model.info = replace(model.info, metrics={}, recipe={}, task=task)
    anew = ", ".join(fresh) if len(fresh) < 4 else f"{len(fresh)} layers of {table.name}"
    note(f"starting from {told['weights']}" + (f"; anew: {anew}" if fresh else ""))
    return Start(model, str(told["weights"]), fresh, bool(told.get("folded")), bool(told.get("estimate")))


def rebuilt(settings: dict[str, Any], table: Network, classes: Sequence[str]) -> Start:
    """The model of a run's settings, with random weights: its checkpoint has the real ones.

    Raises:
        KeyError, TypeError, MisuseError: damaged settings.
    """
    preprocessing = Preprocessing.from_dict(settings["preprocessing"])
    model = build(table, classes, preprocessing=preprocessing, training=True)
    return Start(with_info(model, task=settings["task"]), settings["weights"], tuple(settings["fresh"]))


def begin_for(
    network: Network, folder: Folder, weights: str | Path, *, seed: int, note: Callable[[str], None]
) -> Start:
    """`begin_from` for a data set. A detector whose predictors of boxes all start anew gets anchors for its boxes.

    Raises:
        MisuseError: no such weights.
        CheckpointError: weights of another network.
    """
    start = begin_from(network, folder.classes, weights, task=folder.task, seed=seed, note=note)
    if network.task != "detect":
        return start
    fresh = _anew(start)
    if set(predictors(start.model.nodes, start.model.ends[0])) <= fresh:
        fitted = anchored(network, folder)
        if fitted != network:
            start = begin_from(fitted, folder.classes, weights, task=folder.task, seed=seed, note=lambda _: None)
            row = fitted.rows[-1]
            assert isinstance(row, BoxPredictor)
            note(
                f"anchors of {row.smallest} to {row.largest} % of the image, {row.anchors[0]} at each place of the "
                "first map: those that overlap the training boxes most"
            )
    begin_rare(start.model, _anew(start))
    return start


def anchored(network: Network, folder: Folder) -> Network:
    """A detector with the anchors that overlap the training boxes most."""
    objects = [s.label.arrays() for s in folder.splits["train"] if isinstance(s.label, Boxes)]
    corners, labels, _ = (np.concatenate(part) for part in zip(*objects, strict=True))
    return fit_anchors(network, corners, labels)


def _anew(start: Start) -> set[str]:
    """Nodes without weights of another network."""
    return set(start.fresh) if start.source is not None else {node.name for node in start.model.nodes}


def calibrate(start: Start, squares: Data, images: int = 512) -> None:
    """Batch norm by the user's images, where the weights came without it or from a wider network."""
    if not (start.folded or start.estimate):
        return
    drawn = np.sort(np.random.default_rng(0).permutation(len(squares))[:images])
    parts = np.array_split(drawn, max(1, len(drawn) // 64))
    batches = [evaluated(start.model, torch.from_numpy(squares.images[part])) for part in parts]
    if start.folded:
        restore_norm(start.model, batches, fresh=start.fresh)
    else:
        estimate_norm(start.model, batches)
