"""What the rungs try: on which network, by which scheme, and what becomes of a rung that cannot be tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from making import stripes, trained
from mobilenets.compression.ladder import Try
from mobilenets.compression.techniques import Ground, Made, table_of, techniques
from mobilenets.data.cache import Squares
from mobilenets.errors import DataError
from mobilenets.model import MobileNet
from mobilenets.precision import Scheme
from mobilenets.table import minimalistic
from mobilenets.watching import Watcher


def squares(n: int, seed: int) -> Squares:
    images, labels = stripes(n, seed=seed, size=36)
    return Squares(images, np.asarray(labels, np.int64), tuple(Path(f"{i}.jpg") for i in range(n)))


@pytest.fixture(scope="module")
def model() -> MobileNet:
    torch.set_num_threads(1)
    return trained()


@pytest.fixture
def ground(model: MobileNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    images = stripes(8, seed=2)[0]
    return Ground(model, images, lambda: (squares(48, 1), squares(12, 4)), tmp_path, 0.0, 0, True, Watcher())


def tries(ground: Ground, made: Made, first: str) -> list[Try[Made]]:
    """All that the technique yields whose first try has this name."""
    for technique in techniques(ground):
        steps = technique(made)
        attempt = next(steps, None)
        if attempt is not None and attempt.name == first:
            return [attempt, *steps]
    raise AssertionError(first)


def biases(made: Made | None) -> np.ndarray:
    assert made is not None
    found = [value for key, value in made.model.state_dict().items() if key.endswith(".bias")]
    return torch.cat([value.ravel() for value in found]).numpy()


def test_every_layer_that_leaves_int8_has_the_biases_corrected_anew(model: MobileNet, ground: Ground) -> None:
    (corrected,) = tries(ground, Made(model, Scheme(per_channel=False)), "bias correction")
    assert corrected.made is not None and corrected.made.uncorrected is model
    for attempt in tries(ground, corrected.made, "worst 1 in 16 bits")[:4]:
        made = attempt.made
        assert made is not None and made.uncorrected is model
        kept = made.scheme.keep_float | made.scheme.wide
        assert attempt.note == ", ".join(sorted(kept, key=attempt.note.index)) and kept
    float_kept = tries(ground, corrected.made, "worst 1 in 16 bits")[-1].made
    assert np.abs(biases(float_kept) - biases(corrected.made)).max() > 0
    plain = tries(ground, Made(model, Scheme(per_channel=False)), "worst 1 in 16 bits")[0].made
    assert plain is not None and plain.model is model, "what was not corrected stays as it is"


def test_formats_without_16_bits_are_not_asked_for_them(model: MobileNet, ground: Ground) -> None:
    names = [t.name for t in tries(replace(ground, wide=False), Made(model, Scheme()), "worst 1 in float")]
    assert names == ["worst 1 in float", "worst 2 in float", "worst 4 in float", "worst 8 in float"]


@pytest.mark.parametrize("name", ["quantization-aware fine-tuning", "minimalistic network"])
def test_what_cannot_be_trained_costs_its_rung_only(model: MobileNet, ground: Ground, name: str) -> None:
    islands = Made(model, Scheme(keep_float=frozenset({"row01.conv.conv"})))
    (attempt,) = tries(ground, islands, name)
    assert attempt.made is None and attempt.note == "no minutes were given for training"

    def no_images() -> tuple[Squares, Squares]:
        raise DataError("one image a class: nothing to train on.")

    (attempt,) = tries(replace(ground, minutes=0.1, squares=no_images), islands, name)
    assert attempt.made is None and attempt.note == "one image a class: nothing to train on."
    assert not list(ground.run.glob("*.safetensors"))


def test_networks_that_are_trained_are_whole_and_kept(model: MobileNet, ground: Ground) -> None:
    islands = Made(model, Scheme(keep_float=frozenset({"row01.conv.conv"})))
    name = "minimalistic network"
    for _ in range(2):
        first, second = tries(replace(ground, minutes=0.05), islands, name)
        assert second.name == f"{name}, bias correction"
        assert first.made is not None and first.made.scheme == Scheme()
        assert first.made.model.network.rows == minimalistic(model.network).rows
        # the second time there is nothing to train on any more
        ground = replace(ground, squares=_refused)
    assert (ground.run / "minimalistic.safetensors").is_file()


def _refused() -> tuple[Squares, Squares]:
    raise AssertionError("trained again")


@pytest.mark.slow
def test_the_quantization_aware_rung(model: MobileNet, ground: Ground) -> None:
    pytest.importorskip("torchao", reason="the extra `quant` is not installed")
    first, _ = tries(replace(ground, minutes=0.1), Made(model, Scheme()), "quantization-aware fine-tuning")
    assert first.made is not None and first.made.model.network == model.network
    assert (ground.run / "float.safetensors").is_file(), "the teacher's answers are kept under its bytes"


def test_a_minimalistic_network_begins_with_the_weights_that_fit(model: MobileNet) -> None:
    small, given = table_of(model).state_dict(), model.state_dict()
    assert torch.equal(small["row03.expand.conv.weight"], given["row03.expand.conv.weight"])
    assert torch.equal(small["row04.depthwise.conv.weight"], given["row04.depthwise.conv.weight"][..., 1:4, 1:4])
    assert not any("squeeze" in key for key in small)
