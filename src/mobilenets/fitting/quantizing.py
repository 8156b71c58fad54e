"""The ladder of int8 within a `fit`."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mobilenets.compression.ladder import Rung
from mobilenets.compression.quantize import SCORED, SCORED_HEADS, decoded, finished_rungs, thinned
from mobilenets.compression.techniques import Ground
from mobilenets.compression.work import Quantized, Work
from mobilenets.data.cache import Squares
from mobilenets.data.folder import Folder
from mobilenets.errors import MisuseError
from mobilenets.exports import sample_images
from mobilenets.exports.samples import CALIBRATION
from mobilenets.exports.shipping import ending_of
from mobilenets.fitting.state import State
from mobilenets.model import MobileNet
from mobilenets.precision import Scheme
from mobilenets.training import Watcher
from mobilenets.training.objectives import Data


def quantized(
    model: MobileNet, artifact: Path, state: State, folder: Folder, splits: tuple[Data, Data], minutes: float,
    watcher: Watcher,
) -> Quantized:  # fmt: skip
    """Climb the ladder from the float file; a rung that an earlier sitting finished is not climbed again.

    Args:
        model: as it was trained.
        artifact: its float file, in the run folder.
        state: of the run.
        folder: the data.
        splits: training and validation images; rungs that train ask for them, and only classifiers' do.
        minutes: that trainings may take.
        watcher: told how far it is.
    """
    run = artifact.parent / "quantize"
    run.mkdir(exist_ok=True)
    asked = {"network": model.network.label, "max_drop": state.max_drop, "seed": state.seed}
    finished: list[Rung] = []
    with contextlib.suppress(MisuseError):
        finished = finished_rungs(run, asked)
    most = SCORED if ending_of(folder.task) is None else SCORED_HEADS
    val = thinned(folder.splits["val"], state.seed, most)
    watcher.phase("decoding validation images", len(val))
    pixels, labels = decoded(val, model, watcher)
    train = [sample.path for sample in thinned(folder.splits["train"], state.seed, CALIBRATION)]

    def squares() -> tuple[Squares, Squares]:
        train, val = splits
        assert isinstance(train, Squares) and isinstance(val, Squares)
        return train, val

    images = sample_images(model, train, limit=len(train))
    ground = Ground(model, images, squares, run, minutes, state.seed, wide=True, watcher=watcher)
    return Work(model, artifact, pixels, labels, ground, state.max_drop, asked, finished).result(Scheme())
