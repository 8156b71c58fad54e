"""onnxruntime-web in a headless Chromium on this machine: what a visitor of a web page would wait for."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import DeviceError, MisuseError, UnknownNameError
from mobilenets.latency import sensors
from mobilenets.latency.devices.renderer import Turn, between, turns
from mobilenets.latency.devices.serving import Server, serving

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ORT_WEB, ORT_WEB_VERSION = "MOBILENETS_ORT_WEB", "1.30.0"
INSIDE = Path("node_modules", "onnxruntime-web", "dist")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the sandbox does not start as root; the page is ours
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--disable-crash-reporter",
)
PAGE = Path(__file__).with_name("page.html")
START_S = 60.0

Provider = Literal["wasm", "webgpu"]


@dataclass(frozen=True, slots=True)
class Browser:
    """Headless Chromium with onnxruntime-web.

    Attributes:
        provider: `wasm` (the processor), or `webgpu`.
        patience_s: how long an answer may take beyond what was asked for, before the page counts as hung.
    """

    provider: Provider = "wasm"
    patience_s: float = 120.0

    @staticmethod
    def parse(text: str) -> Browser:
        """Of what stands behind `browser:`.

        Raises:
            UnknownNameError: neither `wasm` nor `webgpu`.
        """
        match text:
            case "" | "wasm":
                return Browser()
            case "webgpu":
                return Browser("webgpu")
            case _:
                raise UnknownNameError("browser backend", text, ("wasm", "webgpu"), hint="Known: wasm, webgpu.")

    @property
    def text(self) -> str:
        """As the command line names it."""
        return "browser" if self.provider == "wasm" else "browser:webgpu"

    @property
    def remark(self) -> str:
        """What a reader of its numbers should know."""
        if self.provider == "webgpu":
            return ""
        return "WebAssembly on the processor; --device browser:webgpu times WebGPU, or says why there is none."

    @contextmanager
    def connect(self) -> Iterator[BrowserLink]:
        """Serve the page and open it; browser, server and profile are gone when the block ends.

        Raises:
            MisuseError: no Chromium, or no onnxruntime-web.
            DeviceError: the browser does not come up, or has no WebGPU.
        """
        program, ort = chromium(), onnxruntime_web()
        with serving(PAGE, ort) as server, _opened(program, self.provider, server) as (process, stderr):
            yield BrowserLink(self, server, process, stderr)


class BrowserLink:
    """A `Link` to the page."""

    def __init__(self, browser: Browser, server: Server, process: subprocess.Popen[bytes], stderr: BinaryIO) -> None:
        self._browser, self._server, self._process, self._stderr = browser, server, process, stderr
        self._loads = 0
        said = self.ask({"do": "hello"})
        if said["missing"]:
            raise DeviceError(f"{browser.text}: no WebGPU here: {said['missing']}. --device browser times WebAssembly.")
        self.cores: int | None = int(said["cores"])
        self.name = f"{_version(process.args)} on {said['name'] or sensors.processor()}"
        version = f"onnxruntime-web {said['version']} {browser.provider}"
        self.runtimes: Mapping[str, str] = {"onnxruntime": version}

    def ask(self, command: Mapping[str, Any], payload: Sequence[bytes] = ()) -> dict[str, Any]:
        """Have the page obey a command.

        Raises:
            DeviceError: the page failed, hung, or the browser ended.
        """
        model = command.get("model", "")
        self._check(command)
        for (name, _), data in zip(command.get("files", ()), payload, strict=True):
            self._server.files[f"{model}/{name}"] = data
        before = turns(self._process.pid) if command["do"] == "time" else {}
        self._server.commands.put(command)
        patience_s = START_S if command["do"] == "hello" else self._browser.patience_s
        reply = self._wait(patience_s + 2 * command.get("limit_s", 0.0))
        for name, _ in command.get("files", ()):
            del self._server.files[f"{model}/{name}"]
        if "error" in reply:
            raise DeviceError(f"{self._browser.text}: {reply['error']}")
        match command["do"]:
            case "load":
                about = {"runtime": self.runtimes["onnxruntime"], "precision": _precision(payload[0])}
                self._loads += 1
                return reply | about
            case "time":
                return reply | self._shares(reply["times_ms"], before) | sensors.readings()
            case _:
                return reply

    def _shares(self, times_ms: Sequence[float], before: dict[int, Turn]) -> dict[str, Any]:
        """What a run worked, on average; peak memory of the page while it has held one model only."""
        found = between(before, turns(self._process.pid))
        if found is None:
            return {}
        process, waited = found
        peak = sensors.peak_bytes(str(process)) if self._loads == 1 else None
        # short runs are rarely interrupted and long ones always: the part that waited is of all runs, not of each
        work = sum(times_ms) * (1 - waited) / len(times_ms)
        return {"works_ms": [work] * len(times_ms), "peak_bytes": peak}

    def _check(self, command: Mapping[str, Any]) -> None:
        if command["do"] != "load":
            return
        name, threads = command["files"][0][0], command["threads"]
        if not name.endswith(".onnx"):
            raise MisuseError(f"{self._browser.text}: {name}: the browser runs .onnx files only (onnxruntime-web).")
        if command["runtime"] not in (None, "onnxruntime") or command["precision"] not in (None, "fp32"):
            raise MisuseError(f"{self._browser.text}: the browser has no runtime but onnxruntime-web, in fp32.")
        if self.cores is not None and threads > self.cores:
            raise MisuseError(f"{self._browser.text}: {threads} threads on {self.cores} cores would wait for ever.")

    def _wait(self, patience_s: float) -> dict[str, Any]:
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                return self._server.replies.get(timeout=0.2)
            if (code := self._process.poll()) is not None:
                self._stderr.seek(0)
                said = self._stderr.read().decode(errors="replace").strip().splitlines()
                last = said[-1] if said else "it said nothing"
                raise DeviceError(f"{self._browser.text}: the browser ended (exit code {code}): {last}")
        raise DeviceError(
            f"{self._browser.text}: the page hung: no answer in {patience_s:.0f} s; the browser was ended. With "
            "several threads that happens now and then: try --threads 1."
        )


def chromium() -> str:
    """The browser: the program that `CHROME` names, else one on the path.

    Raises:
        MisuseError: none is there.
    """
    chosen = os.environ.get("CHROME")
    if chosen:
        if shutil.which(chosen) is None:
            raise MisuseError(f"CHROME names {chosen!r}, which is no program here.")
        return chosen
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        raise MisuseError(
            f"device 'browser' needs Chromium or Chrome: none of {', '.join(CHROMIUM)} is on the path. Install one "
            "(Debian: apt install chromium), or set CHROME to its program."
        )
    return found


def onnxruntime_web(needed_by: str = "device 'browser'") -> Path:
    """The folder of onnxruntime-web's files.

    Args:
        needed_by: who is told to be without it.

    Raises:
        MisuseError: it is nowhere; the message carries the line that installs it.
    """
    chosen = os.environ.get(ORT_WEB)
    places = [Path(chosen)] if chosen else [Path(sys.prefix, "web") / INSIDE, INSIDE]
    for place in places:
        if (place / "ort.wasm.min.mjs").is_file():
            return place
    looked = " nor ".join(map(str, places))
    raise MisuseError(
        f"{needed_by} needs onnxruntime-web, which is not in {looked}: "
        f"npm install --prefix {Path(sys.prefix, 'web')} onnxruntime-web@{ORT_WEB_VERSION}"
    )


@contextmanager
def _opened(program: str, provider: Provider, server: Server) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO]]:
    """The browser on the server's page, in a process group of its own that ends with the block."""
    graphics = ["--disable-gpu"] if provider == "wasm" else ["--enable-unsafe-webgpu", "--enable-features=Vulkan"]
    with _profile() as profile:
        arguments = [program, *FLAGS, *graphics, f"--user-data-dir={profile}"]
        with tempfile.TemporaryFile() as stderr:
            process = subprocess.Popen(
                [*arguments, f"{server.address}?provider={provider}"],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                yield process, stderr
            finally:
                _end(process)


@contextmanager
def _profile() -> Iterator[str]:
    """A folder for the browser's profile; dying processes may write into it while it is being removed."""
    folder = tempfile.mkdtemp(prefix="mobilenets-")
    try:
        yield folder
    finally:
        for _ in range(20):
            shutil.rmtree(folder, ignore_errors=True)
            if not Path(folder).exists():
                break
            time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """A browser is a family of processes: all of them go."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _version(arguments: Any) -> str:
    """`Chromium 142`: the program's name and major version."""
    said = subprocess.run([arguments[0], "--version"], capture_output=True, text=True, check=False).stdout.split()
    number = next((word.partition(".")[0] for word in said if word[0].isdigit()), "")
    return f"{said[0] if said else Path(arguments[0]).name} {number}".strip()


def _precision(model: bytes) -> str:
    """What the file says of itself."""
    import onnx

    return next((p.value for p in onnx.load_from_string(model).metadata_props if p.key == "precision"), "fp32")


def run(path: str | Path, images: NDArray[np.uint8], *, browser: Browser = Browser()) -> NDArray[np.float32]:
    """Class probabilities (n, classes) of uint8 images (n, h, w, c), computed in the browser.

    Raises:
        MisuseError: no Chromium, no onnxruntime-web, or a file that is no .onnx.
        DeviceError: the browser or the page failed.
    """
    from mobilenets.latency.measure import Model, loaded, probabilities

    with browser.connect() as link, loaded(link, [Model.of(path)], threads=1) as (timing,):
        return probabilities(timing, images)
