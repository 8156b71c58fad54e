"""Everything a resume needs in one safetensors file: weights, their average, the optimiser, and where it stood."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from mobilenets.errors import CheckpointError
from mobilenets.files import write_bytes
from mobilenets.training.loop import Training
from mobilenets.watching import Epoch


def save_state(training: Training, path: Path) -> None:
    """Write the state, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    for prefix, model in (("model", training.model), ("average", training.average)):
        tensors |= {f"{prefix}/{key}": value.contiguous() for key, value in model.state_dict().items()}
    for i, state in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{i}/{key}": torch.as_tensor(value).contiguous() for key, value in state.items()}
    scalars = {
        "history": [asdict(line) for line in training.history],
        "step": training.step,
        "epoch": training.epoch,
        "seconds": training.seconds,
        "best_top1": training.best_top1,
        "bf16": training.bf16,
    }
    write_bytes(path, to_safetensors(tensors, metadata={"state": json.dumps(scalars)}))


def load_state(training: Training, path: Path) -> None:
    """Put a training back to where `save_state` left it.

    Raises:
        CheckpointError: the file is missing, damaged, or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            scalars = json.loads(file.metadata()["state"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot resume from it: {error}. Start again without --resume.") from error
    try:
        for prefix, model in (("model", training.model), ("average", training.average)):
            start = prefix + "/"
            model.load_state_dict({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
    except RuntimeError as error:
        raise CheckpointError(f"{path}: it belongs to another network than {training.model.network.label}.") from error
    try:
        _restore(training, tensors, scalars)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: it is damaged ({error!r}). Start again without --resume.") from error


def _restore(training: Training, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    """The optimiser's tensors and where the training stood."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, number, name = key.split("/")
            states.setdefault(int(number), {})[name] = value
    training.optimizer.load_state_dict({**training.optimizer.state_dict(), "state": states})
    training.history = [Epoch(**line) for line in scalars["history"]]
    training.step, training.epoch = scalars["step"], scalars["epoch"]
    training.seconds, training.best_top1 = scalars["seconds"], scalars["best_top1"]
    training.bf16 = scalars["bf16"]
