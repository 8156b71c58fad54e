"""`mobilenets predict` with what it takes beside files and folders."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from making import picture, pixels, tiny
from mobilenets.cli import _run as run
from mobilenets.exports import export


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    export(tiny(), path, images=pixels(2, 64))
    return str(path)


def test_stdin_and_lists(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = f"{picture(tmp_path / 'a.png')}\n{tmp_path / 'none.png'}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(names))
    assert run(["predict", model, "-", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["predictions"]
    assert [Path(each["path"]).name for each in told] == ["a.png", "none.png"]
    assert [each["error"] is None for each in told] == [True, False]
    (tmp_path / "l.txt").write_text(names)
    assert run(["predict", model, "--list", str(tmp_path / "l.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"] == told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--resume"], "--resume is about a file: name it with --out"),
        (["--overwrite"], "--overwrite is about a file"),
        (["--features", "row01"], "--features are too many numbers for a screen"),
        (["--outt", "a.csv"], "unknown option: --outt"),
        (["--out", "a.txt"], "--out must end in .csv, .jsonl, .json or .parquet, got a.txt"),
    ],
)
def test_misuse(model: str, tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", model, str(picture(tmp_path / "a.png")), *options]) == 2
    assert said in capsys.readouterr().err
