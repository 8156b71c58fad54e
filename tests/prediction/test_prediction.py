"""Images to labels and to a score, the same by a checkpoint and by its artifact."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from making import picture, pixels, small, tiny
from mobilenets import prediction
from mobilenets.data import decode
from mobilenets.errors import CheckpointError, DataError, MisuseError
from mobilenets.exports import export
from mobilenets.model import MobileNet, build, normalise, save
from mobilenets.prediction import open_model, score
from mobilenets.prediction.predict import BATCH, loaded_batches

# one thread: tests run side by side
predict = functools.partial(prediction.predict, threads=1)
evaluate = functools.partial(prediction.evaluate, threads=1)

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def model() -> MobileNet:
    return tiny(classes=CLASSES)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, model: MobileNet) -> dict[str, object]:
    """The same model three ways."""
    folder = tmp_path_factory.mktemp("models")
    save(model, folder / "m.safetensors")
    export(model, folder / "m.onnx", images=pixels(2, 64))
    return {"checkpoint": folder / "m.safetensors", "artifact": str(folder / "m.onnx"), "memory": model}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures a class; one more in the first cannot be read."""
    folder = tmp_path_factory.mktemp("data")
    for label, name in enumerate(CLASSES):
        for i in range(4):
            picture(folder / name / f"{i}.png", seed=10 * label + i)
    (folder / "cat" / "9.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    return folder


KINDS = pytest.mark.parametrize("kind", ["checkpoint", "artifact", "memory"])


@KINDS
def test_predictions_are_the_models(kind: str, made: dict[str, object], data: Path, model: MobileNet) -> None:
    found = predict(made[kind], data)
    assert [p.path.relative_to(data).as_posix() for p in found] == [
        f"{name}/{i}" for name in CLASSES for i in ("0.png", "1.png", "2.png", "3.png", "9.jpg") if (name, i) in FILES
    ]
    for each in found:
        if each.path.name == "9.jpg":
            continue
        image = torch.from_numpy(decode.load_image(each.path, model.info.preprocessing))[None]
        with torch.no_grad():
            by_hand = model.eval()(normalise(image, model.info.preprocessing)).softmax(1)[0].numpy()
        assert each.label == CLASSES[int(by_hand.argmax())]
        assert each.score == pytest.approx(by_hand.max(), abs=1e-5)
        assert dict(each.top) == pytest.approx(dict(zip(CLASSES, by_hand.tolist(), strict=True)), abs=1e-5)
        assert [s for _, s in each.top] == sorted((s for _, s in each.top), reverse=True)


FILES = {(name, f"{i}.png") for name in CLASSES for i in range(4)} | {("cat", "9.jpg")}


@KINDS
def test_an_unreadable_file_is_an_entry_and_no_error(kind: str, made: dict[str, object], data: Path) -> None:
    found = predict(made[kind], [data / "cat" / "9.jpg", data / "dog" / "0.png"])
    assert [p.error is None for p in found] == [False, True]
    assert found[0].label is found[0].score is None
    assert "9.jpg" in str(found[0].error)
    assert found[1].label in CLASSES
    only = predict(made[kind], data / "cat" / "9.jpg")
    assert len(only) == 1
    assert only[0].error


def test_file_folder_and_glob_agree(made: dict[str, object], data: Path) -> None:
    by_folder = predict(made["artifact"], data / "dog")
    assert predict(made["artifact"], str(data / "dog" / "*.png")) == by_folder
    assert predict(made["artifact"], [data / "dog" / f"{i}.png" for i in range(4)]) == by_folder
    assert predict(made["artifact"], data / "dog" / "2.png") == by_folder[2:3]


def test_top_limits_the_list(made: dict[str, object], data: Path) -> None:
    (one,) = predict(made["artifact"], data / "dog" / "2.png", top=1)
    assert one.top == ((one.label, one.score),)
    (many,) = predict(made["artifact"], data / "dog" / "2.png", top=50)
    assert len(many.top) == 3


@pytest.mark.parametrize("top", [0, -1])
def test_top_below_one_is_misuse(made: dict[str, object], data: Path, top: int) -> None:
    with pytest.raises(MisuseError, match="top"):
        predict(made["artifact"], data / "dog" / "2.png", top=top)


def test_predictions_are_json(made: dict[str, object], data: Path) -> None:
    back = json.loads(json.dumps([p.to_dict() for p in predict(made["artifact"], data / "cat")]))
    assert set(back[0]) == {"path", "label", "score", "top", "error"}
    assert back[0]["top"][0] == {"label": back[0]["label"], "score": back[0]["score"]}


def test_more_than_a_batch_keeps_its_order(made: dict[str, object], data: Path, tmp_path: Path) -> None:
    files = [picture(tmp_path / f"{i:03d}.png", seed=i % 7) for i in range(BATCH + 5)]
    files[3].write_bytes(b"")
    told: list[tuple[int, int]] = []
    found = predict(made["artifact"], tmp_path, on_progress=lambda *n: told.append(n))
    assert [p.path for p in found] == files
    assert [i for i, p in enumerate(found) if p.error] == [3]
    for i, p in enumerate(found):
        if i not in {3, 10} and i % 7 == 3:
            assert p.top == found[10].top or p.score == pytest.approx(found[10].score, abs=1e-5)
    assert told == [(i + 1, BATCH + 5) for i in range(BATCH + 5)]


def test_loaded_batches_line_up(made: dict[str, object], data: Path) -> None:
    predictor = open_model(made["artifact"], threads=1)
    files = decode.find_images([data])
    batches = list(loaded_batches(files, predictor, size=4))
    assert [path for batch, _, _ in batches for path in batch] == files
    for batch, images, errors in batches:
        readable = [path for path in batch if path not in errors]
        assert images.shape == (len(readable), 64, 64, 3)
        for path, image in zip(readable, images, strict=True):
            np.testing.assert_array_equal(image, decode.load_image(path, predictor.preprocessing))
    assert list(loaded_batches([], predictor)) == []


@KINDS
def test_evaluate_is_what_a_hand_computes(kind: str, made: dict[str, object], data: Path) -> None:
    told: list[tuple[int, int]] = []
    result = evaluate(made[kind], data, on_progress=lambda *n: told.append(n))
    by_hand = [(p, CLASSES.index(p.path.parent.name)) for p in predict(made[kind], data) if p.error is None]
    assert result.images == len(by_hand) == 12
    assert result.top1 == pytest.approx(np.mean([p.label == CLASSES[label] for p, label in by_hand]))
    assert result.loss == pytest.approx(
        np.mean([-np.log(dict(p.top)[CLASSES[label]]) for p, label in by_hand]), abs=1e-4
    )
    assert result.top5 == 1.0, "three classes"
    assert result.classes == CLASSES
    assert result.confusion.sum() == 12
    assert result.confusion.sum(1).tolist() == [4, 4, 4]
    assert np.trace(result.confusion) == result.top1 * 12
    for p, label in by_hand:
        assert result.confusion[label, CLASSES.index(str(p.label))] > 0
    assert [path.name for path, _ in result.skipped] == ["9.jpg"]
    assert told[-1] == (13, 13)
    assert json.loads(json.dumps(result.to_dict()))["confusion"] == result.confusion.tolist()


def test_folders_in_another_order_and_number_keep_the_models_labels(made: dict[str, object], tmp_path: Path) -> None:
    for name in ("owl", "cat"):
        for i in range(2):
            picture(tmp_path / name / f"{i}.png", seed=i)
    result = evaluate(made["artifact"], tmp_path)
    assert result.confusion.sum(1).tolist() == [2, 0, 2]


def test_evaluate_refuses_strange_classes_and_unreadable_folders(made: dict[str, object], tmp_path: Path) -> None:
    picture(tmp_path / "a" / "horse" / "0.png")
    with pytest.raises(DataError, match="horse"):
        evaluate(made["artifact"], tmp_path / "a")
    for name in CLASSES:
        (tmp_path / "b" / name).mkdir(parents=True)
        (tmp_path / "b" / name / "0.png").write_bytes(b"no")
    with pytest.raises(DataError, match="none of the 3 images"):
        evaluate(made["artifact"], tmp_path / "b")


def test_score_by_hand() -> None:
    probabilities = np.array(
        [
            [0.05, 0.10, 0.15, 0.20, 0.24, 0.26],  # right
            [0.26, 0.24, 0.20, 0.15, 0.10, 0.05],  # the last of six: not among five
            [0.24, 0.26, 0.20, 0.15, 0.10, 0.05],  # second
            [0.00, 0.50, 0.50, 0.00, 0.00, 0.00],  # certain of something else
        ],
        np.float32,
    )
    labels = [5, 5, 0, 0]
    result = score(probabilities, labels)
    assert result.top1 == 0.25
    assert result.top5 == 0.75
    assert result.loss == pytest.approx(-np.log([0.26, 0.05, 0.24, 1e-12]).mean(), rel=1e-5)
    expected = np.zeros((6, 6), int)
    expected[5, 5] = expected[5, 0] = expected[0, 1] = 1
    expected[0, 1] += 1
    np.testing.assert_array_equal(result.confusion, expected)
    assert result.classes == ("0", "1", "2", "3", "4", "5")


def test_top5_of_few_classes_is_one() -> None:
    assert score(np.array([[0.9, 0.1], [0.8, 0.2]], np.float32), [1, 1]).top5 == 1.0


def test_opening_what_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "bad.safetensors").write_bytes(b"hello")
    with pytest.raises(MisuseError, match=r"not a model.*\.safetensors, \.onnx"):
        open_model(tmp_path / "notes.txt")
    with pytest.raises(MisuseError, match="no such file"):
        open_model(tmp_path / "absent.txt")
    with pytest.raises(MisuseError, match="pickle"):
        open_model(tmp_path / "m.pth")
    with pytest.raises(MisuseError, match="no such"):
        open_model(tmp_path / "m.onnx")
    with pytest.raises(CheckpointError):
        open_model(tmp_path / "bad.safetensors")


def test_a_model_without_names_answers_with_numbers(data: Path) -> None:
    found = predict(build(small("mobilenet_v3_small"), 4), data / "dog")
    assert {name for p in found for name, _ in p.top} == {"0", "1", "2", "3"}


def test_images_are_not_mixed_up_by_a_model_in_training(model: MobileNet, data: Path) -> None:
    before = predict(model.eval(), data / "owl")
    assert predict(model.train(), data / "owl") == before
    assert model.training, "it goes on training"
