"""Weights shared by a space: what a network takes, what training moves, what a stop leaves."""

from __future__ import annotations

import random
import statistics
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from mobilenets.costs import cost
from mobilenets.data.cache import Squares
from mobilenets.errors import CheckpointError
from mobilenets.model import AnchorOutputs, build
from mobilenets.search.points import Point
from mobilenets.search.space import Space
from mobilenets.supernet import Sandwich, SharedWeights, begin_with, calibrated, counterparts, scored
from mobilenets.table import scale
from mobilenets.training import Recipe
from mobilenets.zoo import INDEX

CLASSES = ("bee", "cat", "dog")


def small(task: str, resolution: int = 64, load: float = 4e6) -> Space:
    """A space that tests can afford."""
    space = Space.of(task, len(CLASSES), base=0.25, resolutions=(resolution,))
    return space.narrowed(lambda point: cost(space.network(point)).macs / load, 1.0)


def coloured(count: int, seed: int = 0) -> Squares:
    """Images whose class is a colour, 64 px."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 90, (count, 64, 64, 3)).astype(np.uint8)
    images[np.arange(count), :, :, labels] += 130
    return Squares(images, labels.astype(np.int64), ())


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_a_network_computes_with_shared_weights_what_its_copy_computes(task: str):
    space = small(task, 128 if task == "detect" else 64, 20e6)
    shared, rng = SharedWeights(space, CLASSES, task), random.Random(1)
    images = torch.rand(4, 3, *[int(space.choices["resolution"][0])] * 2)
    for point in (space.largest(), space.smallest(), *(space.draw(rng) for _ in range(6))):
        said, copied = shared.forward(point, images), shared.model(point).train()(images)
        for a, b in zip(_parts(said), _parts(copied), strict=True):
            torch.testing.assert_close(a, b)


def _parts(out: torch.Tensor | AnchorOutputs) -> tuple[torch.Tensor, ...]:
    return (out,) if isinstance(out, torch.Tensor) else tuple(out)


def test_a_narrower_network_has_the_first_channels_and_the_middle_of_the_kernels():
    space = small("classify", load=1e9)
    shared = SharedWeights(space, CLASSES, "classify")
    wide = space.largest()
    narrow = wide | {"stage2.width": 0.5, "stage2.kernel": 3, "stage2.expand": 2}
    large, little = shared.model(wide).state_dict(), shared.model(narrow).state_dict()
    key = "row04.expand.conv.weight"  # stage 2 after the stem and two blocks of stage 1
    out, enter = little[key].shape[:2]
    torch.testing.assert_close(little[key], large[key][:out, :enter])
    key = "row04.depthwise.conv.weight"  # the matrices begin as identity: the middle as it is
    torch.testing.assert_close(little[key], large[key][:out, :, 2:-2, 2:-2])


def test_a_learned_matrix_makes_the_smaller_kernel():
    space = small("classify", load=1e9)
    shared = SharedWeights(space, CLASSES, "classify")
    point = space.largest() | {"stage2.kernel": 5}
    place = "bottleneck.stage2.block1.depthwise.conv.weight"
    with torch.no_grad():
        shared.tensors[f"{place}.to5"].mul_(2)
    taken = shared.model(point).state_dict()["row04.depthwise.conv.weight"]
    torch.testing.assert_close(taken, 2 * shared.tensors[place].detach()[..., 1:-1, 1:-1])


def test_all_networks_of_a_narrowed_space_find_their_weights():
    # where a stage may be left out the next one reads the wider channels before it
    space, rng = small("classify", load=3e6), random.Random(5)
    shared = SharedWeights(space, CLASSES, "classify")
    for _ in range(40):
        shared.model(space.draw(rng))


def test_every_network_of_the_sandwich_learns():
    space, train, val = small("classify", 32, 2e6), coloured(160), coloured(90, seed=1)
    shared = SharedWeights(space, CLASSES, "classify", seed=1)
    points = (space.largest(), space.smallest())
    before = [scored(shared, point, train, val) for point in points]
    training = Sandwich(shared, Recipe(minutes=1.0, lr=0.3, batch_size=32, warmup=0.0), train)
    for _ in range(55):
        training.step()
        training.seconds += 1.0
    after = [scored(shared, point, train, val) for point in points]
    assert all(score > 0.8 for score in after), (before, after)
    assert training.steps == 55 and training.loss < 1.0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_stopped_training_goes_on_where_it_was(optimizer: Literal["sgd", "adamw"], tmp_path: Path):
    space, train = small("classify", 32, 2e6), coloured(64)
    recipe = Recipe(minutes=60.0, optimizer=optimizer, lr=0.05, batch_size=16)

    def begun() -> Sandwich:
        return Sandwich(SharedWeights(space, CLASSES, "classify"), recipe, train)

    def on(training: Sandwich, steps: int) -> None:
        for _ in range(steps):
            training.step()
            training.seconds += 600  # in the second step the largest network is not alone any more

    whole, first, second = begun(), begun(), begun()
    on(whole, 4)
    on(first, 2)
    first.save(tmp_path / "shared.safetensors")
    second.restore(tmp_path / "shared.safetensors")
    assert (second.steps, second.seconds, second.fraction) == (2, 1200, pytest.approx(1200 / 3600))
    assert 0 < second.others_s == first.others_s
    on(second, 2)
    for name, tensor in whole.shared.tensors.items():
        assert torch.equal(tensor, second.shared.tensors[name]), name


def test_a_step_is_the_largest_the_smallest_and_two_that_are_wanted(monkeypatch: pytest.MonkeyPatch):
    """What every one of them adds to the gradient: the largest its labels' loss, the others half of theirs, half of
    what they say otherwise than the largest."""
    space, train = small("classify", 32, 2e6), coloured(64)
    shared = SharedWeights(space, CLASSES, "classify")
    light = statistics.median(light_of(space, space.draw(random.Random(i))) for i in range(20))
    training = Sandwich(
        shared, Recipe(minutes=1.0, batch_size=16), train, wanted=lambda p: light_of(space, p) <= light
    )  # fmt: skip
    training.seconds = 30.0
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)
    monkeypatch.setattr(training.optimizer, "step", lambda: None)
    objective = training._objective(32)
    asked: list[tuple] = []
    batches: list[tuple] = []
    forward, batch = shared.forward, objective.batch
    monkeypatch.setattr(shared, "forward", lambda p, x: asked.append((p, x)) or forward(p, x))
    monkeypatch.setattr(objective, "batch", lambda *a, **k: batches.append(batch(*a, **k)) or batches[-1])
    training.step()
    points, images = [point for point, _ in asked], asked[0][1]
    fixed = {"resolution": 32, "blocks": points[0]["blocks"]}
    assert points[:2] == [space.largest() | fixed, space.smallest() | fixed] and len(points) == 4
    assert all(p["blocks"] == fixed["blocks"] and light_of(space, p) <= light for p in points[2:])
    found = {name: tensor.grad.clone() for name, tensor in shared.tensors.items() if tensor.grad is not None}
    for tensor in shared.tensors.values():
        tensor.grad = None
    ((plain, targets),) = batches
    said = [forward(point, images) for point in points]
    largest = said[0].detach().softmax(1)
    others = [
        0.5 * objective.loss(each, plain, targets) - 0.5 * (largest * each.log_softmax(1)).sum(1).mean()
        for each in said[1:]
    ]
    (objective.loss(said[0], plain, targets) + sum(others)).backward()
    assert found.keys() == {name for name, tensor in shared.tensors.items() if tensor.grad is not None}
    for name, grad in found.items():
        torch.testing.assert_close(grad, shared.tensors[name].grad, atol=1e-4, rtol=1e-3)


def light_of(space: Space, point: Point) -> int:
    return cost(space.network(point)).macs


def test_ctrl_c_leaves_a_state(tmp_path: Path):
    import os
    import signal

    path = tmp_path / "shared.safetensors"
    training = Sandwich(
        SharedWeights(small("classify", 32, 2e6), CLASSES, "classify"),
        Recipe(minutes=60.0, batch_size=16, precision="fp32"), coloured(64),
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        training.run(path, on_tick=lambda tick: os.kill(os.getpid(), signal.SIGINT))
    assert path.is_file() and training.steps == 1


def test_weights_of_another_space_are_refused(tmp_path: Path):
    train, recipe = coloured(64), Recipe(minutes=1.0, batch_size=16)
    one = Sandwich(SharedWeights(small("classify", 32, 2e6), CLASSES, "classify"), recipe, train)
    one.save(tmp_path / "a.safetensors")
    other = Sandwich(SharedWeights(small("classify", 32, 1e9), CLASSES, "classify"), recipe, train)
    with pytest.raises(CheckpointError, match="cannot be gone on with"):
        other.restore(tmp_path / "a.safetensors")


def test_scoring_estimates_batch_norm_anew():
    space, train = small("classify", 32, 2e6), coloured(64)
    shared = SharedWeights(space, CLASSES, "classify")
    norm = calibrated(shared, space.smallest(), train).get_submodule("row01.conv.bn")
    assert float(norm.running_var.sub(1).abs().max()) > 0.01


def test_weights_of_a_trained_network_are_taken_strongest_channels_first():
    space = small("classify", load=30e6)
    point = space.largest()
    source = SharedWeights(space, CLASSES, "classify", seed=3).model(point)
    with torch.no_grad():
        for name, value in source.named_parameters():
            if name.endswith("bn.weight"):
                value.copy_(torch.rand(len(value)) + 0.5)
    shared = SharedWeights(space, CLASSES, "classify", seed=4)
    assert begin_with(shared, source) == sum(".head." not in place for place in places(space))
    taken = shared.model(point)
    images = torch.rand(6, 3, 64, 64)
    last = f"row{len(places(space)) - 3:02d}.conv.act"  # before pooling, features and classifier
    one, other = (model.train().taps(images, [last])[last].mean((2, 3)) for model in (source, taken))
    # the same features in another order
    torch.testing.assert_close(one.sort(1).values, other.sort(1).values, atol=1e-4, rtol=1e-4)
    slope = taken.state_dict()[last.replace(".act", ".bn.weight")]
    assert torch.equal(slope, slope.sort(descending=True).values)


def test_a_detector_that_begins_with_a_classifier_still_sees_whole_images():
    shared = SharedWeights(small("detect", 128, 20e6), CLASSES, "detect")
    source = build(scale(INDEX["mobilenet_v2"], 0.35, 96), ("a", "b"))
    assert source.info.preprocessing.shaping == "crop"
    assert begin_with(shared, source)
    assert shared.model(shared.space.smallest()).info.preprocessing.shaping == "stretch"


def places(space: Space) -> tuple[str, ...]:
    return space.built(space.largest())[1]


def test_stages_of_the_papers_networks_find_their_places():
    from mobilenets.zoo import network

    found = counterparts(network("mobilenet_v2"))
    assert found[0] == "stem" and found[1] == "bottleneck.stage1.block1"
    assert [found[i] for i in (2, 3, 4)] == [
        "bottleneck.stage2.block1", "bottleneck.stage2.block2", "bottleneck.stage3.block1",
    ]  # fmt: skip
    assert sum(".stage5." in place for place in found.values()) == 3  # 96 channels, stride 16, three times
    assert found[18] == "bottleneck.last"  # the second stage of stride 32 has no place
    assert counterparts(network("mobilenet_v1"))[1] == "separable.stage1.block1"
