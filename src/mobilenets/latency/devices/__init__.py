"""Devices behind one Protocol, one file each: this machine, one over ssh, a phone over adb, a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from mobilenets.errors import MisuseError, UnknownNameError

KINDS = ("local", "ssh", "adb", "browser")
EXAMPLES = "local, ssh:user@host, ssh:user@host:2222, adb, adb:SERIAL, browser, browser:webgpu"


class Link(Protocol):
    """An open connection to a device.

    Attributes:
        name: the machine, for table keys and reports.
        cores: of its processor; None where it does not say.
        runtimes: runtimes that are there, each with its version: `{"onnxruntime": "onnxruntime 1.22"}`.
    """

    name: str
    cores: int | None
    runtimes: Mapping[str, str]

    def ask(self, command: Mapping[str, Any], payload: Sequence[bytes] = ()) -> dict[str, Any]:
        """Send one of `runner.py`'s commands and the bytes of its files; wait for the answer.

        Raises:
            DeviceError: the connection broke, or the device answered with an error.
        """
        ...


class Device(Protocol):
    """A place where models can be timed.

    `text` is what the user calls it; `remark` is empty where there is nothing to say.
    """

    @property
    def text(self) -> str:
        """As the user names it."""
        ...

    @property
    def remark(self) -> str:
        """What a reader of its numbers should know."""
        ...

    def connect(self) -> AbstractContextManager[Link]:
        """Reach it; it is left as it was when the block ends.

        Raises:
            MisuseError: something is missing on this machine.
            DeviceError: it cannot be reached, or lacks something.
        """
        ...


def device(text: str, *, runner: str | None = None) -> Device:
    """The device that a text names: `local`, `ssh:user@host[:port]`, `adb[:serial]`, `browser[:webgpu]`.

    Args:
        text: the name.
        runner: for `adb`, the runtime's own benchmark program, here or on the phone.

    Raises:
        UnknownNameError: no such kind of device; near names are offered.
        MisuseError: a text that cannot be read.
    """
    kind, colon, rest = text.partition(":")
    if runner is not None and kind != "adb":
        raise MisuseError(f"--runner is for phones (--device adb): {text!r} brings its own.")
    match kind:
        case "local" if not colon:
            from mobilenets.latency.devices.local import Local

            return Local()
        case "ssh":
            from mobilenets.latency.devices.ssh import parse

            return parse(rest)
        case "adb":
            from mobilenets.latency.devices.adb import Adb

            return Adb(rest, runner)
        case "browser":
            from mobilenets.latency.devices.browser import Browser

            return Browser.parse(rest)
        case _:
            raise UnknownNameError("device", text, KINDS, hint=f"Known: {EXAMPLES}.")
