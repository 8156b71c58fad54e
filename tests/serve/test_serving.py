"""A server under load, stopping, measured, alone in its process."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Client, Running, process, running

from mobilenets.cli import _run
from mobilenets.errors import MisuseError
from mobilenets.serve.models import open_models
from mobilenets.serve.settings import Settings, token_from

PREDICT = "/v1/models/labels:predict"


class Gate:
    """A predictor whose answers wait until the test lets them through; everything else is the real one's."""

    def __init__(self, predictor: Any) -> None:
        self._predictor, self.open, self.entered = predictor, threading.Event(), threading.Semaphore(0)
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)

    def outputs(self, images: np.ndarray) -> Any:
        self.sizes.append(len(images))
        self.entered.release()
        assert self.open.wait(30)
        return self._predictor.outputs(images)


def gated(monkeypatch: pytest.MonkeyPatch) -> list[Gate]:
    """The gates of models that are opened from now on, which stand open."""
    from mobilenets.serve import models

    gates: list[Gate] = []
    real = models.open_model

    def opened(*arguments: Any, **named: Any) -> Any:
        gates.append(Gate(real(*arguments, **named)))
        gates[-1].open.set()
        return gates[-1]

    monkeypatch.setattr(models, "open_model", opened)
    return gates


def under_way(server: Running, count: int) -> None:
    """Wait until so many requests are being answered."""
    until = time.monotonic() + 20
    while server.service.under_way != count:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_waiting_requests_go_together_and_too_many_are_refused(
    files: Any, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = gated(monkeypatch)
    data = pictures[0].read_bytes()
    with running({"labels": files["labels"]}, Settings(threads=1, max_batch=4, queue=7)) as server:
        (gate,) = gates
        gate.open.clear()
        gate.sizes.clear()
        while gate.entered.acquire(blocking=False):  # the run that warms up
            pass
        with ThreadPoolExecutor(7) as pool:
            first = pool.submit(server.client.post, PREDICT, data)
            assert gate.entered.acquire(timeout=20)
            rest = [pool.submit(server.client.post, PREDICT, data) for _ in range(6)]
            under_way(server, 7)
            refused = server.client.post(PREDICT, data)
            assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "busy", "1")
            waiting = server.service._batchers["labels"]
            until = time.monotonic() + 20
            while waiting.length < 6:
                assert time.monotonic() < until
                time.sleep(0.005)
            assert b'mobilenets_queue_images{model="labels"} 6.0' in server.client.get("/metrics").body
            gate.open.set()
            answers = [job.result() for job in (first, *rest)]
        assert gate.sizes == [1, 4, 2]
        assert [answer.status for answer in answers] == [200] * 7
        assert sorted(answer.json()["timing"]["batch"] for answer in answers) == [1, 2, 2, 4, 4, 4, 4]


def test_what_takes_too_long_or_was_left_is_dropped_from_the_queue(
    files: Any, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = gated(monkeypatch)
    data = pictures[0].read_bytes()
    with running({"labels": files["labels"]}, Settings(threads=1, timeout_s=1.5)) as server:
        (gate,) = gates
        gate.open.clear()
        gate.sizes.clear()
        while gate.entered.acquire(blocking=False):
            pass
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(server.client.post, PREDICT, data)
            assert gate.entered.acquire(timeout=20)
            late = pool.submit(server.client.post, PREDICT, data)
            leaver = http.client.HTTPConnection(server.client.host)
            leaver.request("POST", PREDICT, data)
            under_way(server, 3)
            leaver.close()
            for job in (first, late):
                answer = job.result()
                assert (answer.status, answer.code) == (503, "timeout")
            under_way(server, 0)
        gate.open.set()
        assert server.client.post(PREDICT, data).status == 200
        assert gate.sizes == [1, 1]  # those who left were not asked about


def test_stopping_answers_what_is_under_way(files: Any, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    gates = gated(monkeypatch)
    data = pictures[0].read_bytes()
    with running({"labels": files["labels"]}, Settings(threads=1)) as server:
        (gate,) = gates
        while gate.entered.acquire(blocking=False):
            pass
        gate.open.clear()
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(server.client.post, PREDICT, data)
            assert gate.entered.acquire(timeout=20)
            server.call(server.server.drain)
            until = time.monotonic() + 20
            while server.client.get("/readyz").status != 503:
                assert time.monotonic() < until
            assert server.client.get("/healthz").status == 200
            late = server.client.post(PREDICT, data)
            assert (late.status, late.code) == (503, "stopping")
            gate.open.set()
            assert job.result().status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_process_well(files: Any, pictures: list[Path], number: signal.Signals) -> None:
    with process(str(files["labels"]), "--threads", "1") as (child, address):
        client = Client(address)
        assert client.post(PREDICT, pictures[0].read_bytes()).status == 200
        idle = http.client.HTTPConnection(client.host)
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        child.send_signal(number)
        assert child.wait(60) == 0
        assert child.stderr is not None and child.stderr.read() == ""


def test_requests_are_counted(served: Running, pictures: list[Path]) -> None:
    def value(name: str) -> float:
        lines = served.client.get("/metrics").body.decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)

    good, bad = (f'mobilenets_requests_total{{model="boxes",status="{status}"}}' for status in (200, 415))
    phase = 'mobilenets_phase_seconds_count{model="boxes",phase="infer"}'
    before = [value(each) for each in (good, bad, phase)]
    assert served.client.post("/v1/models/boxes:predict", pictures[0].read_bytes()).status == 200
    assert served.client.post("/v1/models/boxes:predict", b"text").status == 415
    assert [value(each) for each in (good, bad, phase)] == [each + 1 for each in before]
    assert value('mobilenets_requests_under_way{model="boxes"}') == 0
    assert value('mobilenets_requests_total{model="nobody') == 0


def test_pages_are_kept_safe(client: Client) -> None:
    headers = client.get("/readyz").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "'wasm-unsafe-eval'" in headers["content-security-policy"]
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["x-content-type-options"] == "nosniff"


def test_torch_is_not_loaded_for_exported_files(files: Any) -> None:
    code = f"""
import sys
from mobilenets.serve.app import create_app
from mobilenets.serve.models import open_models
from mobilenets.serve.settings import Settings
from mobilenets.serve import running
import mobilenets.cli.serve
create_app(open_models([{str(files["boxes"])!r}], Settings(threads=1)), Settings())
print([name for name in ("torch", "torchvision", "matplotlib") if name in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"


def test_models_are_named(files: Any, tmp_path: Path) -> None:
    settings = Settings(threads=1)
    labels = files["labels"]
    assert list(open_models([str(labels), f"other={labels}"], settings)) == ["labels", "other"]
    for named, text in (
        ([str(labels), str(labels)], "two models are named 'labels'"),
        ([], "no models given"),
        ([f"a/b={labels}"], "cannot be a model's name"),
        ([f"={labels}"], "cannot be a model's name"),
        (["gone.onnx"], "no such file: gone.onnx"),
    ):
        with pytest.raises(MisuseError, match=text):
            open_models(named, settings)


def test_misuse_is_told(files: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = str(files["labels"])
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, text in (
            ([file, "--port", port], f"cannot listen on 127.0.0.1:{port}: Address already in use"),
            ([file, "--port", "70000"], "--port (=70000) must be from 0 to 65535"),
            ([file, "--max-batch", "0"], "`max_batch` (=0) must be at least 1"),
            ([file, "--max-body", "0"], "--max-body (=0) must be above 0"),
            ([file, "--timeout-s", "nan"], "`timeout_s` (=nan) must be above 0"),
            ([file, "--token-file", str(tmp_path / "gone")], "cannot be read"),
            ([file, "--token-file", str(empty)], "is empty"),
            ([], "no models given"),
        ):
            assert _run(["serve", *arguments]) == 2
            assert text in capfd.readouterr().err


def test_tokens_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(" abc\n")
    assert token_from(file) == "abc"
    monkeypatch.setenv("MOBILENETS_TOKEN", "def")
    assert token_from(None) == "def"
    monkeypatch.delenv("MOBILENETS_TOKEN")
    assert token_from(None) is None
    file.write_text("a b")
    with pytest.raises(MisuseError, match="one word of printable ASCII"):
        token_from(file)


def test_a_missing_extra_is_told_with_its_line(files: Any) -> None:
    code = f"""
import sys
sys.modules["fastapi"] = None
from mobilenets.cli import _run
sys.exit(_run(["serve", {str(files["labels"])!r}]))
"""
    told = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert told.returncode == 2
    assert "`mobilenets serve` needs fastapi, which is not installed: pip install 'mobilenets[serve]'" in told.stderr


def test_openapi_describes_it(client: Client) -> None:
    described = client.get("/openapi.json").json()
    predict = described["paths"]["/v1/models/{name}:predict"]["post"]
    assert {"200", "400", "401", "404", "413", "415", "422", "429", "503"} <= set(predict["responses"])
    assert set(predict["requestBody"]["content"]) == {
        "application/octet-stream", "image/*", "multipart/form-data", "application/json",
    }  # fmt: skip
    references = [part.partition('"')[0] for part in json.dumps(described).split('"#/components/schemas/')[1:]]
    assert set(references) <= set(described["components"]["schemas"])
