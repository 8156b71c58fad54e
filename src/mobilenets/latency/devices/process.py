"""A runner at the other end of two pipes: what `local` and `ssh` share."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from mobilenets.errors import DeviceError
from mobilenets.latency.package import runner


class RunnerLink:
    """A `Link` to a process that runs `package.BOOTSTRAP`.

    Args:
        process: just started.
        text: the device's, for errors.
        python: interpreter there, for the line that installs something.
        stderr: what the process writes there.
        explain: why it ended, in words, of its exit code and stderr.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        text: str,
        python: str,
        stderr: BinaryIO,
        explain: Callable[[int, str], str],
    ) -> None:
        self._process, self._stderr, self._explain = process, stderr, explain
        self._text, self._python = text, python
        code = runner()
        self._send(str(len(code)).encode() + b"\n", [code])
        said = self.ask({"do": "hello"})
        self.name = str(said["name"])
        self.cores: int | None = said["cores"]
        versions: Mapping[str, str] = said["runtimes"]
        self.runtimes: Mapping[str, str] = {name: f"{name} {version}" for name, version in versions.items()}

    def ask(self, command: Mapping[str, Any], payload: Sequence[bytes] = ()) -> dict[str, Any]:
        """Send a command, wait for its answer.

        Raises:
            DeviceError: the connection broke, or the device answered with an error.
        """
        self._send(json.dumps(dict(command)).encode() + b"\n", payload)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DeviceError(f"{self._text}: {self._ended()}")
        try:
            reply: dict[str, Any] = json.loads(line)
        except ValueError:
            said = line.decode(errors="replace").strip()
            raise DeviceError(
                f"{self._text}: expected the runner's answer, got {said!r}. If that is from a login script, it must "
                "not print where nobody logs in by hand."
            ) from None
        if "error" in reply:
            raise DeviceError(f"{self._text}: {_failed(reply, self._python)}")
        return reply

    def _send(self, line: bytes, payload: Sequence[bytes]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # an answer may still be there that says why
            for part in (line, *payload):
                self._process.stdin.write(part)
            self._process.stdin.flush()

    def _ended(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        return self._explain(code, self._stderr.read().decode(errors="replace").strip())


def _failed(reply: Mapping[str, Any], python: str) -> str:
    """The device's error, with what to install where something is missing."""
    if "missing" not in reply:
        return str(reply["error"])
    return f"{reply['error']}: {python} -m pip install {reply['missing']}"


@contextmanager
def started(
    arguments: Sequence[str], text: str, python: str, explain: Callable[[int, str], str]
) -> Iterator[RunnerLink]:
    """Start a program that ends in a runner; when the block ends, so does it, and it tidies up."""
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )
        try:
            yield RunnerLink(process, text, python, stderr, explain)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close its input, which ends it after what it is doing; hurry it then, as it still removes its folder."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    for hurry in (process.terminate, process.kill):
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)
            return
        hurry()
    process.wait()
