"""Teachers: asked once, kept on disk, in the student's order; features matched by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_loop import RECIPE, squares

import mobilenets as mn
from making import lively
from mobilenets.errors import CheckpointError, MisuseError, UnknownNameError
from mobilenets.model import MobileNet, build, with_info
from mobilenets.preprocessing import Preprocessing
from mobilenets.table import scale
from mobilenets.training import Training, predict_squares
from mobilenets.training.distill import ask_teachers, distillation_loss, softened
from mobilenets.training.matching import Matching
from mobilenets.zoo import network

CLASSES = ("red", "green", "blue")


def model(seed: int, name: str = "mobilenet_v1", width: float = 0.25, classes: tuple[str, ...] = CLASSES) -> MobileNet:
    torch.manual_seed(seed)
    return lively(build(scale(network(name), width, 32), classes), seed)


def test_answers_are_asked_once_and_ordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    teacher = mn.save(model(0), tmp_path / "teacher.safetensors")
    mn.export(teacher, tmp_path / "teacher.onnx")
    notes: list[str] = []
    asked = ask_teachers([teacher], squares(), CLASSES, note=notes.append)
    assert asked.shape == (40, 3) and torch.allclose(asked.sum(1), torch.ones(40), atol=1e-5) and not notes
    again = ask_teachers([teacher], squares(), ("blue", "red", "green"), note=notes.append)
    assert torch.equal(again, asked[:, [2, 0, 1]]) and "its answers are kept in" in notes[0]
    exported = ask_teachers([tmp_path / "teacher.onnx"], squares(), CLASSES, note=notes.append)
    assert (exported - asked).abs().max() < 0.02  # pixels are rounded on the way into the file
    both = ask_teachers([teacher, tmp_path / "teacher.onnx"], squares(), CLASSES, note=notes.append)
    assert torch.allclose(both, (asked + exported) / 2, atol=1e-6)
    kept = next((tmp_path / "cache" / "teachers").glob("*.npy"))
    kept.write_bytes(kept.read_bytes()[:100])  # damaged: asked anew
    assert torch.allclose(ask_teachers([teacher], squares(), CLASSES, note=notes.append), asked)


def test_a_teacher_sees_images_as_it_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its crop and its interpolation, not the student's."""
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    own = Preprocessing(32, crop=0.9, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic")
    teacher = with_info(model(0), preprocessing=own)
    path = mn.save(teacher, tmp_path / "teacher.safetensors")
    asked = ask_teachers([path], squares(), CLASSES, note=print)
    assert torch.allclose(asked, predict_squares(teacher, squares())[0], atol=1e-6)
    other = with_info(teacher, preprocessing=replace(own, interpolation="bilinear"))
    assert (asked - predict_squares(other, squares())[0]).abs().max() > 1e-4


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path) -> None:
    teacher = mn.save(model(0, classes=("red", "green", "yellow")), tmp_path / "teacher.safetensors")
    with pytest.raises(CheckpointError, match=r"a teacher of other classes .*\n  - blue\n  \+ yellow"):
        ask_teachers([teacher], squares(), CLASSES, note=print)
    with pytest.raises(MisuseError, match="no such"):
        ask_teachers([tmp_path / "none.safetensors"], squares(), CLASSES, note=print)


def test_softening_is_division_of_logits() -> None:
    logits = torch.randn(5, 3)
    assert torch.allclose(softened(logits.softmax(1), 3.0), (logits / 3).softmax(1), atol=1e-6)
    matched = distillation_loss(logits, softened(logits.softmax(1), 3.0), 3.0)
    other = distillation_loss(logits.flip(1), softened(logits.softmax(1), 3.0), 3.0)
    assert matched < other


def test_a_student_comes_to_answer_like_its_teacher() -> None:
    """The teacher has the labels wrong on purpose: who follows it gets them wrong too."""
    data = squares()
    wrong = torch.nn.functional.one_hot((torch.from_numpy(data.labels) + 1) % 3, 3).float()
    recipe = RECIPE.from_dict(RECIPE.to_dict() | {"epochs": 25, "lr": 0.1, "teacher_share": 1.0})
    torch.manual_seed(0)
    student = build(scale(network("mobilenet_v1"), 0.25, 32), CLASSES)
    run = Training(student, recipe, data, squares(15), teacher=wrong)
    run.run()
    assert run.history[-1].val_score < 0.2


def test_features_are_matched_by_name(tmp_path: Path) -> None:
    teacher, student = model(0, width=0.5), model(1)
    matching = Matching(student, teacher, {"row05.pointwise.act": "row05.pointwise.act"})
    recipe = RECIPE.from_dict(RECIPE.to_dict() | {"epochs": 12, "lr": 0.05})
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    run = Training(student, recipe, squares(), squares(15), matching=matching)
    images = torch.rand(8, 3, 32, 32)

    def apart() -> float:
        with torch.no_grad():
            return float(matching.loss(matching.eval()(images)[1], images))

    first = apart()
    run.run()
    assert apart() < 0.8 * first
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert np.isfinite(run.history[-1].train_loss)
    with pytest.raises(UnknownNameError, match=r"row05\.pointwise\.atc"):
        Matching(student, teacher, {"row05.pointwise.atc": "row05.pointwise.act"})
    with pytest.raises(MisuseError, match="no map of channels"):
        Matching(student, teacher, {student.nodes[-1].name: "row05.pointwise.act"})


def test_train_with_a_teacher(small_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    small = scale(network("mobilenet_v1"), 0.25, 32)
    options = {"epochs": 1, "weights": "none"}
    mn.train(small, small_scenes, out=tmp_path / "teacher", **options)  # type: ignore[arg-type]
    teacher = tmp_path / "teacher" / "best.safetensors"
    match = {"row05.pointwise.act": "row05.pointwise.act"}
    mn.train(small, small_scenes, out=tmp_path / "run", teachers=[teacher], match=match, **options)  # type: ignore[arg-type]
    assert (tmp_path / "run" / "best.safetensors").is_file()
    with pytest.raises(MisuseError, match="no such teacher"):
        mn.train(small, small_scenes, out=tmp_path / "x", teachers=[tmp_path / "none.onnx"], **options)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="--match needs a --teacher"):
        mn.train(small, small_scenes, out=tmp_path / "x", match=match, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()
