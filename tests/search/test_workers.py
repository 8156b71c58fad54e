"""Workers as processes that share a study: in a journal file, and in a PostgreSQL of the test's own."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from study_worker import CHOICES, PLAN, accuracy, load

from mobilenets.errors import MisuseError
from mobilenets.search import Plan, open_study, read_study
from mobilenets.search.points import key

if importlib.util.find_spec("optuna") is None:
    pytest.skip("optuna is not installed", allow_module_level=True)

TRIALS = 40
LIMIT_S = 120


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a fresh PostgreSQL on loopback, with a password."""
    pytest.importorskip("psycopg")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if initdb is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    user = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    if user and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # sockets need a short path
    port = _free_port()
    cluster, secret = folder / "cluster", folder / "secret"
    secret.write_text("pa:ss/wo@rd\n")
    if user:
        for path in (folder, secret):
            shutil.chown(path, user, user)

    def run(program: str, *options: str) -> None:
        command = [str(Path(initdb).with_name(program)), "-D", str(cluster), *options]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, timeout=LIMIT_S)

    run("initdb", "-U", "owner", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run("pg_ctl", "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql://owner:pa%3Ass%2Fwo%40rd@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(params=["journal", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the study is kept."""
    return str(tmp_path / "study.log" if request.param == "journal" else request.getfixturevalue("database"))


def started(place: str, folder: Path, name: str, trials: int = TRIALS) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("study_worker.py")), place, str(folder), name, str(trials)]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_its_first_trial(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    assert worker.stdout.readline() == "began\n" or worker.communicate()[1] == ""


def go(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.close()
    worker.stdin = None


def evaluated(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.evaluated").read_text().splitlines()


def test_four_workers_one_killed(place: str, tmp_path: Path) -> None:
    names = ["a", "b", "c", "stuck"]
    workers = {name: started(place, tmp_path, name) for name in names}
    for worker in workers.values():
        wait_for_its_first_trial(worker)
    workers["stuck"].send_signal(signal.SIGKILL)
    workers["stuck"].wait(LIMIT_S)
    for worker in workers.values():
        go(worker)
    told = {name: workers[name].communicate(timeout=LIMIT_S) for name in names[:3]}
    assert [err for _, err in told.values()] == [""] * 3
    counts = [int(out.split()[1]) for out, _ in told.values()]
    assert all(out.startswith("complete ") for out, _ in told.values())
    assert sum(counts) == TRIALS

    study = read_study(place)
    trials = study.trials()
    assert len(trials) == TRIALS
    assert len({key(trial.point) for trial in trials}) == TRIALS
    assert all(trial.accuracy == accuracy(trial.point) and trial.load == load(trial.point) <= 1 for trial in trials)
    assert len({trial.worker for trial in trials}) == sum(count > 0 for count in counts)
    # what the three evaluated is what is kept: only the trial of the killed worker was lost
    kept = sorted(str(sorted(trial.point.items())) for trial in trials)
    assert sorted(line for name in names[:3] for line in evaluated(tmp_path, name)) == kept
    assert len(evaluated(tmp_path, "stuck")) == 1
    assert [t.state.name for t in study.ledger.trials() if t.state.name not in ("COMPLETE", "PRUNED")] == ["FAIL"]


def test_a_stopped_worker_gives_its_trial_back_at_once(tmp_path: Path) -> None:
    place = str(tmp_path / "study.log")
    worker = started(place, tmp_path, "stuck", trials=3)
    wait_for_its_first_trial(worker)
    assert len(_running(place)) == 1
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=LIMIT_S)
    assert worker.returncode != 0
    assert _running(place) == []


def _running(place: str) -> list[object]:
    study = read_study(place)
    study.refresh()
    return study.running


def test_a_worker_with_other_settings_is_refused_by_the_database(database: str) -> None:
    open_study(database, PLAN, name="other")
    with pytest.raises(MisuseError, match=r"'other' in postgresql://127\.0\.0\.1:\d+/postgres .*'front' here"):
        open_study(database, Plan(CHOICES, "front", "evolution", "5 ms", population=8, sample=3), name="other")
    with pytest.raises(MisuseError, match="holds no study 'none'"):
        read_study(database, "none")
