"""Another machine over the system's `ssh`: it needs Python and the runtime's wheel there, and nothing stays behind."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mobilenets.errors import MisuseError
from mobilenets.latency.devices.process import RunnerLink, started
from mobilenets.latency.package import BOOTSTRAP, OLDEST

PYTHON, PROGRAM = "MOBILENETS_SSH_PYTHON", "MOBILENETS_SSH"
TIMEOUT_S = 15


@dataclass(frozen=True, slots=True)
class Ssh:
    """A machine that `ssh` reaches without asking; keys, jumps and further options belong in `~/.ssh/config`.

    `MOBILENETS_SSH` names another program or options, such as `ssh -F work.config`.

    Attributes:
        host: `user@host`, or a name of the user's ssh configuration.
        port: None takes the configuration's.
        python: interpreter there.
    """

    host: str
    port: int | None = None
    python: str = "python3"
    remark: str = ""

    @property
    def text(self) -> str:
        """As the command line names it."""
        return f"ssh:{self.host}" + (f":{self.port}" if self.port else "")

    @contextmanager
    def connect(self) -> Iterator[RunnerLink]:
        """Log in and start a runner; it ends and removes its folder with the block, or when the connection breaks.

        Raises:
            MisuseError: no `ssh` on this machine.
            DeviceError: unreachable, refused, no Python, an old one, or no wheel of a runtime.
        """
        program = shlex.split(os.environ.get(PROGRAM) or "ssh")
        if shutil.which(program[0]) is None:
            raise MisuseError(f"device {self.text!r} needs the program `{program[0]}`, which is not on the path.")
        options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={TIMEOUT_S}", "-o", "ServerAliveInterval=15"]
        options += ["-p", str(self.port)] if self.port else []
        arguments = [*program, *options, "--", self.host, f'{self.python} -c "{BOOTSTRAP}"']
        with started(arguments, self.text, self.python, self._ended) as link:
            yield link

    def _ended(self, code: int, stderr: str) -> str:
        """Why the connection ended: ssh says 255 for its own failures, else it is the remote shell's code."""
        last = stderr.splitlines()[-1] if stderr else f"exit code {code}"
        if code == 255 and "ermission denied" in stderr:
            return (
                f"the key was refused ({last}). Passwords are not asked for: let `ssh {self._by_hand()}` log in "
                f"by key first (`ssh-copy-id {self._by_hand()}`)."
            )
        if code == 255 and "ost key verification failed" in stderr:
            return f"its host key is not known yet. Run `ssh {self._by_hand()}` once and accept it."
        if code == 255:
            return f"cannot be reached ({last}). Does `ssh {self._by_hand()}` work?"
        if code in (126, 127):
            wanted = ".".join(map(str, OLDEST))
            return (
                f"no {self.python} there ({last}). Install Python {wanted} or newer, or name the interpreter by "
                f"{PYTHON}, such as {PYTHON}=/opt/venv/bin/python."
            )
        return f"the runner ended ({last})."

    def _by_hand(self) -> str:
        return f"-p {self.port} {self.host}" if self.port else self.host


def parse(text: str) -> Ssh:
    """`[user@]host[:port]`, or `[user@][ipv6]:port`.

    Raises:
        MisuseError: no host, or a port that is no number from 1 to 65535.
    """
    address, port = text, ""
    if text.count(":") == 1 or "]:" in text:
        address, _, port = text.rpartition(":")
    address = address.replace("[", "").replace("]", "")
    if not address or address.endswith("@") or address.startswith("-") or address != address.strip():
        raise MisuseError(f"device 'ssh:{text}' names no host: expected ssh:user@host or ssh:user@host:port.")
    if (port or text.endswith(":")) and not (port.isdigit() and 1 <= int(port) <= 65535):
        raise MisuseError(f"device 'ssh:{text}': port {port!r} must be a number from 1 to 65535.")
    return Ssh(address, int(port) if port else None, os.environ.get(PYTHON) or "python3")
