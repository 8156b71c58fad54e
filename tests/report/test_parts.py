"""Parts of a report that any verb can make."""

from __future__ import annotations

import hashlib
import shlex
from datetime import datetime
from pathlib import Path

from mobilenets.report import artifact, command, history, listed, machine, noise, now, sha256


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


PROVEN = {
    "images": 80, "max_difference": 2e-7, "tolerance": 1e-4, "top1_agreement": 1.0, "first_departure": None,
    "runtime": "onnxruntime 1.22", "batch": None, "problems": [], "passed": True, "rule": "probabilities",
}  # fmt: skip


def test_an_artifact_says_what_its_proof_says(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"model")
    latency = {"median_ms": 1.5, "p90_ms": 2.0, "runs": 50, "threads": 1, "device": "a processor", "min_ms": 1.0}
    census = {"quantized": 50, "floating": 3, "islands": ["row05.squeeze.pool"], "remark": ""}
    options = {"format": "ONNX", "precision": "int8"}
    found = artifact(
        tmp_path / "model.onnx", tmp_path, **options, verification=PROVEN, census=census, latency=latency, metric=0.5
    )
    assert (found["file"], found["file_bytes"], found["sha256"]) == (
        "model.onnx",
        5,
        hashlib.sha256(b"model").hexdigest(),
    )
    assert (found["state"], found["batch"], found["runtime"]) == ("passed", "any", "onnxruntime 1.22")
    assert found["parity"]["max_difference"] == 2e-7 and "rule" not in found["parity"]
    assert found["operators"] == {"int8": 50, "float": 3} and found["islands"] == ["row05.squeeze.pool"]
    assert found["latency"] is not None and found["latency"]["median_ms"] == 1.5
    failed = artifact(tmp_path / "model.onnx", tmp_path, **options, verification=PROVEN | {"passed": False, "batch": 1})
    assert (failed["state"], failed["batch"]) == ("failed", 1)


def test_a_folder_that_nothing_here_runs(tmp_path: Path) -> None:
    package = tmp_path / "model.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Manifest.json").write_bytes(b"{}")
    (package / "Data" / "weights.bin").write_bytes(b"123")
    unseen = PROVEN | {"images": 0, "runtime": "Core ML runs on Apple's systems only", "rule": "specification"}
    found = artifact(package, tmp_path, format="Core ML", precision="fp16", verification=unseen)
    assert (found["state"], found["file_bytes"]) == ("not run here", 5)
    assert found["reason"] == "Core ML runs on Apple's systems only" and "parity" not in found
    before = found["sha256"]
    (package / "Data" / "weights.bin").write_bytes(b"124")
    assert sha256(package) != before
    wrong = unseen | {"passed": False, "problems": ["its input is not uint8"]}
    said = artifact(package, tmp_path, format="Core ML", precision="fp16", verification=wrong)
    assert said["state"] == "failed" and "its input is not uint8" in said["reason"]


def test_a_sweep_is_listed_with_what_stayed_in_float() -> None:
    nodes = [{"address": "row01.conv.conv", "snr_db": 31.0, "alone_db": 40.0}, {"address": "b", "snr_db": None}]
    found = noise(nodes, {"row01.conv.conv": "conv 3x3"}, {"b": "fp32"})
    assert found[0] == {
        "name": "row01.conv.conv", "op": "conv 3x3", "snr_db": 31.0, "alone_db": 40.0, "precision": "int8",
    }  # fmt: skip
    assert (found[1]["precision"], found[1]["snr_db"]) == ("fp32", None)
