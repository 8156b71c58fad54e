"""The static page in a real Chromium, under a path of a host: what a visitor does, and what the page answers."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from visiting import answered, choose, drawn, look, trouble

from browser import served
from mobilenets.data import decode
from mobilenets.heads import iou
from mobilenets.prediction import predict
from mobilenets.runtime import open_artifact

ASK = """async ([name, photo]) => {
  const { browserBackend } = await import(new URL("static/browser.js", document.baseURI).href);
  const { listModels } = await import(new URL("static/models.js", document.baseURI).href);
  const backend = (window.backend ??= browserBackend("wasm", () => ({})));
  const model = (await listModels()).find((model) => model.name === name);
  if (window.opened !== name) await backend.open(model);
  window.opened = name;
  const answer = await backend.ask(model, await (await fetch(photo)).blob());
  const text = (data) => Array.from(data, (number) => String.fromCharCode(48 + number)).join("");
  if (answer.mask) answer.mask.data = text(answer.mask.data);
  return answer;
}"""


@pytest.fixture(scope="module")
def address(host: Path) -> Iterator[str]:
    with served(host) as root:
        yield f"{root}/deep/er/"


@pytest.fixture(scope="module")
def window(chromium: Any, address: str) -> Iterator[Any]:
    """The page. Nothing may be asked of anybody else, and nothing may break."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    asked: list[str] = []
    broken: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto(address)
    yield page
    context.close()
    root = address.removesuffix("deep/er/")
    assert asked and [url for url in asked if not url.startswith(root)] == []
    assert broken == []


@pytest.fixture
def page(window: Any) -> Iterator[Any]:
    """The page with its first model, as a test before may have left it otherwise."""
    if window.input_value("#model") not in ("", "small"):
        choose(window, "small")
    yield window
    window.unroute_all()


def test_a_photo_is_answered_soon(page: Any, photo: Path, files: dict[str, Path]) -> None:
    begin = time.monotonic()
    page.reload()
    page.set_input_files("#file", photo)
    answered(page)
    took_s = time.monotonic() - begin
    print(f"first answer {took_s:.2f} s after opening")
    assert took_s < 30, "3 s where nothing else runs"
    expected = predict(files["small"], [photo])[0].top
    rows = [row.split("\n") for row in page.locator("#answer li").all_inner_texts()]
    assert [row[0] for row in rows] == [label.replace("_", " ") for label, _ in expected]
    assert page.inner_text("#headline") == rows[0][0]
    assert page.locator("#times dt").all_inner_texts() == ["decode", "inference", "total"]
    assert all(text.endswith(" ms") for text in page.locator("#times dd").all_inner_texts())
    assert page.inner_text("#place") == "The photo stays in this browser."
    assert page.locator("#where option").all_inner_texts() == ["in this browser"]
    spoken = page.text_content("#status")
    assert spoken.startswith(f"Most likely: {rows[0][0]} ") and rows[4][0] in spoken
    assert page.get_attribute("#picture", "aria-label") == f"scene.png: {rows[0][0]}"


def test_another_model_answers_about_the_same_photo(page: Any, photo: Path) -> None:
    look(page, photo)
    choose(page, "other")
    labels = {text.split("\n")[0] for text in page.locator("#answer li").all_inner_texts()}
    assert labels == {"left", "right"}


@pytest.mark.parametrize("name", ["boxes", "raw_boxes"])
def test_boxes_lie_over_the_photo(name: str, page: Any, photo: Path, files: dict[str, Path]) -> None:
    look(page, photo)
    choose(page, name)
    page.locator("#least").fill("95")
    assert page.inner_text("#headline") == "Nothing found" and page.locator("#answer li").count() == 0
    bare = drawn(page)
    page.locator("#least").fill("5")
    expected = predict(files[name], [photo], score=0.05)[0].detections
    assert expected
    rows = page.locator("#answer li").all_inner_texts()
    assert [row.split("\n")[0] for row in rows] == [found.label for found in expected[:20]]
    every = drawn(page)
    assert every != bare
    first = page.locator("#answer button").first
    first.press("Enter")
    assert first.get_attribute("aria-pressed") == "true"
    assert drawn(page) not in (bare, *([every] if len(rows) > 1 else []))
    assert page.evaluate("document.activeElement.dataset.key") == "0", "the keyboard stays where it was"


@pytest.mark.parametrize("name", ["masks", "raw_masks"])
def test_masks_lie_over_the_photo(name: str, page: Any, photo: Path, files: dict[str, Path]) -> None:
    look(page, photo)
    bare = drawn(page)
    choose(page, name)
    painted = drawn(page)
    assert painted != bare
    rows = [row.split("\n")[0] for row in page.locator("#answer li").all_inner_texts()]
    assert rows == [region.label for region in predict(files[name], [photo])[0].regions or ()]
    page.locator("#answer button").last.press("Space")
    assert drawn(page) != painted


def test_the_camera_is_followed_until_it_is_stopped(page: Any) -> None:
    page.click("#camera")
    page.wait_for_selector("#camera:text-is('Stop the camera')")
    answered(page)
    before = drawn(page)
    page.wait_for_timeout(100)
    assert drawn(page) != before, "Chromium's camera shows a clock"
    page.click("#camera")
    still = drawn(page)
    page.wait_for_timeout(100)
    assert drawn(page) == still
    assert page.inner_text("#camera") == "Use the camera"


def test_a_file_that_is_no_image(page: Any, photo: Path) -> None:
    page.set_input_files("#file", {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"nothing to see"})
    assert trouble(page) == "This file cannot be read as an image. Choose a photo: JPEG, PNG, WebP, GIF, BMP or AVIF."
    assert page.get_attribute("#trouble", "role") == "alert"
    look(page, photo)
    assert page.is_hidden("#trouble"), "the next photo is looked at"


def test_a_photo_that_is_too_large(page: Any, tmp_path: Path) -> None:
    Image.new("L", (10_001, 10_000)).save(tmp_path / "large.png")
    page.set_input_files("#file", tmp_path / "large.png")
    assert trouble(page).startswith("This picture is too large: 10001 × 10000 pixels.")


def test_a_model_that_does_not_load(page: Any, photo: Path) -> None:
    page.route("**/models/other/model.onnx", lambda route: route.fulfill(status=404))
    page.select_option("#model", "other")
    assert trouble(page).startswith("The model cannot be loaded: model.onnx does not come (404).")
    page.unroute("**/models/other/model.onnx")
    page.route("**/models/other/model.onnx", lambda route: route.fulfill(body=b"no model"))
    page.select_option("#model", "small")
    page.select_option("#model", "other")
    assert "WebAssembly cannot run this model: " in trouble(page)
    page.select_option("#model", "small")
    look(page, photo)
    assert page.is_hidden("#trouble")


def test_a_camera_that_is_refused(page: Any) -> None:
    refuse = "() => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {refuse}; }}")
    page.click("#camera")
    assert trouble(page).startswith("The camera was refused. Allow it in the browser's settings")


def test_a_host_that_is_gone(page: Any) -> None:
    page.route("**/models.json", lambda route: route.abort())
    page.reload()
    assert trouble(page).startswith("The page's files cannot be had.")
    page.unroute_all()
    page.reload()
    page.wait_for_selector("#model option", state="attached")


def test_photos_that_are_dropped_and_pasted(page: Any, photo: Path) -> None:
    give = """([bytes, kind, field]) => {
      const carried = new DataTransfer();
      const data = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt());
      carried.items.add(new File([data], `${kind}.png`, { type: "image/png" }));
      document.body.dispatchEvent(Object.assign(new (kind === "drop" ? DragEvent : ClipboardEvent)(
        kind, { bubbles: true, cancelable: true, [field]: carried })));
    }"""
    for kind, field in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate(give, [base64.b64encode(photo.read_bytes()).decode(), kind, field])
        page.wait_for_selector(f"#name:text-is('{kind}.png')")
        answered(page)


def test_all_of_it_is_reached_by_keyboard(page: Any) -> None:
    page.reload()
    page.wait_for_selector("#model option", state="attached")
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == ["model", "where", "file", "camera"]
    unnamed = """() => [...document.querySelectorAll("select, input, button, canvas")]
      .filter((e) => !e.labels?.length && !e.textContent.trim() && !e.ariaLabel).map((e) => e.id)"""
    assert page.evaluate(unnamed) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_by_day_and_night(scheme: str, page: Any, photo: Path, tmp_path: Path) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    look(page, photo)
    assert page.evaluate("document.documentElement.scrollWidth") == 360, "no scrolling sideways"
    page.screenshot(path=tmp_path / "page.png")
    page.set_viewport_size({"width": 1280, "height": 860})
    with Image.open(tmp_path / "page.png") as shot:
        ground = shot.convert("L").getpixel((2, 300))
    assert ground > 230 if scheme == "light" else ground < 40


def asked(page: Any, address: str, host: Path, name: str, photo: Path) -> dict[str, Any]:
    """The browser's own answer about a file on the host."""
    shutil.copyfile(photo, host / photo.name)
    answer: dict[str, Any] = page.evaluate(ASK, [name, f"{address.removesuffix('deep/er/')}{photo.name}"])
    return answer


def test_it_answers_as_predict_does(
    page: Any, address: str, host: Path, photos: list[Path], files: dict[str, Path], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photos[0]) as upright:
        upright.save(tmp_path / "turned.jpg", exif=exif, quality=90)
    Image.open(photos[1]).convert("RGB").resize((97, 411)).save(tmp_path / "tall.png")
    some = [*photos, tmp_path / "turned.jpg", tmp_path / "tall.png"]
    session = open_artifact(files["small"])
    for photo in some:
        (expected,) = session.run(
            decode.load_image(photo, session.preprocessing)[None]
        )  # decoded whole, as the page does
        top = asked(page, address, host, "small", photo)["top"]
        assert top[0]["label"] == session.classes[int(expected.argmax())]
        # JPEG decoders may differ by a level or two; where they do not, scores agree to 1e-5
        assert max(abs(one["score"] - expected[session.classes.index(one["label"])]) for one in top) < 0.01


def unpacked(photos: list[Path], folder: Path) -> list[Path]:
    """Photos as PNG, which `predict` never decodes smaller."""
    made = [folder / f"{photo.stem}.png" for photo in photos]
    for photo, path in zip(photos, made, strict=True):
        Image.open(photo).convert("RGB").save(path)
    return made


@pytest.mark.parametrize("name", ["boxes", "raw_boxes"])
def test_its_boxes_are_those_of_predict(
    name: str, page: Any, address: str, host: Path, photos: list[Path], files: dict[str, Path], tmp_path: Path
) -> None:
    some = unpacked(photos[:3], tmp_path)
    for photo, expected in zip(some, predict(files[name], some, score=0.05), strict=True):
        found = asked(page, address, host, name, photo)
        assert tuple(found["size"]) == expected.size
        sure = [each for each in expected.detections or () if each.score >= 0.3]
        for each in sure:
            same = [one for one in found["detections"] if one["label"] == each.label]
            overlaps = iou(np.array([each.box]), np.array([one["box"] for one in same]))[0]
            assert overlaps.max() > 0.9
            assert abs(same[int(overlaps.argmax())]["score"] - each.score) < 0.02


@pytest.mark.parametrize("name", ["masks", "raw_masks"])
def test_its_masks_are_those_of_predict(
    name: str, page: Any, address: str, host: Path, photos: list[Path], files: dict[str, Path], tmp_path: Path
) -> None:
    some = unpacked(photos[:3], tmp_path)
    for photo, expected in zip(some, predict(files[name], some), strict=True):
        mask = asked(page, address, host, name, photo)["mask"]
        whole = expected.mask()
        assert whole is not None and (mask["height"], mask["width"]) == whole.shape
        assert ((np.frombuffer(mask["data"].encode(), np.uint8) - 48).reshape(whole.shape) != whole).mean() < 0.01
