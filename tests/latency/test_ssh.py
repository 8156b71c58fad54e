"""The ssh device against a real sshd on loopback, with a key, a port and a configuration of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from making import pixels, small
from mobilenets.errors import DeviceError, MisuseError
from mobilenets.latency import device, time_networks
from mobilenets.latency.devices.ssh import PROGRAM, PYTHON
from mobilenets.latency.measure import Model, loaded, probabilities
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime import open_artifact

RUN = Path("/run/sshd")
"""Where sshd, run by root, wants to lock itself in; the system's own service makes it."""


@dataclass(frozen=True)
class Server:
    folder: Path
    port: int

    @property
    def text(self) -> str:
        return f"ssh:{getpass.getuser()}@127.0.0.1:{self.port}"

    def ssh(self, key: str = "id") -> str:
        """An `ssh` that knows this server, and one of two keys."""
        config = self.folder / f"config-{key}"
        config.write_text(
            f"Host *\n  IdentityFile {self.folder / key}\n  IdentitiesOnly yes\n  StrictHostKeyChecking accept-new\n"
            f"  UserKnownHostsFile {self.folder / 'known_hosts'}\n  LogLevel ERROR\n"
        )
        return f"ssh -F {config}"


def sshd_program() -> str:
    found = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
    if found is None or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no sshd on this machine")
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program, folder = sshd_program(), tmp_path_factory.mktemp("sshd")
    for key in ("host", "id", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "PidFile": folder / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
    }
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    made = os.geteuid() == 0 and not RUN.exists()
    if made:
        RUN.mkdir(mode=0o755)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
        try:
            _wait_for(port, process, folder / "log")
            yield Server(folder, port)
        finally:
            process.terminate()
            process.wait()
            if made:
                RUN.rmdir()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.skip(f"sshd does not start here: {log.read_text().strip()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.skip("sshd does not answer")


@pytest.fixture
def reachable(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv(PROGRAM, server.ssh())
    monkeypatch.setenv(PYTHON, sys.executable)
    return server


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """An interpreter without numpy."""
    venv.create(tmp_path / "bare", symlinks=True)
    return tmp_path / "bare" / "bin" / "python"


def left_behind() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("mobilenets-*"))


@pytest.mark.alone  # the folders of other tests' runners come and go
def test_models_are_timed_and_nothing_stays(reachable: Server) -> None:
    before = left_behind()
    where = device(reachable.text)
    assert where.text == reachable.text
    found = time_networks(where, [small("mobilenet_v1", 0.25), small("mobilenet_v2", 0.35)], runs=10, limit_s=0.1)
    assert all(latency.median_ms > 0 and latency.runtime.startswith("onnxruntime ") for latency in found)
    assert left_behind() <= before


def test_it_is_the_same_machine_by_another_way(reachable: Server) -> None:
    with device("local").connect() as here, device(reachable.text).connect() as there:
        assert (here.name, here.runtimes) == (there.name, there.runtimes)


def test_images_go_there_and_probabilities_come_back(reachable: Server, tmp_path: Path) -> None:
    network = small("mobilenet_v1", 0.25)
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(network, random_weights(network), Preprocessing(64)).SerializeToString())
    images = pixels(2, 64)
    with device(reachable.text).connect() as link, loaded(link, [Model.of(path)], threads=1) as (timing,):
        found = probabilities(timing, images)
    np.testing.assert_array_equal(found, open_artifact(path).run(images))


def test_ctrl_c_leaves_nothing_there(reachable: Server) -> None:
    before = left_behind()
    line = [sys.executable, "-m", "mobilenets", "bench", "mobilenet_v1", "--width", "0.25", "--resolution", "64"]
    process = subprocess.Popen(
        [*line, "--seconds", "1000", "--device", reachable.text, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not left_behind() - before and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "interrupted" in err
    end = time.monotonic() + 10
    while left_behind() - before and time.monotonic() < end:
        time.sleep(0.05)
    assert left_behind() <= before


def failure(text: str) -> str:
    with pytest.raises(DeviceError) as caught, device(text).connect():
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nobody_listens(reachable: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = failure(f"ssh:someone@127.0.0.1:{port}")
    assert message.startswith(f"ssh:someone@127.0.0.1:{port}: cannot be reached (")
    assert "Connection refused" in message
    assert f"`ssh -p {port} someone@127.0.0.1`" in message


def test_no_such_host(reachable: Server) -> None:
    assert "ssh:no-such-host.invalid: cannot be reached" in failure("ssh:no-such-host.invalid")


def test_the_key_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRAM, server.ssh("other"))
    message = failure(server.text)
    assert "the key was refused" in message
    assert "ssh-copy-id -p" in message


def test_no_python(reachable: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, "python3.99")
    message = failure(reachable.text)
    assert "no python3.99 there" in message
    assert "Install Python 3.11 or newer" in message
    assert f"{PYTHON}=/" in message


def test_an_old_python(reachable: Server, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site,) = bare.parent.parent.glob("lib/*/site-packages")
    (site / "sitecustomize.py").write_text("import sys\nsys.version_info = (3, 8, 10)\n")
    monkeypatch.setenv(PYTHON, str(bare))
    assert failure(reachable.text) == f"{reachable.text}: Python 3.8.10 is too old: 3.11 or newer is needed there"


def test_a_missing_wheel_is_named_with_its_line(reachable: Server, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, str(bare))
    with pytest.raises(DeviceError) as caught:
        time_networks(device(reachable.text), [small("mobilenet_v1", 0.25)])
    assert str(caught.value) == (
        f"{reachable.text}: numpy is not installed there: {bare} -m pip install numpy onnxruntime"
    )


def test_a_login_script_that_prints(reachable: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chatty = tmp_path / "python"
    chatty.write_text(f'#!/bin/sh\necho Welcome\nexec {sys.executable} "$@"\n')
    chatty.chmod(0o755)
    monkeypatch.setenv(PYTHON, str(chatty))
    message = failure(reachable.text)
    assert "'Welcome'" in message
    assert "login script" in message


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("ssh:pi@rpi5", "pi@rpi5", None),
        ("ssh:rpi5", "rpi5", None),
        ("ssh:pi@rpi5:2222", "pi@rpi5", 2222),
        ("ssh:pi@[fe80::1]:22", "pi@fe80::1", 22),
        ("ssh:pi@fe80::1", "pi@fe80::1", None),
    ],
)
def test_addresses(text: str, host: str, port: int | None) -> None:
    found = device(text)
    assert (found.host, found.port) == (host, port)


@pytest.mark.parametrize(
    "text", ["ssh", "ssh:", "ssh:pi@", "ssh:-oProxyCommand=x", "ssh:pi@rpi:ssh", "ssh:pi@rpi:0", "ssh:a:"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(MisuseError, match=r"names no host|must be a number from 1 to 65535"):
        device(text)


def test_no_ssh_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRAM, "no-such-ssh -v")
    with pytest.raises(MisuseError, match="needs the program `no-such-ssh`"), device("ssh:pi@rpi5").connect():
        pass
