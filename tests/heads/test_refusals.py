"""What is not there yet for detectors and segmenters says so, and leaves nothing behind."""

from pathlib import Path

import pytest

import mobilenets as mn
from mobilenets.errors import MisuseError


@pytest.mark.parametrize(
    ("name", "gives"), [("ssdlite_mobilenet_v2", "boxes"), ("lraspp_mobilenet_v3_small", "a mask")]
)
def test_training_and_prediction(name: str, gives: str, small_scenes: Path, tmp_path: Path) -> None:
    network = mn.scale(mn.network(name), 0.35, 96)
    with pytest.raises(MisuseError, match=f"{name} gives {gives}: training is there for classifiers only"):
        mn.train(network, small_scenes, out=tmp_path / "run")
    model = mn.build(network)
    mn.save(model, tmp_path / "model.safetensors")
    with pytest.raises(MisuseError, match="prediction is there for classifiers only"):
        mn.predict(tmp_path / "model.safetensors", small_scenes)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
