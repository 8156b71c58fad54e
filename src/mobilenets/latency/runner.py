"""What runs on a device: reads commands from stdin, loads exported files, times them, answers in JSON lines.

It imports nothing but the light rooms and, where a command asks for it, numpy and the artifact's runtime, so that it
can travel (`package.py`). A command is one JSON line, followed by the bytes of the files that it names:

    {"do": "hello"}
    {"do": "load", "model": "a", "process": "a", "files": [["model.onnx", 1234]], "threads": 1, ...}
    {"do": "time", "model": "a", "runs": 50, "limit_s": 2.0, "warmup_s": 0.1, "least": 10}
    {"do": "run", "model": "a", "files": [["images", 150528]], "shape": [1, 224, 224, 3]}
    {"do": "drop", "model": "a"}

Each gets one JSON line back, with `error` where it failed. Models with the same `process` share one; another one has
its own, so that peak memory is the model's.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from mobilenets.errors import MissingExtraError, MobileNetsError
from mobilenets.latency import sensors

WHEELS = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai-edge-litert",
    "executorch": "executorch",
    "pytorch": "torch",
}
"""Runtime -> the wheel that brings it."""

Reply = dict[str, Any]


def time_call(
    call: Callable[[], object], *, runs: int = 50, warmup_s: float = 0.1, limit_s: float = 2.0, least: int = 10
) -> list[float]:
    """Milliseconds of repeated calls; see `time_runs`."""
    return [wall for wall, _ in time_runs(call, runs=runs, warmup_s=warmup_s, limit_s=limit_s, least=least)]


def time_runs(
    call: Callable[[], object], *, runs: int, warmup_s: float, limit_s: float, least: int
) -> list[tuple[float, float]]:
    """Milliseconds of repeated calls, by the clock and of this process's work.

    Timed after `warmup_s` seconds (and at least half of `least` calls) of warming up. At least `least` calls
    are timed (if `runs` are as many); beyond those, none starts after `limit_s` seconds.
    """
    start, calls = time.perf_counter(), 0
    while calls < least // 2 or time.perf_counter() - start < warmup_s:
        call()
        calls += 1
    times: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(times) < runs and (len(times) < least or time.perf_counter() - begin < limit_s):
        before, worked = time.perf_counter(), time.process_time()
        call()
        wall = time.perf_counter() - before
        times.append((wall * 1e3, (time.process_time() - worked) * 1e3))
    return times


def serve(folder: Path, arguments: list[str]) -> None:
    """Answer commands until stdin ends; each process of models is a child of this one. Files lie in `folder`."""
    # a lost connection must not leave the folder behind
    for name in ("SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(1))
    workers: dict[str, subprocess.Popen[bytes]] = {}
    owners: dict[str, str] = {}
    try:
        while line := sys.stdin.buffer.readline():
            command = json.loads(line)
            payload = [sys.stdin.buffer.read(size) for _, size in command.get("files", ())]
            _answer(sys.stdout.buffer, _relay(command, payload, folder, arguments, workers, owners))
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # whoever asked is gone
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()


def _relay(
    command: Reply,
    payload: list[bytes],
    folder: Path,
    arguments: list[str],
    workers: dict[str, subprocess.Popen[bytes]],
    owners: dict[str, str],
) -> Reply:
    """Pass a command on to the process that its model lives in; a process is started by its first model."""
    if command["do"] == "hello":
        return _hello()
    model = command["model"]
    if command["do"] == "load":
        owners[model] = command["process"]
        if command["process"] not in workers:
            workers[command["process"]] = subprocess.Popen(
                [*arguments, "worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
    place = folder / model
    worker = workers[owners[model]]
    assert worker.stdin is not None and worker.stdout is not None
    try:
        for (name, _), data in zip(command.get("files", ()), payload, strict=True):
            place.mkdir(exist_ok=True)
            (place / name).write_bytes(data)
        worker.stdin.write(json.dumps({**command, "place": str(place)}).encode() + b"\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
    except OSError as error:
        return {"error": f"{error.strerror or error}: {error.filename or place}"}
    if command["do"] == "drop":
        shutil.rmtree(place, ignore_errors=True)
    if line:
        reply: Reply = json.loads(line)
        return reply
    code = workers.pop(owners[model]).wait()
    return {"error": f"the process that ran it died ({_cause(code)})"}


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return name + (": out of memory, most likely" if name == "SIGKILL" else "")


def _hello() -> Reply:
    versions = {}
    for runtime, wheel in WHEELS.items():
        try:
            versions[runtime] = metadata.version(wheel)
        except metadata.PackageNotFoundError:
            continue
    return {
        "name": sensors.processor(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "runtimes": versions,
    }


def work() -> None:
    """One process of models: commands from stdin as `serve` passes them on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that asks decides when to end
    # runtimes print: what they print must not stand between the answers
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sessions: dict[str, Any] = {}
    try:
        for line in sys.stdin.buffer:
            _answer(out, _obey(json.loads(line), sessions))
    except BrokenPipeError:
        pass


def _obey(command: Reply, sessions: dict[str, Any]) -> Reply:
    try:
        match command["do"]:
            case "load":
                return _load(command, sessions)
            case "time":
                return _time(command, sessions[command["model"]])
            case "run":
                return _run(command, sessions[command["model"]])
            case _:
                sessions.pop(command["model"], None)
                return {}
    except ImportError as error:
        return _missing(command, error)
    except MobileNetsError as error:
        if isinstance(error, MissingExtraError) or isinstance(error.__cause__, ImportError):
            return _missing(command, error.__cause__)
        return {"error": str(error).replace(f"{command['place']}{os.sep}", "")}
    except Exception as error:  # whatever a runtime raises: it belongs to the one who asked
        return {"error": f"{type(error).__name__}: {error}"}


def _missing(command: Reply, error: BaseException | None) -> Reply:
    """What is not installed, and the wheels that a load needs."""
    runtime = command["runtime"]
    what = "numpy" if getattr(error, "name", "") == "numpy" else runtime
    return {"error": f"{what} is not installed there", "missing": f"numpy {WHEELS[runtime]}"}


def _load(command: Reply, sessions: dict[str, Any]) -> Reply:
    from mobilenets.runtime import open_artifact

    path = Path(command["place"]) / command["files"][0][0]
    begin = time.perf_counter()
    session = open_artifact(
        path, threads=command["threads"], runtime=command["runtime"], precision=command["precision"]
    )
    loaded = time.perf_counter()
    session.outputs(_image(session))
    first = time.perf_counter()
    sessions[command["model"]] = session
    return {
        "load_ms": (loaded - begin) * 1e3,
        "first_ms": (first - loaded) * 1e3,
        "runtime": f"{session.runtime} {session.version}",
        "precision": session.precision,
    }


def _image(session: Any) -> Any:
    """One random image as the artifact takes it."""
    import numpy as np

    size, channels = session.preprocessing.resolution, session.preprocessing.channels
    return np.random.default_rng(0).integers(0, 256, (1, size, size, channels), dtype=np.uint8)


def _time(command: Reply, session: Any) -> Reply:
    image = _image(session)
    times = time_runs(
        lambda: session.outputs(image),
        runs=command["runs"],
        warmup_s=command["warmup_s"],
        limit_s=command["limit_s"],
        least=command["least"],
    )
    walls, works = zip(*times, strict=True)
    return {"times_ms": walls, "works_ms": works, "peak_bytes": sensors.peak_bytes(), **sensors.readings()}


def _run(command: Reply, session: Any) -> Reply:
    import numpy as np

    data = (Path(command["place"]) / command["files"][0][0]).read_bytes()
    found = session.outputs(np.frombuffer(data, np.uint8).reshape(command["shape"]))
    return {
        "outputs": {name: {"shape": value.shape, "values": value.ravel().tolist()} for name, value in found.items()}
    }


def _answer(out: BinaryIO, reply: Reply) -> None:
    out.write(json.dumps(reply).encode() + b"\n")
    out.flush()


def main(arguments: list[str]) -> None:
    """`worker` is a process of models; without it, the one that answers, with a folder of its own."""
    if arguments == ["worker"]:
        work()
        return
    with tempfile.TemporaryDirectory(prefix="mobilenets-") as folder:
        serve(Path(folder), [sys.executable, sys.argv[0]])
