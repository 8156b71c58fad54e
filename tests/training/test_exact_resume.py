"""Killed at any moment, a training goes on to the same bits; damaged files fall back; a full disk costs no training."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import mobilenets as mn
from mobilenets.errors import CheckpointError
from mobilenets.files import replacing
from mobilenets.training import STATE, Recipe, Watcher
from mobilenets.training.state import previous
from mobilenets.watching import Epoch, Tick

SCRIPT = Path(__file__).with_name("killed.py")
RECIPE = Recipe(epochs=3, batch_size=16, precision="fp32")


def net() -> mn.Network:
    return mn.scale(mn.network("mobilenet_v3_small"), 0.25, 32)


def begin(out: Path, data: Path, *resume: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(out), str(data), *resume]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def same(a: mn.MobileNetsError | torch.nn.Module, b: torch.nn.Module) -> bool:
    assert isinstance(a, torch.nn.Module)
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.slow
def test_kill_nine_at_three_random_moments(small_scenes: Path, tmp_path: Path) -> None:
    """The final weights are bit-identical to those of a run that nobody killed."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    straight = begin(whole, small_scenes)
    moments = random.Random(0)
    kills, resume = 0, ()
    while True:
        process = begin(killed, small_scenes, *resume)
        if kills < 3:
            while process.poll() is None and not (killed / STATE).is_file():
                time.sleep(0.02)
            time.sleep(moments.uniform(0.05, 0.6))
        if kills < 3 and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += (killed / STATE).is_file() or previous(killed / STATE).is_file()
            resume = ("resume",) if any((killed / n).is_file() for n in (STATE, previous(Path(STATE)).name)) else ()
            continue
        assert process.wait() == 0, process.stderr and process.stderr.read()
        break
    assert straight.wait() == 0, straight.stderr and straight.stderr.read()
    assert kills == 3
    for name in ("best", "last"):
        assert same(mn.load(whole / f"{name}.safetensors"), mn.load(killed / f"{name}.safetensors"))
    assert not list(killed.glob("resume*")) and not list(killed.glob(".*"))


class _StopAt(Watcher):
    """Interrupts after some steps, as Ctrl-C does."""

    def __init__(self, steps: int) -> None:
        self.steps, self.notes = steps, list[str]()

    def tick(self, tick: Tick) -> None:
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def interrupted(small_scenes: Path, tmp_path: Path) -> Path:
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        mn.train(net(), small_scenes, out=out, recipe=RECIPE, watcher=_StopAt(8), checkpoint_s=0.0)
    return out


def test_ctrl_c_waits_for_the_step(interrupted: Path, small_scenes: Path, tmp_path: Path) -> None:
    assert (interrupted / STATE).is_file() and previous(interrupted / STATE).is_file()
    resumed = mn.train(net(), small_scenes, out=interrupted, resume=True)
    assert same(resumed, mn.train(net(), small_scenes, out=tmp_path / "whole", recipe=RECIPE))


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    interrupted: Path, small_scenes: Path, tmp_path: Path
) -> None:
    state = interrupted / STATE
    state.write_bytes(state.read_bytes()[:-1000])
    watcher = _StopAt(0)
    resumed = mn.train(net(), small_scenes, out=interrupted, resume=True, watcher=watcher)
    said = next(note for note in watcher.notes if "cannot resume from it" in note)
    assert "Going on from resume.previous.safetensors, step" in said
    assert same(resumed, mn.train(net(), small_scenes, out=tmp_path / "whole", recipe=RECIPE))


def test_two_damaged_checkpoints_are_refused(interrupted: Path, small_scenes: Path) -> None:
    for path in (interrupted / STATE, previous(interrupted / STATE)):
        path.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="cannot resume from it"):
        mn.train(net(), small_scenes, out=interrupted, resume=True)


class _FillsUp(Watcher):
    """From the first validation on, and up to the last but one, the disk is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, validations: int) -> None:
        self.patch, self.left, self.notes = monkeypatch, validations, list[str]()

    def epoch(self, line: Epoch, best: bool) -> None:
        self.left -= 1
        if self.left == 2:
            self.patch.setattr(Path, "write_bytes", _no_room)
        else:
            self.patch.undo()

    def note(self, text: str) -> None:
        self.notes.append(text)


def _no_room(path: Path, data: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_full_disk_while_checkpointing_costs_no_training(
    small_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = _FillsUp(monkeypatch, 3)
    model = mn.train(net(), small_scenes, out=tmp_path / "run", recipe=RECIPE, watcher=watcher)
    assert any("a checkpoint could not be written (No space left on device); the training" in n for n in watcher.notes)
    assert same(model, mn.train(net(), small_scenes, out=tmp_path / "whole", recipe=RECIPE))


def test_replacing_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"), replacing(tmp_path / "a") as temporary:
        _no_room(temporary, b"")
    assert not list(tmp_path.iterdir())
