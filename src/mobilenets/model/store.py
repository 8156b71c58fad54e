"""Checkpoints: one safetensors file with the table, classes, preprocessing, metrics, recipe and versions inside."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.files import write_bytes
from mobilenets.metrics import Task
from mobilenets.model.build import Info, MobileNet
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime import SUFFIXES
from mobilenets.table import json as table_json
from mobilenets.table.rows import Network

FORMAT = "mobilenets-checkpoint/1"


def save(model: MobileNet, path: str | Path) -> Path:
    """Write a checkpoint (`.safetensors`), whole or not at all.

    Raises:
        MisuseError: another suffix.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise MisuseError(f"a checkpoint's name must end in .safetensors, got {path}. For ONNX use `export`.")
    info = model.info
    metadata = {
        "format": FORMAT,
        "task": info.task,
        "as_trained": json.dumps(model.as_trained),
        "table": json.dumps(table_json.to_dict(model.network)),
        "classes": json.dumps(list(info.classes), ensure_ascii=False),
        "preprocessing": json.dumps(info.preprocessing.to_dict()),
        "metrics": json.dumps(info.metrics),
        "recipe": json.dumps(info.recipe),
        "versions": json.dumps(versions()),
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    write_bytes(path, to_safetensors(tensors, metadata=metadata))
    return path


def load(path: str | Path) -> MobileNet:
    """Read a checkpoint: the model in evaluation mode, with its `info`.

    Raises:
        MisuseError: no such file, or a pickle.
        CheckpointError: not one of our checkpoints, damaged, or tensors that do not fit the table.
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: not a mobilenets checkpoint: expected `format` {FORMAT!r} in its metadata, got "
            f"{metadata.get('format')!r}."
        )
    network, info = _described(metadata, path)
    model = MobileNet(network, info=info, training=metadata.get("as_trained") == "true")
    load_tensors(model, tensors, where=str(path))
    return model.eval()


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file.

    Raises:
        MisuseError: no such file, or a pickle.
        CheckpointError: a damaged file, or one of another kind.
    """
    if path.suffix in {".pth", ".pt", ".pkl", ".ckpt", ".bin"}:
        raise MisuseError(
            f"{path}: a pickle can run code when it is opened, so it is refused. `mobilenets convert {path} "
            f"{path.with_suffix('.safetensors')}` takes the tensors out of it, and runs nothing."
        )
    if not path.is_file():
        raise MisuseError(f"no such checkpoint: {path}.")
    if path.suffix.lower() in SUFFIXES:
        raise MisuseError(f"{path} is an exported file: expected the checkpoint (.safetensors) that it was made from.")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as safetensors: {error}. Expected a .safetensors file."
        ) from error


def _described(metadata: Mapping[str, str], path: Path) -> tuple[Network, Info]:
    """The table and what travels with the weights, from a checkpoint's metadata."""
    values: dict[str, Any] = {}
    for name in ("table", "classes", "preprocessing", "metrics", "recipe"):
        try:
            values[name] = json.loads(metadata[name])
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: its metadata is damaged: `{name}` is not there or not JSON.") from error
    try:
        network = table_json.from_dict(values["table"], where="table")
        preprocessing = Preprocessing.from_dict(values["preprocessing"])
    except (MisuseError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its metadata is damaged: {error}") from error
    classes = values["classes"]
    if not isinstance(classes, list) or len(classes) not in {0, network.classes}:
        raise CheckpointError(
            f"{path}: its metadata is damaged: `classes` must list {network.classes} names or none, got {classes!r}."
        )
    if preprocessing.resolution != network.resolution:
        raise CheckpointError(
            f"{path}: its metadata is damaged: preprocessing gives {preprocessing.resolution} pixels, the table wants "
            f"{network.resolution}."
        )
    task: Task = "multi-label" if metadata.get("task") == "multi-label" else network.task
    return network, Info(tuple(classes), preprocessing, values["metrics"], values["recipe"], task)


def load_tensors(model: MobileNet, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Copy tensors into a model, by key.

    Raises:
        CheckpointError: keys or shapes differ; the message lists both sides.
    """
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    if wanted != found:
        lines = [f"  - {key} {_shape(wanted[key])}" for key in sorted(wanted) if found.get(key) != wanted[key]]
        lines += [f"  + {key} {_shape(found[key])}" for key in sorted(found) if wanted.get(key) != found[key]]
        shown = "\n".join(lines[:20]) + (f"\n  ... and {len(lines) - 20} more" if len(lines) > 20 else "")
        raise CheckpointError(
            f"{where}: its tensors do not fit {model.network.label} (- the network expects, + the file holds):\n{shown}"
        )
    model.load_state_dict(dict(tensors))


def versions() -> dict[str, str]:
    """Versions that made a file."""
    from mobilenets.version import __version__

    return {"mobilenets": __version__, "torch": torch.__version__, "python": platform.python_version()}


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
