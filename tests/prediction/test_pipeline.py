"""The pipeline: order, bounds, plans that agree, big photos decoded smaller."""

from __future__ import annotations

import itertools
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from making import picture, pixels, tiny
from mobilenets.data import decode
from mobilenets.errors import MisuseError
from mobilenets.exports import export
from mobilenets.prediction import open_model, predict_stream
from mobilenets.prediction.asking import asking
from mobilenets.prediction.loading import load_seen
from mobilenets.prediction.pipeline import ordered, through
from mobilenets.prediction.sessions import Opened, Plan, open_for_many
from mobilenets.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    export(tiny(), path, images=pixels(2, 64))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    return [picture(folder / f"{i}.png", seed=i) for i in range(20)]


def test_results_keep_the_order_of_what_was_given() -> None:
    late = threading.Event()

    def work(n: int) -> int:
        if n == 0:
            late.wait(5)  # the first ends last
        if n == 2:
            late.set()
        return n

    assert list(ordered(range(10), work, 4)) == list(range(10))


def test_no_more_is_taken_than_is_in_flight() -> None:
    taken = itertools.count()
    results = ordered((next(taken) for _ in itertools.count()), lambda n: n, 3)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert next(taken) <= 5 + 2 * 3 + 1
    results.close()  # type: ignore[attr-defined]


def test_an_error_in_a_worker_is_raised() -> None:
    def work(n: int) -> float:
        return 1 / (3 - n)

    with pytest.raises(ZeroDivisionError):
        list(ordered(range(10), work, 2))


def test_every_plan_gives_the_same_answers(model: Path, files: list[Path]) -> None:
    opened = open_for_many(model, lambda: [], threads=3)
    assert len(opened.plans) > 2
    answers = [
        list(through(files, Opened(opened.first, (plan,), opened.again), partial(asking, top=3, score=None)))
        for plan in (*opened.plans, Plan(1, 1, 1, 5, 7))
    ]
    assert [each.path for each in answers[0]] == files
    assert all(answer == answers[0] for answer in answers), "bit for bit: a run may go on with another plan"


def test_the_measurement_keeps_what_it_computes(
    model: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilenets.prediction.pipeline.TRIAL_S", 0.01)
    notes: list[str] = []
    many = list(itertools.islice(itertools.cycle(files), 500))
    found = list(predict_stream(model, [str(file) for file in many], threads=2, on_note=notes.append))
    assert [each.path for each in found] == many
    assert len(notes) == 1
    assert "workers" in notes[0]
    assert len({each.top for each in found}) == len({each.top for each in found[:20]})


def test_a_stream_has_no_end(model: Path, files: list[Path]) -> None:
    opened = open_for_many(model, lambda: [], threads=2)
    stream = through(itertools.cycle(files), opened, partial(asking, top=1, score=None))
    assert [each.path for each in itertools.islice(stream, 50)] == list(itertools.islice(itertools.cycle(files), 50))
    stream.close()  # type: ignore[attr-defined]


def test_what_is_wrong_is_told_before_the_first_answer(model: Path, files: list[Path]) -> None:
    with pytest.raises(MisuseError, match="`top`"):
        predict_stream(model, files, top=0)
    with pytest.raises(MisuseError, match="no such file or folder"):
        predict_stream(model, files[0].with_name("none.png"))
    with pytest.raises(MisuseError, match="`threads`"):
        predict_stream(model, files, threads=0)


def test_big_photos_are_decoded_smaller_and_look_alike(tmp_path: Path) -> None:
    contract, random = Preprocessing(64), np.random.default_rng(0)
    smooth = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize(
        (1600, 1200), Image.Resampling.BICUBIC
    )
    smooth.save(tmp_path / "big.jpg", quality=90)
    looked = load_seen(tmp_path / "big.jpg", contract, task="detect")
    assert looked.size == (1600, 1200), "boxes are in pixels of the photo itself"
    whole = decode.load_image(tmp_path / "big.jpg", contract)
    assert np.abs(looked.square.astype(int) - whole).mean() < 1.0
    small = decode.decode(tmp_path / "big.jpg", at_least_px=128)
    assert min(small.shape[:2]) == 150, "an eighth: still more than twice what the network takes"


def test_small_photos_are_decoded_whole(tmp_path: Path) -> None:
    path = picture(tmp_path / "small.jpg", seed=0)
    contract = Preprocessing(64)
    looked = load_seen(path, contract, task="classify")
    np.testing.assert_array_equal(looked.square, decode.load_image(path, contract))


def test_checkpoints_run_with_the_same_batches_every_time(model: Path, tmp_path: Path, files: list[Path]) -> None:
    from mobilenets.model import save

    save(tiny(), tmp_path / "m.safetensors")
    opened = open_for_many(tmp_path / "m.safetensors", lambda: [], threads=2)
    assert len(opened.plans) == 1
    twice = [list(predict_stream(tmp_path / "m.safetensors", files, threads=2)) for _ in range(2)]
    assert twice[0] == twice[1]
    by_file = list(predict_stream(model, files, threads=2))
    assert [each.label for each in twice[0]] == [each.label for each in by_file]
    assert open_model(model, threads=1).task == "classify"
