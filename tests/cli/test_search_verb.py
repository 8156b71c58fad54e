"""`mobilenets search` from the command line: one run of it, and what a user can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilenets.cli import _run
from mobilenets.searching import job

pytest.importorskip("optuna", reason="the extra `search` is not installed")


def test_one_run_and_its_table(
    small_scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "LEAST_S", 1.0)
    monkeypatch.setattr(job, "PROXIED", 1)
    out = tmp_path / "run"
    words = ["search", str(small_scenes), "--budget", "2MMACs", "--hours", "0.001", "--resolution", "32"]
    assert _run([*words, "--trials", "3", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "report.json").read_text())
    assert report["verb"] == "search" and report["result"]["met"] and report["study"]["trials"] == 3
    assert not report["rungs"]["proxy"]  # of one network there is nothing to choose
    assert _run([*words, "--trials", "3", "--out", str(out), "--resume"]) == 0
    shown = capsys.readouterr().out
    assert "searched for 2 M macs" in shown and "3 networks looked at" in shown
    assert _run(["show", report["result"]["table"]]) == 0
    assert report["result"]["network"] in capsys.readouterr().out
    assert _run([*words, "--out", str(out)]) == 2
    assert "exists and is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--budget", "2 boats"], 2, "unknown unit"),
        (["--budget", "10KMACs", "--resolution", "32"], 1, "nothing fits 0.01 M macs"),
        (["--budget", "2MMACs", "--resolution", "50"], 2, "multiple of 32"),
        (["--budget", "2MMACs", "--searcher", "nsga2"], 2, "front"),
        (["--budget", "2MMACs", "--searcher", "annealing"], 2, "annealing"),
        (["--budget", "2MMACs", "--worker"], 2, "--study"),
        (["--budget", "2MMACs", "--worker", "--study", "s.log"], 2, "--shared"),
        (["--budget", "2MMACs", "--shared", "nowhere.safetensors"], 2, "no such file: nowhere.safetensors"),
        (["--budget", "2MMACs", "--hours", "0"], 2, "hours"),
        (["--budget", "2MMACs", "--resume"], 2, "no interrupted search to resume"),
    ],
)
def test_bad_input(
    words: list[str], code: int, told: str, small_scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["search", str(small_scenes), *words, "--out", str(tmp_path / "run")]) == code
    out, err = capsys.readouterr()
    assert out == "" and told in err and "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_an_unreachable_database_is_told_at_once(
    small_scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg")
    study = "postgresql://owner:s3cret@127.0.0.1:1/db"
    assert _run(["search", str(small_scenes), "--budget=2MMACs", "--study", study, "--out", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert "127.0.0.1:1/db cannot be reached" in err and "s3cret" not in err
    assert not (tmp_path / "run").exists()
