"""A real run, killed at random three times and gone on with: the same bytes as one that nobody disturbed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from making import picture
from mobilenets.streams.journal import journal_of, part_of

ENTRIES, PICTURES, KILLS = 4000, 25, 3


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list that names the same pictures over and over, one that is broken, and one that is not there."""
    folder = tmp_path_factory.mktemp("pictures")
    files = [picture(folder / f"{i}.png", seed=i) for i in range(PICTURES)]
    files[3].write_bytes(b"broken")
    files[4].unlink()
    (folder / "list.txt").write_text("".join(f"{files[i % PICTURES]}\n" for i in range(ENTRIES)))
    return folder / "list.txt"


def command(model: Path, names: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "mobilenets", "predict", str(model), f"@{names}", "--threads", "1", "--out", str(out)]


def kill_soon(process: subprocess.Popen[bytes], out: Path, random_: random.Random) -> bool:
    """Kill it a moment after it told how far it is; whether it was still running."""
    before = journal_of(out).stat().st_size if journal_of(out).exists() else 0
    while process.poll() is None:
        if journal_of(out).exists() and journal_of(out).stat().st_size > before:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(random_.uniform(0.0, 0.15))
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
    process.kill()
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("name", ["a.csv", pytest.param("a.parquet", marks=pytest.mark.slow)])
def test_killed_three_times_and_resumed(model: Path, names: Path, tmp_path: Path, name: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    undisturbed, out = tmp_path / "undisturbed" / name, tmp_path / name
    subprocess.run(command(model, names, undisturbed), check=True, capture_output=True)
    random_ = random.Random(os.environ.get("PYTEST_SEED"))
    kills = 0
    for _ in range(KILLS):
        with subprocess.Popen(
            [*command(model, names, out), "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            kills += kill_soon(process, out, random_)
    assert kills == KILLS, "it ended before it was killed: more entries are needed"
    assert part_of(out).exists()
    assert not out.exists(), "whole or not at all"
    told = subprocess.run([*command(model, names, out), "--resume"], check=True, capture_output=True, text=True)
    assert "going on after" in told.stderr
    assert out.read_bytes() == undisturbed.read_bytes()
    assert not part_of(out).exists()
    assert not journal_of(out).exists()


def test_ctrl_c_says_how_to_go_on(model: Path, names: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    with subprocess.Popen(
        command(model, names, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not journal_of(out).exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert "--resume goes on" in said
    assert "Traceback" not in said
    again = subprocess.run(command(model, names, out), capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "--resume goes on with it" in again.stderr
