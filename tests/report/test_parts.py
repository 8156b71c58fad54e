"""Parts of a report that any verb can make."""

from __future__ import annotations

import hashlib
import shlex
from datetime import datetime
from pathlib import Path

from mobilenets.report import command, history, listed, machine, now, sha256


def test_a_command_can_be_pasted() -> None:
    made = command("again", "fit", Path("my photos"), "--budget", "5ms", None, "--minutes", 1.5)
    assert made["line"] == "mobilenets fit 'my photos' --budget 5ms --minutes 1.5"
    assert shlex.split(made["line"])[2] == "my photos"


def test_files_have_their_real_hashes(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    inside, outside = tmp_path / "run" / "model.onnx", tmp_path / "weights.safetensors"
    inside.write_bytes(b"model")
    outside.write_bytes(b"weights")
    found = listed([inside, outside, tmp_path / "absent"], tmp_path / "run")
    assert [one["file"] for one in found] == ["model.onnx", str(outside)]
    assert found[0]["sha256"] == sha256(inside) == hashlib.sha256(b"model").hexdigest()
    assert found[1]["file_bytes"] == 7


def test_the_history_of_a_run_is_read_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,train_loss,val_top1\n1.0,2.5,0.25\n2.0,nan,0.5\n", encoding="utf-8")
    lines = history(path)
    assert lines[0] == {"epoch": 1.0, "train_loss": 2.5, "val_top1": 0.25}
    assert lines[1]["val_top1"] == 0.5
    assert history(tmp_path / "absent.csv") == []


def test_the_machine_and_the_moment() -> None:
    found = machine()
    assert found["name"] and found["cores"] >= 1 and found["system"]
    assert found.get("memory_bytes", 2**30) > 2**28
    assert datetime.fromisoformat(now()).tzinfo is not None
