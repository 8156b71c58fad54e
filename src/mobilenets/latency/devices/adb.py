"""A phone over `adb`, which has no Python: the runtime's own benchmark program is pushed, run and read.

Written after the programs' sources and public logs. It has not been run on a phone by this project; its tests check
the sequence of commands and the words of its errors against a stand-in for `adb`.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mobilenets.errors import DeviceError, MisuseError, UnknownNameError

FOLDER = "/data/local/tmp"
"""Where an Android shell may write and run programs."""
SHORT_S, LONG_S = 30.0, 600.0
PROGRAMS = {
    "onnxruntime_perf_test": ".onnx",
    "benchmark_model": ".tflite",
    "executor_runner": ".pte",
}
"""Benchmark program -> the files that it runs."""
RUNTIMES = {"onnxruntime_perf_test": "onnxruntime", "benchmark_model": "litert", "executor_runner": "executorch"}

Program = Literal["onnxruntime_perf_test", "benchmark_model", "executor_runner"]


@dataclass(frozen=True, slots=True)
class Adb:
    """A phone.

    Attributes:
        serial: as `adb devices` lists it; empty where only one is connected.
        runner: the benchmark program: a file here, or an absolute path on the phone that is no file here.
    """

    serial: str = ""
    runner: str | None = None

    @property
    def text(self) -> str:
        """As the command line names it."""
        return f"adb:{self.serial}" if self.serial else "adb"

    @property
    def remark(self) -> str:
        """What a reader of its numbers should know."""
        mean = " benchmark_model tells one mean a round: median and percentiles are over rounds."
        return "This way of measuring has not been tried on a phone by the project: check one number by hand." + (
            mean if self.runner and Path(self.runner).name.startswith("benchmark_model") else ""
        )

    @contextmanager
    def connect(self) -> Iterator[AdbLink]:
        """Make a folder on the phone and push the program; the folder is removed when the block ends.

        Raises:
            MisuseError: no `adb` here, or no program named.
            DeviceError: no such phone, or it does not let us.
        """
        if shutil.which("adb") is None:
            raise MisuseError(
                f"device {self.text!r} needs the program `adb` (Android's platform-tools), which is not on the path."
            )
        program = self._program()
        link = AdbLink(self, program, f"{FOLDER}/mobilenets-{secrets.token_hex(4)}")
        try:
            link.begin()
            yield link
        finally:
            with suppress(DeviceError):
                link.shell(f"rm -rf {link.folder}")

    def _program(self) -> Program:
        known = ", ".join(f"{name} for {suffix}" for name, suffix in PROGRAMS.items())
        if self.runner is None:
            raise MisuseError(
                f"device {self.text!r}: a phone has no Python, so the runtime's own benchmark program, built for it, "
                f"must be named: --runner PATH/TO/PROGRAM, here or on the phone. Known: {known}."
            )
        name = Path(self.runner).name
        found = next((program for program in PROGRAMS if name.startswith(program)), None)
        match found:
            case "onnxruntime_perf_test" | "benchmark_model" | "executor_runner":
                return found
            case _:
                raise UnknownNameError("benchmark program", name, PROGRAMS, hint=f"Known: {known}.")


@dataclass
class AdbLink:
    """A `Link` to a phone; a round is one run of the program."""

    device: Adb
    program: Program
    folder: str
    name: str = ""
    cores: int | None = None
    runtimes: Mapping[str, str] = field(default_factory=dict)
    loaded: dict[str, tuple[str, int]] = field(default_factory=dict)

    def begin(self) -> None:
        """Look who is there; push the program."""
        asked = [self.shell(f"getprop ro.product.{what}").strip() for what in ("manufacturer", "model")]
        self.name = " ".join(asked) or self.device.text
        self.runtimes = {RUNTIMES[self.program]: f"{RUNTIMES[self.program]} ({self.program})"}
        self.shell(f"mkdir -p {self.folder}")
        assert self.device.runner is not None
        if Path(self.device.runner).is_file():
            self.call("push", self.device.runner, f"{self.folder}/{self.program}", limit_s=LONG_S)
        elif self.device.runner.startswith("/"):
            self.shell(f"cp {shlex.quote(self.device.runner)} {self.folder}/{self.program}")
        else:
            raise MisuseError(f"--runner {self.device.runner}: no such file here.")
        self.shell(f"chmod 755 {self.folder}/{self.program}")

    def ask(self, command: Mapping[str, Any], payload: Sequence[bytes] = ()) -> dict[str, Any]:
        """Obey one of `runner.py`'s commands as far as the program can.

        Raises:
            MisuseError: a file that the program does not run, or something else than timing.
            DeviceError: the program failed, or said nothing that can be read.
        """
        match command["do"]:
            case "load":
                return self._load(command, payload)
            case "time":
                return self._time(command)
            case "drop":
                path, _ = self.loaded.pop(command["model"])
                self.shell(f"rm -f {path}")
                return {}
            case _:
                raise MisuseError(f"{self.device.text}: {self.program} only times models.")

    def _load(self, command: Mapping[str, Any], payload: Sequence[bytes]) -> dict[str, Any]:
        name, suffix = command["files"][0][0], PROGRAMS[self.program]
        if not name.endswith(suffix):
            raise MisuseError(f"{self.device.text}: {self.program} runs {suffix} files, not {name}.")
        if command["runtime"] not in (None, RUNTIMES[self.program]) or command["precision"] not in (None, "fp32"):
            raise MisuseError(f"{self.device.text}: {self.program} is {RUNTIMES[self.program]}, in fp32.")
        path = f"{self.folder}/{command['model']}{suffix}"
        with tempfile.TemporaryDirectory() as here:
            local = Path(here, name)
            local.write_bytes(payload[0])
            self.call("push", str(local), path, limit_s=LONG_S)
        self.loaded[command["model"]] = path, command["threads"]
        first = self._run(path, command["threads"], 0.0)
        # what the file says of itself is not asked: the programs do not read our metadata
        runtime = self.runtimes[RUNTIMES[self.program]]
        return {"load_ms": None, "first_ms": first[0], "runtime": runtime, "precision": "as exported"}

    def _time(self, command: Mapping[str, Any]) -> dict[str, Any]:
        path, threads = self.loaded[command["model"]]
        times = self._run(path, threads, command["limit_s"])
        return {"times_ms": times, "peak_bytes": None, **self._readings()}

    def _readings(self) -> dict[str, float | None]:
        """Load from the phone; its thermal zones are rarely open to the shell."""
        with suppress(DeviceError, ValueError, IndexError):
            return {
                "temperature_c": None,
                "clock_mhz": None,
                "load_average": float(self.shell("cat /proc/loadavg").split()[0]),
            }
        return {"temperature_c": None, "clock_mhz": None, "load_average": None}

    def _run(self, path: str, threads: int, seconds: float) -> list[float]:
        arguments = program_arguments(self.program, path, threads, seconds)
        said = self.shell(f"cd {self.folder} && ./{self.program} {arguments} 2>&1", limit_s=LONG_S)
        return times_ms(self.program, said)

    def shell(self, line: str, *, limit_s: float = SHORT_S) -> str:
        """Run a line on the phone.

        Raises:
            DeviceError: it failed.
        """
        return self.call("shell", line, limit_s=limit_s)

    def call(self, *arguments: str, limit_s: float) -> str:
        """Run `adb`.

        Raises:
            DeviceError: it failed, or took too long.
        """
        which = ["-s", self.device.serial] if self.device.serial else []
        try:
            done = subprocess.run(
                ["adb", *which, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit_s,
                check=False,
                env={**os.environ},
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(f"{self.device.text}: no answer in {limit_s:.0f} s to adb {arguments[0]}.") from None
        if done.returncode:
            raise DeviceError(self._failed(arguments, (done.stderr.strip() or done.stdout.strip())))
        return done.stdout

    def _failed(self, arguments: Sequence[str], said: str) -> str:
        last = said.splitlines()[-1] if said else "it said nothing"
        text = f"{self.device.text}: adb {arguments[0]} failed: {last}."
        if "unauthorized" in said:
            return f"{text} Accept this computer's key on the phone's screen."
        if "more than one device" in said:
            return f"{text} Name one: --device adb:SERIAL; `adb devices` lists them."
        if "no devices" in said or "not found" in said:
            return f"{text} Is it connected, with USB debugging on? `adb devices` lists what is."
        return text


def program_arguments(program: Program, path: str, threads: int, seconds: float) -> str:
    """How each program is asked to run a model for a while; none at all is one run."""
    match program:
        case "onnxruntime_perf_test":
            amount = f"-m duration -t {max(1, round(seconds))}" if seconds else "-m times -r 1"
            return f"-I -v -e cpu -x {threads} -y 1 {amount} {path}"
        case "benchmark_model":
            least = "--num_runs=10" if seconds else "--num_runs=1"
            return f"--graph={path} --num_threads={threads} {least} --min_secs={seconds:g} --warmup_min_secs=0.1"
        case "executor_runner":
            # it takes a number of runs, not a time: ten a second's worth is what a slow model can bear
            return f"--model_path={path} --cpu_threads={threads} --num_executions={max(1, round(10 * seconds))}"


def times_ms(program: Program, said: str) -> list[float]:
    """Milliseconds of each run that a program prints; of `benchmark_model` its one median, or mean where it has none.

    Raises:
        DeviceError: nothing that can be read.
    """
    match program:
        case "onnxruntime_perf_test":
            found = [1e3 * float(v) for v in re.findall(r"iteration:\d+,time_cost:([\d.e+-]+)", said)]
        case "benchmark_model":
            # two such lines: warming up, then the runs
            found = [float(v) / 1e3 for v in re.findall(r"count=\d+ .*?\b(?:median|avg)=([\d.e+]+)", said)[-1:]]
            median = re.findall(r"count=\d+ .*?\bmedian=([\d.e+]+)", said)[-1:]
            found = [float(v) / 1e3 for v in median] or found
        case "executor_runner":
            found = [float(v) for v in re.findall(r"Iteration \d+ of \d+: ([\d.]+) ms", said)]
            whole = re.search(r"executed successfully (\d+) time\(s\) in ([\d.]+) ms", said)
            found = found or ([float(whole[2]) / int(whole[1])] if whole else [])
    if not found:
        last = said.strip().splitlines()[-1] if said.strip() else "nothing"
        raise DeviceError(f"{program} printed no time that can be read; its last line: {last}")
    return found
