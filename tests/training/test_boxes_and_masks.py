"""Objectives of detectors and segmenters: what anchors learn, the losses, scores, teachers, resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import mobilenets as mn
from mobilenets.data.annotations import IGNORED, Boxes
from mobilenets.data.splits import Sample
from mobilenets.data.stretched import Pictures
from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.heads import BACKGROUND, anchors, corners, decode, fit_anchors, iou
from mobilenets.model import AnchorOutputs, MobileNet, build
from mobilenets.table import scale
from mobilenets.table.nodes import predictors
from mobilenets.training import Training
from mobilenets.training.objectives.boxes import DetectBoxes, Targets, begin_rare
from mobilenets.training.objectives.masks import PaintMasks
from mobilenets.training.parallel import World
from mobilenets.training.recipe import Dense
from mobilenets.training.state import load_state, save_state
from mobilenets.zoo import network

SIDE = 64
RECIPE = Dense(epochs=2, batch_size=4, precision="fp32")


class _Painted:
    """A mask that is known."""

    labels = (0, 1)

    def __init__(self, mask: NDArray[np.uint8]) -> None:
        self.mask = mask

    def read(self) -> NDArray[np.uint8]:
        return self.mask


def boxed(n: int = 12) -> Pictures:
    """One bright square an image: red ones are class 0, green ones class 1."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (n, SIDE, SIDE, 3), dtype=np.uint8)
    samples = []
    for i in range(n):
        x, y, side = (int(v) for v in (*rng.integers(0, 24, 2), rng.integers(24, 36)))
        images[i, y : y + side, x : x + side, i % 2] = 240
        label = Boxes(((x, y, x + side, y + side),), (i % 2,), (), (SIDE, SIDE))
        samples.append(Sample(Path(f"{i}.png"), label))
    return Pictures(images, tuple(s.label.arrays() for s in samples if isinstance(s.label, Boxes)), tuple(samples))


def masked(n: int = 12) -> Pictures:
    """The left half dark, the right half bright; the top row is ignored."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (n, SIDE, SIDE, 3), dtype=np.uint8)
    masks = np.zeros((n, SIDE, SIDE), np.uint8)
    for i in range(n):
        at = int(rng.integers(16, 48))
        images[i, :, at:] += 180
        masks[i, :, at:] = 1
        masks[i, 0] = IGNORED
    return Pictures(images, masks, tuple(Sample(Path(f"{i}.png"), _Painted(masks[i])) for i in range(n)))


def model(name: str, width: float = 0.35) -> MobileNet:
    torch.manual_seed(0)
    return build(scale(network(name), width, SIDE), ["red", "green"])


def detector() -> MobileNet:
    made = model("ssdlite_mobilenet_v3_small")
    begin_rare(made, {node.name for node in made.nodes})
    return made


def objective(made: MobileNet, recipe: Dense = RECIPE, data: Pictures | None = None) -> DetectBoxes:
    return DetectBoxes(made, recipe, data or boxed(), ())


def silent_but(targets: Targets, classes: int) -> AnchorOutputs:
    """Outputs that say exactly what the targets ask."""
    logits = torch.full((*targets.labels.shape, classes), -12.0)
    found = targets.labels != BACKGROUND
    logits[found] = torch.where(torch.nn.functional.one_hot(targets.labels[found], classes) > 0, 12.0, -12.0)
    return AnchorOutputs(targets.codes.clone(), logits)


def test_anchors_learn_the_objects_that_they_overlap() -> None:
    aim = objective(detector())
    truth = boxed().truth[0]
    assert isinstance(truth, tuple)
    targets = aim.targets([truth])
    found = targets.labels[0] != BACKGROUND
    assert found.any() and bool(targets.counted.all())
    assert set(targets.labels[0][found].tolist()) == {int(truth[1][0])}
    back = decode(targets.codes[0], aim.anchors)[found]
    assert torch.allclose(back, torch.from_numpy(truth[0]).expand_as(back), atol=1e-5)
    overlaps = iou(corners(aim.anchors), torch.from_numpy(truth[0]))[:, 0]
    assert bool((overlaps[~found] < 0.5).all())


def test_an_image_without_objects_and_one_with_a_hard_one() -> None:
    aim = objective(detector())
    box, label, hard = np.array([[0.1, 0.1, 0.6, 0.6]], np.float32), np.array([1]), np.array([True])
    nothing = aim.targets([(box[:0], label[:0], hard[:0])])
    assert bool((nothing.labels == BACKGROUND).all()) and bool(nothing.counted.all())
    spared = aim.targets([(box, label, hard)])
    assert bool((spared.labels == BACKGROUND).all())  # it is not learned
    overlaps = iou(corners(aim.anchors), torch.from_numpy(box))[:, 0]
    assert torch.equal(~spared.counted[0], overlaps >= 0.5)  # and nobody learns that nothing is there


def test_imitation_does_not_leap_where_the_told_one_grows_sure() -> None:
    aim = objective(detector())
    out = AnchorOutputs(torch.ones(1, 500, 4), torch.full((1, 500, 2), -4.0))

    def told(score: float) -> AnchorOutputs:
        logits = torch.full((1, 500, 2), -12.0)
        logits[0, :400, 0] = torch.logit(torch.tensor(score))
        return AnchorOutputs(torch.zeros(1, 500, 4), logits)

    unsure, sure = (float(aim.imitation(out, told(score))) for score in (0.49, 0.51))
    assert unsure == pytest.approx(sure, rel=0.1)
    nothing = AnchorOutputs(torch.zeros(1, 500, 4), torch.full((1, 500, 2), -12.0))
    assert float(aim.imitation(out, nothing)) < 0.1


@pytest.mark.parametrize("negatives", ["focal", "mined"])
def test_the_loss_is_least_where_all_is_right_and_counts_every_mistake(negatives: str) -> None:
    recipe = replace(RECIPE, negatives=negatives)  # type: ignore[arg-type]
    aim = objective(detector(), recipe)
    targets = aim.targets([boxed().truth[i] for i in range(3)])  # type: ignore[misc]
    right = silent_but(targets, 2)
    images = torch.zeros(3, 3, SIDE, SIDE)
    assert float(aim.loss(right, images, targets)) < 1e-3
    found = targets.labels[0] != BACKGROUND
    missed = AnchorOutputs(right.boxes, right.classes.clone())
    missed.classes[0, found] = -12.0
    false = AnchorOutputs(right.boxes, right.classes.clone())
    false.classes[1, int((targets.labels[1] == BACKGROUND).nonzero()[0])] = 12.0
    moved = AnchorOutputs(right.boxes.clone(), right.classes)
    moved.boxes[2, targets.labels[2] != BACKGROUND] += 3.0
    for i, wrong in enumerate((missed, false, moved)):
        assert float(aim.loss(wrong, images, targets)) > 0.1
        losses = aim.losses(wrong, targets)
        assert int(losses.argmax()) == i  # and it is the right image that is blamed


def test_hardest_negatives_three_for_each_object() -> None:
    aim = objective(detector(), replace(RECIPE, negatives="mined"))
    labels = torch.full((1, len(aim.anchors)), BACKGROUND)
    labels[0, 0] = 1
    targets = Targets(labels, torch.zeros(1, len(aim.anchors), 4), torch.ones(1, len(aim.anchors), dtype=torch.bool))
    logits = torch.full((1, len(aim.anchors), 2), -30.0)
    logits[0, 0, 1] = 30.0
    logits[0, 1:11, 0] = 2.0  # ten false alarms, of which three count
    loss = aim.loss(AnchorOutputs(targets.codes, logits), torch.zeros(1, 3, SIDE, SIDE), targets)
    assert float(loss) == pytest.approx(3 * float(torch.nn.functional.softplus(torch.tensor(2.0))), rel=1e-4)


def test_focal_loss_by_hand() -> None:
    aim = objective(detector())
    labels = torch.full((1, len(aim.anchors)), BACKGROUND)
    labels[0, 0] = 1
    targets = Targets(labels, torch.zeros(1, len(aim.anchors), 4), torch.ones(1, len(aim.anchors), dtype=torch.bool))
    logits = torch.full((1, len(aim.anchors), 2), -30.0)
    logits[0, 0, 1] = 0.0  # p = 0.5: alpha (1 - p)^2 ln 2
    loss = aim.loss(AnchorOutputs(targets.codes, logits), torch.zeros(1, 3, SIDE, SIDE), targets)
    assert float(loss) == pytest.approx(0.25 * 0.25 * np.log(2), rel=1e-4)


def test_anchors_are_fitted_to_small_boxes_and_stay_where_they_fit() -> None:
    table = network("ssdlite_mobilenet_v2")
    rng = np.random.default_rng(0)
    centre, side = rng.uniform(0.2, 0.8, (200, 2)), rng.uniform(0.14, 0.18, (200, 1))
    small = np.concatenate([centre - side / 2, centre + side / 2], 1)
    fitted = fit_anchors(table, small, np.zeros(200, np.int64))
    best = [iou(small.astype(np.float32), corners(anchors(net))).max(1).mean() for net in (table, fitted)]
    assert best[1] > best[0] + 0.05
    assert fit_anchors(fitted, small, np.zeros(200, np.int64)) == fitted
    assert fit_anchors(table, small[:0], np.zeros(0, np.int64)) == table


def test_predictors_begin_quiet() -> None:
    made = detector()
    with torch.inference_mode():
        out = made.eval()(torch.randn(2, 3, SIDE, SIDE))
    assert float(made.probabilities(out.classes).mean()) == pytest.approx(0.01, abs=0.005)
    assert float(out.boxes.abs().mean()) < 1.0
    assert len(predictors(made.nodes, made.ends[0])) == 6


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_learns_and_a_resumed_run_ends_like_an_uninterrupted_one(task: str, tmp_path: Path) -> None:
    def begun(epochs: int) -> Training:
        made = detector() if task == "detect" else model("lraspp_mobilenet_v3_small")
        data = boxed() if task == "detect" else masked()
        return Training(made, replace(RECIPE, epochs=epochs), data, data)

    whole = begun(3)
    whole.run()
    assert whole.history[-1].train_loss < whole.history[0].train_loss
    assert ("ap50" if task == "detect" else "pixel_accuracy") in whole.beside
    stopped = begun(3)

    def stop() -> None:
        if stopped.step:
            save_state(stopped, tmp_path / "state.safetensors")

    stopped.run(on_epoch=lambda *_: stop(), on_checkpoint=stop)
    cut = begun(3)
    first = begun(3)
    first._until_validation(None, None, 60.0, __import__("threading").Event())
    save_state(first, tmp_path / "first.safetensors")
    load_state(cut, tmp_path / "first.safetensors")
    cut.run()
    ends = zip(whole.average.state_dict().values(), cut.average.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in ends)


def test_ignored_pixels_count_nowhere_and_a_mask_of_nothing_else_is_no_fault() -> None:
    made = model("lraspp_mobilenet_v3_small")
    aim = PaintMasks(made, RECIPE, masked(), ())
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    targets = torch.zeros(2, 8, 8, dtype=torch.long)
    targets[0, :4] = IGNORED
    changed = logits.detach().clone()
    changed[0, :, :4] += 5.0
    images = torch.zeros(2, 3, 8, 8)
    assert torch.equal(aim.loss(logits, images, targets), aim.loss(changed, images, targets))
    nothing = aim.loss(logits, images, torch.full_like(targets, IGNORED))
    nothing.backward()  # type: ignore[no-untyped-call]
    assert nothing.item() == 0.0 and logits.grad is not None and float(logits.grad.abs().sum()) == 0.0
    assert bool(aim.losses(logits, torch.full_like(targets, IGNORED)).isfinite().all())


def test_masks_are_scored_at_their_own_size() -> None:
    made = model("lraspp_mobilenet_v3_small")
    data = masked(4)
    wide = tuple(Sample(s.path, _Painted(np.repeat(s.label.mask, 2, axis=1))) for s in data.samples)  # type: ignore[union-attr]
    aim = PaintMasks(made, RECIPE, data, ())
    counted, _ = aim.judged(made.eval(), replace(data, samples=wide), World())
    assert counted.counts.sum() == 4 * (SIDE - 1) * 2 * SIDE  # without the ignored row


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_teachers_answer_every_batch(task: str) -> None:
    data = boxed() if task == "detect" else masked()
    make = detector if task == "detect" else (lambda: model("lraspp_mobilenet_v3_small"))
    teacher = make()
    before = [value.clone() for value in teacher.state_dict().values()]
    recipe = replace(RECIPE, epochs=1, teacher_share=1.0)
    run = Training(make(), recipe, data, data, teachers=(teacher,))
    run.run()
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.state_dict().values(), strict=True))
    alone = Training(make(), replace(recipe, teacher_share=0.0), data, data, teachers=(teacher,))
    alone.run()
    assert run.history[0].train_loss != alone.history[0].train_loss


def test_a_teacher_of_other_anchors_is_refused() -> None:
    other = build(scale(network("ssdlite_mobilenet_v3_small"), 0.35, 96), ["red", "green"])
    with pytest.raises(CheckpointError, match="the same classes, resolution and anchors"):
        Training(detector(), RECIPE, boxed(), boxed(), teachers=(other,))


def test_a_classifier_on_boxes_is_refused_with_the_name_of_a_detector(shared: Path, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(shared / "data" / "bccd_voc.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    with pytest.raises(MisuseError, match="`ssdlite_mobilenet_v2` gives boxes"):
        mn.train("mobilenet_v2", tmp_path / "bccd_voc", out=tmp_path / "run", minutes=1)
    assert not (tmp_path / "run").exists()


def test_recipes_that_boxes_and_masks_do_not_follow_are_refused() -> None:
    from mobilenets.data.augment import RANDOM

    with pytest.raises(MisuseError, match=r"`mixup`.*boxes and masks want 0"):
        replace(RECIPE, mixup=0.2).check_task("detect")
    with pytest.raises(MisuseError, match=r"erase is 0\.25, which boxes and masks do not follow"):
        replace(RECIPE, augmentation=RANDOM).check_task("segment")
    replace(RECIPE, mixup=0.2).check_task("classify")
