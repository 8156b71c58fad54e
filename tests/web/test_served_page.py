"""The page that `mobilenets serve` shows, in a real Chromium: the server's answers, and the browser's beside them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from visiting import answered, choose, drawn, look, trouble

from mobilenets.latency.devices.browser import ORT_WEB

pytest.importorskip("mobilenets.serve.app", reason="the server, or its extra `serve`, is not installed")


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`mobilenets serve` on a free port; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mobilenets", "serve", *arguments, "--port", "0", "--threads", "1"],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "400"} | environment,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"at (http://\S+)", line):
                yield found[1].rstrip("/"), process
                break
        else:
            pytest.fail("the server did not start")
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def address(files: dict[str, Path], runtime: None) -> Iterator[str]:
    with serving(*(str(files[name]) for name in ("small", "raw_boxes", "masks"))) as (address, _):
        yield address


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    yield context.new_page()
    context.close()
    assert asked and all(re.match(r"(blob:)?http://127\.0\.0\.1:", url) for url in asked), asked


def test_the_server_and_the_browser_say_the_same(page: Any, address: str, photo: Path) -> None:
    page.goto(address)
    page.wait_for_selector("#model option", state="attached")
    assert page.locator("#where option").all_inner_texts()[0] == "on the server"
    assert "is sent to this server" in page.inner_text("#place")
    look(page, photo)
    for model in ("small", "raw_boxes", "masks"):
        found = []
        for where in ("server", "wasm"):
            page.select_option("#where", where)
            choose(page, model)
            page.locator("#least").evaluate("(e) => { e.value = 30; e.oninput(); }")
            found.append((page.locator("#answer li").all_inner_texts(), drawn(page)))
        assert found[0][0] == found[1][0] != []
        if model == "small":
            assert found[0][1] == found[1][1], "the bare photo"


def test_a_token_is_asked_for(page: Any, files: dict[str, Path], photo: Path) -> None:
    with serving(str(files["small"]), MOBILENETS_TOKEN="open-sesame-open") as (address, _):
        page.goto(address)
        assert trouble(page).startswith("This server asks for a token.")
        page.get_by_label("Token").fill("open-sesame-open")
        page.get_by_role("button", name="Send").click()
        page.wait_for_selector("#model option", state="attached")
        look(page, photo)
        assert page.is_hidden("#trouble") and page.is_hidden("#token")


def test_a_photo_that_is_too_large_for_the_server_and_a_server_that_goes(
    page: Any, files: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    with serving(str(files["small"]), "--max-body", "0.001", **{ORT_WEB: str(tmp_path)}) as (address, process):
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        assert page.locator("#where option").all_inner_texts() == ["on the server"]
        assert "It was started without onnxruntime-web" in page.inner_text("#place")
        page.set_input_files("#file", photo)
        assert trouble(page).startswith("This picture is too large for the server.")
        process.terminate()
        process.wait(timeout=20)
        page.set_input_files("#file", photo)
        page.wait_for_selector("#trouble:has-text('The server does not answer.')")


def test_the_camera_is_sent_to_the_server(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("#model option", state="attached")
    page.click("#camera")
    answered(page)
    page.click("#camera")
    assert page.locator("#answer li").count() == 5
