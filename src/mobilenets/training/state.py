"""Everything a resume needs, in memory and in one safetensors file; the last two files are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from mobilenets.errors import CheckpointError
from mobilenets.files import replacing
from mobilenets.watching import Epoch

if TYPE_CHECKING:
    from mobilenets.training.loop import Training

_NUMBERS = ("step", "seconds", "validation_s", "best_score", "rate_factor", "precision", "smooth_loss", "since")


@dataclass(frozen=True, slots=True)
class State:
    """Where a training stands: weights, their average, the optimiser's tensors, and numbers as JSON has them."""

    tensors: dict[str, Tensor]
    scalars: dict[str, Any]


def silent(_: str) -> None:
    """A listener for those who do not listen."""


def capture(training: Training) -> State:
    """A copy of a training's state. Random numbers need none: they follow from the seed and the step."""
    tensors: dict[str, Tensor] = {}
    parts = {"model": training.model.state_dict(), "average": training.average.state_dict()}
    if training.matching is not None:
        parts["adapters"] = training.matching.adapters.state_dict()
    for prefix, values in parts.items():
        tensors |= {f"{prefix}/{key}": _copy(value) for key, value in values.items()}
    for i, state in training.optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer/{i}/{k}": torch.as_tensor(v).detach().cpu().clone().contiguous() for k, v in state.items()
        }
    scalars = {name: getattr(training, name) for name in _NUMBERS}
    scalars |= {"history": [asdict(line) for line in training.history], "scaler": training.scaler.state_dict()}
    return State(tensors, json.loads(json.dumps(scalars)))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def restore(training: Training, state: State) -> None:
    """Put a training back to where `capture` found it.

    Raises:
        RuntimeError: tensors of another network.
        KeyError, TypeError, ValueError: a damaged state.
    """
    parts: dict[str, torch.nn.Module] = {"model": training.model, "average": training.average}
    if training.matching is not None:
        parts["adapters"] = training.matching.adapters
    for prefix, module in parts.items():
        start = prefix + "/"
        module.load_state_dict({k.removeprefix(start): v for k, v in state.tensors.items() if k.startswith(start)})
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in state.tensors.items():
        if key.startswith("optimizer/"):
            _, number, name = key.split("/")
            states.setdefault(int(number), {})[name] = value.clone()
    training.optimizer.load_state_dict({**training.optimizer.state_dict(), "state": states})
    for parameter, kept in training.optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                kept[name] = torch.empty_like(parameter).copy_(value)  # the parameter's layout in memory, for speed
    for name in _NUMBERS:
        setattr(training, name, state.scalars[name])
    training.since = dict(training.since)
    training.history = [Epoch(**line) for line in state.scalars["history"]]
    if state.scalars["scaler"]:
        training.scaler.load_state_dict(state.scalars["scaler"])


def previous(path: Path) -> Path:
    """Where the state before the last one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_state(training: Training, path: Path) -> None:
    """Write the state, whole or not at all, and keep the one before.

    Raises:
        OSError: no room; both older files are as they were.
    """
    state = capture(training)
    with replacing(path) as temporary:
        temporary.write_bytes(to_safetensors(state.tensors, metadata={"state": json.dumps(state.scalars)}))
        if path.is_file():
            path.replace(previous(path))


def load_state(training: Training, path: Path, *, note: Callable[[str], None] = silent) -> None:
    """Put a training back to where `save_state` left it; from the state before where the last one is damaged.

    Raises:
        CheckpointError: both are missing or damaged, or of another network.
    """
    first: CheckpointError | None = None
    for candidate in (path, previous(path)):
        if not candidate.is_file():
            continue
        try:
            restore_file(training, candidate)
        except CheckpointError as error:
            first = first or error
            continue
        if first is not None:
            note(f"{first} Going on from {candidate.name}, step {training.step}.")
        return
    raise first or CheckpointError(f"{path}: no such file. Start again without --resume.")


def restore_file(training: Training, path: Path) -> None:
    """Put a training back to where one file says it stood.

    Raises:
        CheckpointError: the file is missing, damaged, or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            scalars = json.loads(file.metadata()["state"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot resume from it: {error}.") from error
    try:
        restore(training, State(tensors, scalars))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: it belongs to another network than {training.model.network.label}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: it is damaged ({error!r}).") from error
