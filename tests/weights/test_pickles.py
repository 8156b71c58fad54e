"""Pickled weights: tensors come out, code stays in."""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mobilenets.cli import main
from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.model import load
from mobilenets.weights import convert_pickle

WEIGHT = torch.arange(6.0).reshape(2, 3)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("content", [
    OrderedDict(a=WEIGHT, b=torch.ones(2)),
    {"state_dict": {"module.a": WEIGHT, "module.b": torch.ones(2)}, "epoch": 3},
    {"model": {"a": WEIGHT, "b": torch.ones(2), "steps": 7}, "optimizer": {"state": {0: WEIGHT}}},
    {"model_ema": {"state_dict": {"a": WEIGHT, "b": torch.ones(2)}}},
])  # fmt: skip
def test_tensors_come_out(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "in.pth")
    convert_pickle(tmp_path / "in.pth", tmp_path / "out.safetensors")
    found = load_file(tmp_path / "out.safetensors")
    assert found.keys() == {"a", "b"} and torch.equal(found["a"], WEIGHT)


def test_shared_and_strided_tensors(tmp_path: Path) -> None:
    torch.save({"a": WEIGHT, "b": WEIGHT, "c": WEIGHT.T, "d": WEIGHT[:, 1]}, tmp_path / "in.pt")
    convert_pickle(tmp_path / "in.pt", tmp_path / "out.safetensors")
    found = load_file(tmp_path / "out.safetensors")
    assert torch.equal(found["a"], found["b"]) and torch.equal(found["c"], WEIGHT.T)
    assert torch.equal(found["d"], WEIGHT[:, 1])


@pytest.mark.parametrize("how", ["torch", "plain"])
def test_code_is_named_and_never_run(tmp_path: Path, how: str) -> None:
    path, made = tmp_path / "evil.pth", tmp_path / "made"
    content = {"state_dict": {"a": WEIGHT}, "x": Evil(made)}
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content["x"], protocol=2))
    with pytest.raises(CheckpointError, match=r"evil.pth: wants to run \w+\.mkdir when.*nothing of it was run"):
        convert_pickle(path, tmp_path / "out.safetensors")
    assert not made.exists() and not (tmp_path / "out.safetensors").exists()
    pickle.loads(pickle.dumps(Evil(made)))
    assert made.exists(), "the trap is a real one"


@pytest.mark.parametrize(("content", "message"), [
    ({"epoch": 3}, "no tensors by name in it: expected a state dict, or one under `state_dict`, `model`"),
    ([WEIGHT], "no tensors by name"),
])  # fmt: skip
def test_pickles_without_weights(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "in.pth")
    with pytest.raises(CheckpointError, match=message):
        convert_pickle(tmp_path / "in.pth", tmp_path / "out.safetensors")


def test_misuse(tmp_path: Path) -> None:
    file = tmp_path / "in.pth"
    with pytest.raises(MisuseError, match="no such file"):
        convert_pickle(file, tmp_path / "out.safetensors")
    file.write_bytes(b"not a pickle")
    with pytest.raises(MisuseError, match=r"must end in .safetensors, got"):
        convert_pickle(file, tmp_path / "out.pth")
    with pytest.raises(CheckpointError, match="cannot be read as pickled weights"):
        convert_pickle(file, tmp_path / "out.safetensors")
    file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be read as pickled weights"):
        convert_pickle(file, tmp_path / "out.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(MisuseError, match="is safetensors already"):
        convert_pickle(tmp_path / "a.safetensors", tmp_path / "out.safetensors")


def test_the_refusal_of_pickles_names_the_command_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.pth"
    torch.save({"a": WEIGHT}, path)
    with pytest.raises(MisuseError) as error:
        load(path)
    command = str(error.value).split("`")[1].split()
    assert command == ["mobilenets", "convert", str(path), str(path.with_suffix(".safetensors"))]
    with pytest.raises(SystemExit) as end:
        main([*command[1:], "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["tensors"] == 1
    assert torch.equal(load_file(path.with_suffix(".safetensors"))["a"], WEIGHT)
