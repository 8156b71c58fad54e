"""The one way in: our checkpoints and other projects' files, at other widths, resolutions, classes and channels."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from making import tiny
from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.model import save, with_info
from mobilenets.table import scale
from mobilenets.table.rows import with_classes
from mobilenets.weights import load_weights, pretrained
from mobilenets.zoo import INDEX

V2 = INDEX["mobilenet_v2"]


@pytest.fixture
def v2(shared: Path) -> Path:
    path = shared / "weights" / "timm_mobilenetv2_100_224_imagenet.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def test_none_is_none() -> None:
    assert pretrained(V2, "none") is None


def test_our_checkpoint_at_another_resolution(tmp_path: Path) -> None:
    source = tiny()
    path = save(source, tmp_path / "a.safetensors")
    model = pretrained(replace(source.network, resolution=96), path, classes=source.info.classes)
    assert model is not None
    assert model.info.preprocessing == replace(source.info.preprocessing, resolution=96)
    assert model.info.recipe == {
        "weights": str(path), "origin": "mobilenets", "folded": False, "fresh": [], "inherited_from": None,
        "estimate": False,
    }  # fmt: skip
    theirs = source.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())


def test_other_classes_of_the_same_number_start_anew(tmp_path: Path) -> None:
    source = tiny()
    path = save(source, tmp_path / "a.safetensors")
    model = pretrained(source.network, path, classes=["oak", "ash", "elm"])
    assert model is not None and model.info.classes == ("oak", "ash", "elm")
    assert model.info.recipe["fresh"] == [source.nodes[-1].name]


def test_another_network_names_both(tmp_path: Path) -> None:
    path = save(tiny(), tmp_path / "a.safetensors")
    with pytest.raises(
        CheckpointError, match=r"weights of mobilenet_v3_small 0.35 @64, which cannot start mobilenet_v2 1"
    ):
        pretrained(V2, path)


def test_what_was_never_estimated_still_wants_it(tmp_path: Path) -> None:
    for wanted in ("estimate", "folded"):
        source = with_info(tiny(), recipe={wanted: True})
        model = pretrained(source.network, save(source, tmp_path / "a.safetensors"))
        assert model is not None and model.info.recipe[wanted]


def test_another_projects_file(v2: Path) -> None:
    model = pretrained(scale(V2, 1.0, 160), v2, classes=["cat", "dog"])
    assert model is not None
    assert (model.network.padding, model.network.resolution, model.info.classes) == ("same", 160, ("cat", "dog"))
    assert model.info.preprocessing.interpolation == "bicubic"
    assert model.info.recipe == {
        "weights": str(v2), "origin": "timm", "folded": False, "fresh": ["row21.linear"], "inherited_from": None,
        "estimate": False,
    }  # fmt: skip


def test_a_file_of_a_width_to_be_found_out(v2: Path) -> None:
    model = pretrained(scale(V2, 0.6, 96), v2, classes=1000)
    assert model is not None
    assert model.network.width == 0.6
    assert model.info.recipe["inherited_from"] == "mobilenet_v2 1 @96" and model.info.recipe["estimate"]
    assert model(torch.randn(1, 3, 96, 96)).isfinite().all()
    with pytest.raises(MisuseError, match="weights go to narrower networks only"):
        pretrained(scale(V2, 1.4), v2)
    with pytest.raises(CheckpointError, match="its arrays are not those of mobilenet_v1 1 @224"):
        pretrained(INDEX["mobilenet_v1"], v2)
    with pytest.raises(CheckpointError, match="no other project's names for mnasnet_a1 are known here"):
        pretrained(INDEX["mnasnet_a1"], v2)


def test_grey_and_narrow_at_once(v2: Path) -> None:
    model = pretrained(replace(scale(V2, 0.5, 64), in_channels=1), v2, classes=3)
    assert model is not None and model.info.preprocessing.mean == (0.5,)
    assert model(torch.randn(1, 1, 64, 64)).shape == (1, 3)


def test_imagenet_from_a_mirror(v2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published entry's conventions, not the origin's usual ones, unless the file itself names them."""
    repo = tmp_path / "timm" / "mobilenetv2_100.ra_in1k"
    repo.mkdir(parents=True)
    shutil.copy(v2, repo / "model.safetensors")
    monkeypatch.setenv("MOBILENETS_MIRROR", str(tmp_path))
    for source in ("imagenet", "auto"):
        model = pretrained(with_classes(scale(V2, 1.0, 96), 7), source)
        assert model is not None and model.network.classes == 7
        assert model.info.recipe["weights"] == str(repo / "model.safetensors")
    theirs = load_weights(V2, v2).state_dict()
    assert torch.equal(model.state_dict()["row10.expand.conv.weight"], theirs["row10.expand.conv.weight"])


def test_auto_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_MIRROR", str(tmp_path))
    told: list[str] = []
    assert pretrained(V2, "auto", note=told.append) is None
    assert len(told) == 1 and "the mirror" in told[0]
