"""What a process of a distributed test does: distributed.py curve|train OUT DATA [EPOCHS]."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

import mobilenets as mn
from mobilenets.data.cache import load_squares
from mobilenets.data.folder import open_folder
from mobilenets.model import build
from mobilenets.training import Recipe, Training, Watcher
from mobilenets.training.parallel import join, leave
from mobilenets.watching import Tick

RECIPE = Recipe(epochs=4, batch_size=32, lr=0.1, precision="fp32")


class _Pids(Watcher):
    """Leaves each process's number for the test to kill."""

    def __init__(self, folder: Path) -> None:
        (folder / f"{os.environ.get('RANK', '0')}.pid").write_text(str(os.getpid()))


def network() -> mn.Network:
    return mn.scale(mn.network("mobilenet_v3_small"), 0.25, 32)


def curve(out: Path, data: Path) -> None:
    """Losses of 20 steps and the validation after them."""
    world = join()
    folder = open_folder(data)
    squares = [load_squares(folder.splits[split], 40) for split in ("train", "val")]
    torch.manual_seed(0)
    model = build(network(), folder.classes)
    recipe = replace(RECIPE, epochs=10, head_first=0.2, layer_decay=0.9)
    training = Training(model, recipe, *squares, fresh=(model.nodes[-1].name,), world=world)
    losses: list[float] = []
    seen = [0.0]

    def tick(_: Tick) -> None:
        total = training.since["loss"]
        losses.append(total - seen[0])
        seen[0] = total if (training.step % training.steps_per_epoch) else 0.0
        if len(losses) == 20:
            raise StopIteration

    try:
        training.run(on_tick=tick)
    except StopIteration:
        training._validate(None)
    line = training.history[-1]
    if world.leads:
        out.write_text(json.dumps({"losses": losses, "top1": line.val_score, "val_loss": line.val_loss}))
    leave()


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, out, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if what == "curve":
        curve(out, data)
    else:
        recipe = replace(RECIPE, epochs=int(sys.argv[4]))
        mn.train(network(), data, out=out, recipe=recipe, checkpoint_s=0.1, watcher=_Pids(out.parent))
