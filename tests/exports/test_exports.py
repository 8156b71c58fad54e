"""Export and its proof: real photos, real runtime; a wrong file never gets the name."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from making import lively, picture, pixels, tiny
from mobilenets.errors import MisuseError, UnknownNameError, VerificationError
from mobilenets.exports import TOLERANCE, export, first_departure, sample_images, verify
from mobilenets.model import MobileNet, build, save, with_info
from mobilenets.onnx import to_onnx
from mobilenets.runtime import open_artifact
from mobilenets.table import json as table_json
from mobilenets.table import scale
from mobilenets.zoo import INDEX


@pytest.fixture(scope="session")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tar = shared / "data" / "photos_80.tar"
    if not tar.is_file():
        pytest.skip(f"{tar} is not there")
    folder = tmp_path_factory.mktemp("photos")
    with tarfile.open(tar) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize(
    ("name", "width"), [("mobilenet_v1", 0.25), ("mobilenet_v2", 0.35), ("mobilenet_v3_small", 0.5)]
)
def test_export_of_real_photos_is_proven(name: str, width: float, photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = lively(build(scale(INDEX[name], width, 128), [f"class {i}" for i in range(10)]))
    result = export(model, tmp_path / "model.onnx", images=[photos])
    assert result.images == 80
    assert result.passed
    assert result.max_difference < 1e-4
    assert result.top1_agreement == 1.0
    assert "80 images" in str(result)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_the_file_carries_everything(tmp_path: Path) -> None:
    model = with_info(tiny(), metrics={"top1": 0.75})
    export(model, tmp_path / "deep" / "model.onnx")
    session = open_artifact(tmp_path / "deep" / "model.onnx")
    assert session.classes == ("cat", "dog", "owl")
    assert session.preprocessing == model.info.preprocessing
    assert json.loads(session.metadata["metrics"]) == {"top1": 0.75}
    assert json.loads(session.metadata["versions"])["torch"] == torch.__version__
    assert table_json.from_dict(json.loads(session.metadata["table"])) == model.network


def test_a_checkpoint_exports_as_its_model(tmp_path: Path) -> None:
    model = tiny()
    save(model, tmp_path / "m.safetensors")
    images = pixels(4, 64)
    export(tmp_path / "m.safetensors", tmp_path / "a.onnx", images=images)
    export(model, tmp_path / "b.onnx", images=images)
    one, two = (open_artifact(tmp_path / name).run(images) for name in ("a.onnx", "b.onnx"))
    np.testing.assert_array_equal(one, two)


def corrupt(monkeypatch: pytest.MonkeyPatch, key: str, value: float) -> None:
    """Give the writer one wrong weight; everything else is real."""

    def writes_one_weight_wrong(network: Any, weights: Mapping[str, Any], *rest: Any, **options: Any) -> Any:
        changed = {name: array.copy() for name, array in weights.items()}
        changed[key].flat[0] += value
        return to_onnx(network, changed, *rest, **options)

    monkeypatch.setattr("mobilenets.exports.onnx_.to_onnx", writes_one_weight_wrong)


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("row06.depthwise.conv.weight", "row06.depthwise.bn"),
        ("row06.squeeze.conv.weight", "row06.squeeze.conv"),
        ("row09.project.conv.weight", "row09.project.bn"),
        ("row09.expand.bn.running_mean", "row09.expand.bn"),
        ("row16.linear.weight", "row16.linear"),
    ],
)
@pytest.mark.parametrize("value", [2.0, float("nan")])
def test_one_wrong_weight_is_found_and_named(
    key: str, named: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny()
    path = tmp_path / "model.onnx"
    export(model, path, images=pixels(4, 64))
    good = path.read_bytes()
    corrupt(monkeypatch, key, value)
    with pytest.raises(VerificationError) as caught:
        export(model, path, images=pixels(4, 64), tolerance=1e-7)
    message = str(caught.value)
    assert f"the first node to depart is {named}. " in message
    assert str(path) in message
    assert str(tmp_path / "model.failed.onnx") in message
    assert caught.value.exit_code == 1
    assert path.read_bytes() == good
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.failed.onnx", "model.onnx"]
    assert (tmp_path / "model.failed.onnx").read_bytes() != good
    assert open_artifact(tmp_path / "model.failed.onnx").classes == model.info.classes


def test_a_first_export_that_fails_leaves_no_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corrupt(monkeypatch, "row06.depthwise.conv.weight", 2.0)
    with pytest.raises(VerificationError):
        export(tiny(), tmp_path / "model.onnx", images=pixels(4, 64), tolerance=1e-7)
    assert [p.name for p in tmp_path.iterdir()] == ["model.failed.onnx"]
    monkeypatch.undo()
    export(tiny(), tmp_path / "model.onnx", images=pixels(4, 64))
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"], "a good export clears the failed one"


def test_nothing_departs_in_a_good_file(tmp_path: Path) -> None:
    for network in (scale(INDEX["googlenet"], 0.25, 64), scale(INDEX["xception"], 0.25, 96)):
        torch.manual_seed(0)
        model = lively(build(network, 5))
        export(model, tmp_path / "m.onnx", images=pixels(2, network.resolution))
        assert first_departure(model, tmp_path / "m.onnx", pixels(1, network.resolution)) is None


def test_verify_compares_with_the_model_given(tmp_path: Path) -> None:
    model = tiny()
    export(model, tmp_path / "m.onnx")
    other = tiny()
    with torch.no_grad():
        other.get_submodule("row16.linear").bias[0] += 3.0
    result = verify(other, tmp_path / "m.onnx", pixels(4, 64))
    assert not result.passed
    assert result.first_departure == "row16.linear"
    assert result.to_dict()["passed"] is False
    assert result.tolerance == TOLERANCE


@pytest.mark.parametrize("name", ["model.zip", "model", "model.safetensors", "model.ONNX"])
def test_another_suffix_is_misuse(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"export format.*\.onnx") as caught:
        export(tiny(), tmp_path / name)
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_sampled_images(tmp_path: Path) -> None:
    model = tiny()
    drawn = sample_images(model)
    assert drawn.shape == (8, 64, 64, 3)
    assert drawn.dtype == np.uint8
    assert len({image.tobytes() for image in drawn}) == 8
    for i in range(5):
        picture(tmp_path / f"{i}.png", seed=i)
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    assert sample_images(model, [tmp_path]).shape == (5, 64, 64, 3)
    assert 1 < len(sample_images(model, [tmp_path], limit=3)) <= 3
    with pytest.raises(MisuseError, match="no readable image"):
        sample_images(model, [tmp_path / "bad.jpg"])
    with pytest.raises(MisuseError, match="nowhere"):
        sample_images(model, [tmp_path / "nowhere"])


def test_a_model_in_training_is_exported_for_inference_and_goes_on_training(tmp_path: Path) -> None:
    model: MobileNet = tiny().train()
    export(model, tmp_path / "m.onnx", images=pixels(2, 64))
    assert model.training
    assert model.get_submodule("row01.conv.bn").training


def test_images_of_another_size_are_misuse(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"64.*32"):
        export(tiny(), tmp_path / "m.onnx", images=pixels(2, 32))
    with pytest.raises(MisuseError, match="no image"):
        export(tiny(), tmp_path / "m.onnx", images=pixels(0, 64))
    assert not list(tmp_path.iterdir())
