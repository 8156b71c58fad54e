"""Several processes under torchrun: the curve of one, one who writes, restarts that resume. Real processes, gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import mobilenets as mn
from mobilenets.errors import MisuseError
from mobilenets.model.synced import SyncedNorm
from mobilenets.training import STATE
from mobilenets.training.parallel import World

SCRIPT = Path(__file__).with_name("distributed.py")
EPOCHS = 4
"""Of 3 steps each: a checkpoint is written within the first, long before the last."""


def torchrun(processes: int, *arguments: object, restarts: int = 0) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        f"--max-restarts={restarts}", *map(str, arguments),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    return out


def test_two_processes_have_the_curve_of_one(small_scenes: Path, tmp_path: Path) -> None:
    """The same global batch, 20 steps, head first and then all: within 1e-5, and so is the validation."""
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(SCRIPT), "curve", str(one), str(small_scenes)], env=environment, check=True)
    finished(torchrun(2, SCRIPT, "curve", two, small_scenes))
    alone, together = json.loads(one.read_text()), json.loads(two.read_text())
    assert len(alone["losses"]) == len(together["losses"]) == 20
    assert alone["losses"][0] > alone["losses"][-1]
    assert max(abs(a - b) for a, b in zip(alone["losses"], together["losses"], strict=True)) < 1e-5
    assert alone["top1"] == together["top1"]  # each image is counted once
    assert abs(alone["val_loss"] - together["val_loss"]) < 1e-4


@pytest.mark.slow
def test_a_killed_worker_is_restarted_and_goes_on(small_scenes: Path, tmp_path: Path) -> None:
    """Elastic restart resumes by itself; the weights are those of a run in which nobody died."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    finished(torchrun(2, SCRIPT, "train", tmp_path / "a" / "run", small_scenes, EPOCHS))
    process = torchrun(2, SCRIPT, "train", tmp_path / "b" / "run", small_scenes, EPOCHS, restarts=2)
    state, pid = tmp_path / "b" / "run" / STATE, tmp_path / "b" / "1.pid"
    while process.poll() is None and not state.is_file():
        time.sleep(0.02)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    finished(process)
    first, second = (mn.load(tmp_path / name / "run" / "best.safetensors") for name in "ab")
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not list((tmp_path / "b" / "run").glob("resume*"))


@pytest.mark.slow
def test_the_command_line_under_torchrun(small_scenes: Path, tmp_path: Path) -> None:
    command = ["-m", "mobilenets", "train", "mobilenet_v3_small", str(small_scenes), "--width", "0.25"]
    options = ["--resolution", "32", "--epochs", "1", "--batch-size"]
    out = finished(torchrun(2, *command, *options, "32", "--out", tmp_path / "run"))
    assert out.count("best checkpoint") == 1
    assert (tmp_path / "run" / "best.safetensors").is_file()
    # each in processes of its own: after a refusal the others of a group may be gone
    process = torchrun(2, *command, *options, "33", "--out", tmp_path / "odd")
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "a batch of 33 images cannot be divided over 2 processes: give --batch-size 32 or 34." in said
    assert not (tmp_path / "odd").exists()
    said, _ = torchrun(2, *command, "--epochs", "1").communicate(timeout=120)
    assert "several processes need one run folder: give --out" in said


def test_a_batch_that_cannot_be_divided() -> None:
    assert World(0, 4).share_of(64) == 16
    with pytest.raises(MisuseError, match="give --batch-size 60 or 64"):
        World(0, 4).share_of(63)


def test_synced_norm_alone_is_batch_norm() -> None:
    torch.manual_seed(0)
    ours, theirs = SyncedNorm(5), nn.BatchNorm2d(5)
    x = torch.randn(8, 5, 4, 4)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)  # type: ignore[arg-type]
