"""Pickled weights to safetensors: the tensors are taken out, nothing else is run."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.files import write_bytes

WRAPPERS = ("state_dict", "model", "model_ema", "ema", "state_dict_ema", "net")
"""Keys under which training code keeps the weights, in the order in which they are looked for."""


def convert_pickle(source: str | Path, out: str | Path) -> dict[str, Tensor]:
    """Write the tensors of a pickle (`.pth`, `.pt`, `.bin`) as safetensors, whole or not at all; returns them.

    Weights under one of `WRAPPERS` are unwrapped, `module.` before every name is cut off, and tensors that share their
    memory become separate. Only tensors and plain containers are unpickled.

    Raises:
        MisuseError: no such file, or an `out` that is no `.safetensors`.
        CheckpointError: not a pickle, one that wants more than tensors, or one without any.
    """
    source, out = Path(source), Path(out)
    if not source.is_file():
        raise MisuseError(f"no such file: {source}.")
    if out.suffix != ".safetensors":
        raise MisuseError(f"the name of the converted file must end in .safetensors, got {out}.")
    if source.suffix == ".safetensors":
        raise MisuseError(f"{source}: is safetensors already, use it as it is.")
    found = _weights(_unpickled(source))
    if not found:
        raise CheckpointError(f"{source}: no tensors by name in it: expected a state dict, or one under {_listed()}.")
    tensors = {key: value.detach().contiguous().clone() for key, value in found.items()}
    write_bytes(out, to_safetensors(tensors, metadata={"format": "pt", "converted_from": source.name}))
    return tensors


def _unpickled(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.findall(r"GLOBAL ([\w.]+)", str(error))
        if not wanted:
            raise CheckpointError(f"{path}: cannot be read as pickled weights: {_first_line(error)}") from error
        raise CheckpointError(
            f"{path}: wants to run {wanted[0]} when it is opened, so it is refused; nothing of it was run. Save only "
            "the weights, `torch.save(model.state_dict(), ...)`, where you trust it, and convert that."
        ) from error
    except Exception as error:  # torch's reader raises almost any type on files that are none
        raise CheckpointError(f"{path}: cannot be read as pickled weights: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".") + "."


def _weights(found: object) -> dict[str, Tensor]:
    """Named tensors at the top, else under the first of the wrappers that has any."""
    if not isinstance(found, Mapping):
        return {}
    tensors: dict[str, Any] = {key: value for key, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        inner = (_weights(found[key]) for key in WRAPPERS if key in found)
        return next((weights for weights in inner if weights), {})
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _listed() -> str:
    return ", ".join(f"`{key}`" for key in WRAPPERS)
