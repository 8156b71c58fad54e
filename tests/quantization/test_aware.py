"""Quantization-aware fine-tuning: the same parameters behind the rounding, and float weights that come out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mobilenets as mn
from making import stripes
from mobilenets.data.cache import Squares
from mobilenets.model import MobileNet, addressed, arrays, normalise
from mobilenets.onnx import to_onnx
from mobilenets.onnx.quantized import quantize_onnx
from mobilenets.precision import Scheme
from mobilenets.quantization.aware import rounding, train_aware
from mobilenets.runtime.onnxruntime import OnnxRuntimeSession
from mobilenets.watching import Watcher

pytest.importorskip("torchao", reason="the extra `quant` is not installed")


def squares(n: int, seed: int) -> Squares:
    images, labels = stripes(n, seed=seed, size=36)
    return Squares(images, np.asarray(labels, np.int64), tuple(Path(f"{i}.jpg") for i in range(n)))


def test_rounding_moves_the_models_own_parameters(model: MobileNet) -> None:
    own = addressed(model)
    graph = rounding(own, Scheme())
    images = normalise(torch.from_numpy(stripes(8)[0]), model.info.preprocessing)
    before = {key: value.clone() for key, value in own.state_dict().items()}
    with torch.no_grad():
        rounded, exact = graph(images), own(images)
    assert 0 < (rounded - exact).abs().max() < 0.3 * exact.abs().max()
    graph(images).sum().backward()
    assert all(parameter.grad is not None for parameter in own.parameters())
    assert all(torch.equal(before[key], value) for key, value in own.state_dict().items()), "statistics stay"


def test_fine_tuning_gives_float_weights_back(
    model: MobileNet, unseen: tuple[np.ndarray, np.ndarray], calibration: np.ndarray, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path))
    teacher = mn.save(model, tmp_path / "float.safetensors")
    told: list[str] = []

    class Told(Watcher):
        def phase(self, name: str, total: int | None = None) -> None:
            told.append(name)

    before = {key: value.clone() for key, value in model.state_dict().items()}
    tuned = train_aware(model, squares(96, 1), squares(24, 4), epochs=1, teacher=teacher, watcher=Told())
    assert told == ["asking the float model", "quantization-aware fine-tuning"]
    after = tuned.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before if key.endswith("conv.weight"))
    assert all(torch.equal(before[key], after[key]) for key in before if "running_" in key)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items()), "the float model stays"
    proto = to_onnx(tuned.network, arrays(tuned), tuned.info.preprocessing, tuned.info.classes)
    int8 = quantize_onnx(proto.SerializeToString(), calibration)
    images, labels = unseen
    assert (OnnxRuntimeSession.open(int8).run(images).argmax(1) == labels).mean() > 0.9
