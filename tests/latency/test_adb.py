"""The adb device against a stand-in for `adb`: the sequence of its commands and the words of its errors, no more."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from mobilenets.errors import DeviceError, MisuseError, UnknownNameError
from mobilenets.latency import device, time_artifact
from mobilenets.latency.devices.adb import program_arguments, times_ms

STAND_IN = """#!{python}
import pathlib, sys
log = pathlib.Path({log!r})
with log.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
line = sys.argv[-1]
said = pathlib.Path({said!r}).read_text()
if said.startswith("adb: ") or said.startswith("error: "):
    sys.stderr.write(said)
    sys.exit(1)
print({{"getprop ro.product.manufacturer": "Acme", "getprop ro.product.model": "Phone 3"}}.get(line, said))
"""

PERF_TEST = """Session creation time cost: 0.05 s
iteration:1,time_cost:0.0041
iteration:2,time_cost:0.0040
iteration:3,time_cost:0.0052
Total inference time cost: 0.0133 s
"""
BENCHMARK_MODEL = """INFO: Initialized session in 0.855ms.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450
INFO: Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
"""
EXECUTOR_RUNNER = """I 00:00:00.01 executor_runner.cpp:580] Iteration 1 of 2: 12.500000 ms
I 00:00:00.02 executor_runner.cpp:580] Iteration 2 of 2: 11.500000 ms
I 00:00:00.02 executor_runner.cpp:590] Model executed successfully 2 time(s) in 24.000000 ms.
"""


class Phone:
    def __init__(self, folder: Path) -> None:
        self.log, self.said, self.runner = folder / "log", folder / "said", folder / "onnxruntime_perf_test"
        self.said.write_text(PERF_TEST)
        self.runner.write_bytes(b"program")
        program = folder / "bin" / "adb"
        program.parent.mkdir()
        program.write_text(STAND_IN.format(python=sys.executable, log=str(self.log), said=str(self.said)))
        program.chmod(0o755)

    def commands(self) -> list[str]:
        text = re.sub(r"mobilenets-[0-9a-f]{8}", "FOLDER", self.log.read_text())
        return [re.sub(r"/m\d+\.onnx", "/MODEL.onnx", line) for line in text.splitlines()]


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Phone:
    made = Phone(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return made


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"model")
    return path


def test_push_run_read_remove(phone: Phone, artifact: Path) -> None:
    latency = time_artifact(device("adb:XYZ", runner=str(phone.runner)), artifact, threads=2)
    assert latency.device == "Acme Phone 3"
    assert latency.runtime == "onnxruntime (onnxruntime_perf_test)"
    assert (latency.median_ms, latency.min_ms, latency.runs) == (pytest.approx(4.1), pytest.approx(4.0), 15)
    commands = phone.commands()
    there = "/data/local/tmp/FOLDER"
    assert commands[:4] == [
        "-s XYZ shell getprop ro.product.manufacturer",
        "-s XYZ shell getprop ro.product.model",
        f"-s XYZ shell mkdir -p {there}",
        f"-s XYZ push {phone.runner} {there}/onnxruntime_perf_test",
    ]
    assert re.fullmatch(rf"-s XYZ push \S+/m\.onnx {there}/MODEL\.onnx", commands[5])
    run = f"-s XYZ shell cd {there} && ./onnxruntime_perf_test -I -v -e cpu -x 2 -y 1"
    assert commands[6] == f"{run} -m times -r 1 {there}/MODEL.onnx 2>&1"
    assert commands.count(f"{run} -m duration -t 1 {there}/MODEL.onnx 2>&1") == 5
    assert commands[-2:] == [f"-s XYZ shell rm -f {there}/MODEL.onnx", f"-s XYZ shell rm -rf {there}"]


def test_it_says_that_nobody_tried_it() -> None:
    assert "not been tried on a phone" in device("adb", runner="onnxruntime_perf_test").remark
    assert "one mean a round" in device("adb", runner="benchmark_model").remark


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("adb: no devices/emulators found", "USB debugging"),
        ("error: device unauthorized.", "Accept this computer's key"),
        ("adb: more than one device/emulator", "--device adb:SERIAL"),
        ("adb: device 'XYZ' not found", "`adb devices` lists"),
    ],
)
def test_a_phone_that_is_not_there(phone: Phone, said: str, words: str) -> None:
    phone.said.write_text(said)
    with pytest.raises(DeviceError) as caught, device("adb", runner=str(phone.runner)).connect():
        pass
    assert str(caught.value).startswith(f"adb: adb shell failed: {said}")
    assert words in str(caught.value)


def test_a_program_that_says_nothing_of_time(phone: Phone, artifact: Path) -> None:
    phone.said.write_text("Segmentation fault")
    with pytest.raises(DeviceError, match="no time that can be read; its last line: Segmentation fault"):
        time_artifact(device("adb", runner=str(phone.runner)), artifact)
    assert phone.commands()[-1] == "shell rm -rf /data/local/tmp/FOLDER"


def test_what_a_phone_cannot_do(phone: Phone, tmp_path: Path) -> None:
    with (
        pytest.raises(MisuseError, match=r"a phone has no Python.*--runner.*benchmark_model for \.tflite"),
        device("adb").connect(),
    ):
        pass
    with (
        pytest.raises(UnknownNameError, match="unknown benchmark program 'perf'"),
        device("adb", runner="bin/perf").connect(),
    ):
        pass
    (tmp_path / "m.tflite").write_bytes(b"")
    with pytest.raises(MisuseError, match=r"onnxruntime_perf_test runs \.onnx files, not m\.tflite"):
        time_artifact(device("adb", runner=str(phone.runner)), tmp_path / "m.tflite")
    with (
        pytest.raises(MisuseError, match="no such file here"),
        device("adb", runner="no/onnxruntime_perf_test").connect(),
    ):
        pass


def test_no_adb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MisuseError, match="needs the program `adb`"), device("adb").connect():
        pass


def test_what_the_programs_print_is_read() -> None:
    assert times_ms("onnxruntime_perf_test", PERF_TEST) == pytest.approx([4.1, 4.0, 5.2])
    assert times_ms("benchmark_model", BENCHMARK_MODEL) == pytest.approx([33.2094])
    newer = BENCHMARK_MODEL.replace("std=450", "std=450 p5=32700 median=33100 p95=33900")
    assert times_ms("benchmark_model", newer) == pytest.approx([33.1])
    assert times_ms("executor_runner", EXECUTOR_RUNNER) == [12.5, 11.5]
    older = EXECUTOR_RUNNER.splitlines()[-1]
    assert times_ms("executor_runner", older) == [12.0]


def test_how_the_programs_are_asked() -> None:
    assert program_arguments("benchmark_model", "m", 4, 0.5).startswith("--graph=m --num_threads=4 --num_runs=10")
    assert program_arguments("executor_runner", "m", 1, 0.0).endswith("--num_executions=1")


def test_a_runner_is_for_phones() -> None:
    with pytest.raises(MisuseError, match="--runner is for phones"):
        device("local", runner="benchmark_model")


@pytest.mark.parametrize(("text", "near"), [("locl", "local"), ("brwser", "browser"), ("sssh:pi@a", "ssh"), ("", "")])
def test_unknown_devices(text: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown device") as caught:
        device(text)
    assert near in "".join(caught.value.near)
    assert "ssh:user@host" in str(caught.value)
