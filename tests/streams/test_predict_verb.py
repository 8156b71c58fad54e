"""`mobilenets predict` with what it takes beside files and folders."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from making import picture
from mobilenets.cli import _run as run


def test_stdin_and_lists(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = f"{picture(tmp_path / 'a.png')}\n{tmp_path / 'none.png'}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(names))
    assert run(["predict", str(model), "-", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["predictions"]
    assert [Path(each["path"]).name for each in told] == ["a.png", "none.png"]
    assert [each["error"] is None for each in told] == [True, False]
    (tmp_path / "l.txt").write_text(names)
    assert run(["predict", str(model), "--list", str(tmp_path / "l.txt"), "--json"]) == 0
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
def test_misuse(model: Path, tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(model), str(picture(tmp_path / "a.png")), *options]) == 2
    assert said in capsys.readouterr().err


def test_names_need_not_be_utf_8(model: Path, tmp_path: Path) -> None:
    """Where the terminal is strict, and in Parquet, whose texts are UTF-8."""
    arrow = pytest.importorskip("pyarrow.parquet")
    names = [os.fsencode(tmp_path) + b"/good\xfe.png", os.fsencode(tmp_path) + b"/bad\xff.png"]
    with open(names[0], "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write(picture(tmp_path / "a.png").read_bytes())
    with open(names[1], "wb") as file:  # noqa: PTH123
        file.write(b"no picture")
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "mobilenets", "predict", str(model), "-"]
    shown = subprocess.run(
        [*command, "--csv"], input=b"\n".join(names), env=environment, capture_output=True, check=True
    )
    rows = list(csv.DictReader(io.StringIO(shown.stdout.decode())))
    assert [(bool(row["label"]), bool(row["error"])) for row in rows] == [(True, False), (False, True)]
    command += ["--out", str(tmp_path / "o.parquet")]
    subprocess.run(command, input=b"\n".join(names), env=environment, capture_output=True, check=True)
    assert arrow.read_table(tmp_path / "o.parquet")["path"].to_pylist() == [row["path"] for row in rows]
