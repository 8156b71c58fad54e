"""The browser device in a real Chromium with a real onnxruntime-web; its errors need neither."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from making import pixels, small
from mobilenets.errors import DeviceError, MisuseError, UnknownNameError
from mobilenets.latency import device
from mobilenets.latency.devices import browser
from mobilenets.latency.devices.browser import Browser
from mobilenets.latency.devices.renderer import Turn, between
from mobilenets.latency.devices.serving import serving
from mobilenets.latency.measure import Model, interleave, loaded
from mobilenets.onnx import random_weights, to_onnx
from mobilenets.preprocessing import Preprocessing
from mobilenets.runtime import open_artifact


@pytest.fixture(scope="module")
def _browser() -> None:
    try:
        browser.chromium()
        browser.onnxruntime_web()
    except MisuseError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = small("mobilenet_v3_small", 0.35)
    path = tmp_path_factory.mktemp("browser") / "m.onnx"
    path.write_bytes(to_onnx(network, random_weights(network), Preprocessing(64)).SerializeToString())
    return path


@pytest.mark.usefixtures("_browser")
def test_models_are_timed_in_turns_and_nothing_stays(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other tests have folders of theirs in the usual place
    models = [Model.of(artifact), Model.random(small("mobilenet_v1", 0.25))]
    with device("browser").connect() as link, loaded(link, models, threads=1) as timings:
        assert link.cores is not None and link.cores >= 1
        for _ in interleave(timings, rounds=2, limit_s=0.05):
            pass
        found = [timing.latency() for timing in timings]
    assert all(latency.median_ms > 0 and latency.runs >= 6 and len(latency.rounds_ms) == 2 for latency in found)
    assert all(latency.runtime.startswith("onnxruntime-web ") for latency in found)
    assert all(latency.runtime.endswith(" wasm") for latency in found)
    assert all(latency.device.startswith("Chrom") for latency in found)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_browser")
def test_it_computes_what_onnxruntime_computes(artifact: Path) -> None:
    images = pixels(9, 64)
    np.testing.assert_allclose(browser.run(artifact, images), open_artifact(artifact).run(images), atol=1e-5)


@pytest.mark.usefixtures("_browser")
def test_what_the_page_cannot_load(artifact: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(artifact.read_bytes()[:-5000])
    with device("browser").connect() as link:
        with pytest.raises(DeviceError, match="browser: "), loaded(link, [Model.of(cut)], threads=1):
            pass
        (tmp_path / "m.tflite").write_bytes(b"")
        with (
            pytest.raises(MisuseError, match=r"m\.tflite: the browser runs \.onnx files only"),
            loaded(link, [Model.of(tmp_path / "m.tflite")], threads=1),
        ):
            pass
        with loaded(link, [Model.of(artifact)], threads=1) as (timing,):
            assert timing.round(limit_s=0.01).median_ms > 0, "the page goes on"


@pytest.mark.usefixtures("_browser")
def test_a_page_that_hangs_is_ended(artifact: Path) -> None:
    with (
        pytest.raises(DeviceError, match=r"browser: the page hung: no answer in 3 s"),
        Browser(patience_s=3.0).connect() as link,
        loaded(link, [Model.of(artifact)], threads=1) as (timing,),
    ):
        timing.round(limit_s=0.0, warmup_s=600.0)


@pytest.mark.usefixtures("_browser")
def test_a_browser_that_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "chrome"
    broken.write_text("#!/bin/sh\necho cannot open display >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CHROME", str(broken))
    with (
        pytest.raises(DeviceError, match=r"the browser ended \(exit code 3\): cannot open display"),
        device("browser").connect(),
    ):
        pass


def test_the_busiest_page_tells_how_long_it_waited() -> None:
    before = {1: Turn(100, 10), 2: Turn(0, 0)}
    assert between(before, {1: Turn(110, 10), 2: Turn(60, 20), 3: Turn(999, 0)}) == (2, 0.25)
    assert between(before, {3: Turn(1, 1)}) is None
    assert between(before, before) is None


def test_no_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHROME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MisuseError, match=r"needs Chromium or Chrome: .*apt install chromium.*CHROME"):
        browser.chromium()
    monkeypatch.setenv("CHROME", "/no/such/chrome")
    with pytest.raises(MisuseError, match="CHROME names '/no/such/chrome'"):
        browser.chromium()


def test_no_onnxruntime_web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(browser.ORT_WEB, str(tmp_path))
    with pytest.raises(MisuseError) as caught:
        browser.onnxruntime_web()
    line = f"npm install --prefix {Path(sys.prefix, 'web')} onnxruntime-web@{browser.ORT_WEB_VERSION}"
    assert str(caught.value).endswith(line)
    assert str(tmp_path) in str(caught.value)


def test_backends() -> None:
    assert device("browser").text == device("browser:wasm").text == "browser"
    assert device("browser:webgpu").text == "browser:webgpu"
    with pytest.raises(UnknownNameError, match="Did you mean webgpu"):
        device("browser:webgl")


def test_the_server_gives_its_files_to_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>page")
    (tmp_path / "ort.wasm").write_bytes(b"wasm")
    (tmp_path / "secret").write_text("secret")
    ort = tmp_path / "ort"
    ort.mkdir()
    shutil.copy(tmp_path / "ort.wasm", ort)
    with serving(tmp_path / "page.html", ort) as server:
        root = server.address.removesuffix(server.path)
        with urllib.request.urlopen(server.address) as answer:
            assert answer.read() == b"<p>page"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        with urllib.request.urlopen(f"{root}/ort/ort.wasm") as answer:
            assert answer.headers["Content-Type"] == "application/wasm"
        for path in ("/", "/next", "/ort/../secret", "/ort/%2e%2e/secret", f"{server.path}files/m/none"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(root + path)
        post = urllib.request.Request(f"{server.address}reply", json.dumps({"a": 1}).encode())
        urllib.request.urlopen(post).close()
        assert server.replies.get(timeout=5) == {"a": 1}
