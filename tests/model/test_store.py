"""Checkpoints: there and back exactly, and what is said of files that are something else."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from making import HEAVY, small, tiny
from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.model import MobileNet, arrays, build, load, load_tensors, save, with_info
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import dilate, with_classes
from mobilenets.zoo import INDEX


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tiny(), tmp_path_factory.mktemp("store") / "model.safetensors")


@pytest.mark.parametrize("name", [n for n in INDEX if n not in HEAVY])
def test_there_and_back_is_exact(name: str, tmp_path: Path) -> None:
    model = build(small(name, 0.25), ["eins", "zwei", "drei", "größer"])
    save(model, tmp_path / "m.safetensors")
    back = load(tmp_path / "m.safetensors")
    assert back.network == model.network
    assert back.info == model.info
    assert not back.training
    theirs = back.state_dict()
    assert list(theirs) == list(model.state_dict())
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())


def test_info_and_transforms_travel(tmp_path: Path) -> None:
    network = dilate(replace(small("mobilenet_v2"), padding="same", bn_eps=1e-5), 16)
    chosen = Preprocessing(64, crop=0.875, mean=(0.5, 0.5, 0.5), std=(0.1, 0.2, 0.3))
    model = build(network, ["a", "b"], preprocessing=chosen)
    with_info(model, metrics={"top1": 0.5, "per_class": [0.1, 0.9]}, recipe={"minutes": 3, "name": "quick"})
    back = load(save(model, tmp_path / "deep" / "er" / "m.safetensors"))
    assert back.network == with_classes(network, 2)
    assert back.info == model.info


def test_the_file_says_what_it_is(checkpoint: Path) -> None:
    with safe_open(checkpoint, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["table"])["name"] == "mobilenet_v3_small"
    assert json.loads(metadata["classes"]) == ["cat", "dog", "owl"]
    assert json.loads(metadata["versions"])["torch"] == torch.__version__


def test_saving_is_whole_or_not_at_all(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(checkpoint.read_bytes())

    whole = Path.write_bytes

    def broken(name: Path, data: bytes) -> int:
        whole(name, data[: len(data) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(OSError, match="disk full"):
        save(tiny(), path)
    monkeypatch.undo()
    assert path.read_bytes() == checkpoint.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"\.safetensors.*export"):
        save(tiny(), tmp_path / "m.onnx")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pkl", ".ckpt"])
def test_a_pickle_is_refused_unopened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(MisuseError, match="pickle"):
        load(path)
    assert not _Trap.sprung


class _Trap:
    sprung = False

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return setattr, (_Trap, "sprung", True)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"no such checkpoint: .*none\.safetensors"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1000])
def test_a_truncated_file(checkpoint: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"m\.safetensors: cannot be read as safetensors") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"x": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"not a mobilenets checkpoint.*None"):
        load(path)
    save_file({"x": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"not a mobilenets checkpoint.*'pt'"):
        load(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("table", None),
        ("table", "{"),
        ("table", '{"format": "mobilenets-table/1", "rows": []}'),
        ("classes", "{"),
        ("classes", "3"),
        ("classes", '["one"]'),
        ("preprocessing", '{"size": 3}'),
        ("preprocessing", "[]"),
        ("preprocessing", '{"resolution": 32}'),
        ("metrics", None),
        ("recipe", "nonsense"),
    ],
)
def test_damaged_metadata_is_a_checkpoint_error(
    checkpoint: Path, tmp_path: Path, field: str, value: str | None
) -> None:
    with safe_open(checkpoint, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    metadata.pop(field)
    if value is not None:
        metadata[field] = value
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=rf"m\.safetensors.*{field}"):
        load(path)


def test_tensors_that_do_not_fit_are_listed_on_both_sides() -> None:
    model = tiny()
    tensors = dict(model.state_dict())
    tensors["row01.conv.conv.weights"] = tensors.pop("row01.conv.conv.weight")
    name = model.nodes[-1].name
    tensors[f"{name}.bias"] = torch.zeros(5)
    with pytest.raises(CheckpointError) as caught:
        load_tensors(model, tensors, where="here")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("here: its tensors do not fit mobilenet_v3_small 0.35 @64")
    assert lines[1:] == [
        "  - row01.conv.conv.weight 8x3x3x3",
        f"  - {name}.bias 3",
        "  + row01.conv.conv.weights 8x3x3x3",
        f"  + {name}.bias 5",
    ]


def test_a_long_list_is_cut() -> None:
    model = tiny()
    with pytest.raises(CheckpointError, match=r"\.\.\. and \d+ more"):
        load_tensors(model, {}, where="here")


def test_a_refused_load_leaves_the_model_alone() -> None:
    model = tiny()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tensors = {key: value + 1 for key, value in model.state_dict().items()}
    tensors.pop("row01.conv.conv.weight")
    with pytest.raises(CheckpointError):
        load_tensors(model, tensors, where="here")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_half_precision_tensors_are_widened() -> None:
    model = tiny()
    halves = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    load_tensors(model, halves, where="here")
    assert all(p.dtype is torch.float32 for p in model.parameters())


def test_arrays_are_the_weights() -> None:
    model = MobileNet(small("mobilenet_v1", 0.25))
    found = arrays(model)
    assert list(found) == list(model.state_dict())
    assert all((found[k] == v.numpy()).all() for k, v in model.state_dict().items())
