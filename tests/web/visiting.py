"""What a visitor of the page does, waiting for what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DRAWN = """() => {
  const { width, height } = document.getElementById("picture");
  const { data } = document.getElementById("picture").getContext("2d").getImageData(0, 0, width, height);
  return new Uint32Array(data.buffer).reduce((sum, value) => (sum * 31 + value) | 0, 0);
}"""


def answered(page: Any) -> None:
    page.wait_for_selector("#times dd", timeout=60_000)


def look(page: Any, photo: Path) -> None:
    """Another photo, until its answer is there."""
    page.evaluate("document.getElementById('times').replaceChildren()")
    page.set_input_files("#file", photo)
    answered(page)


def choose(page: Any, model: str) -> None:
    """Another model, until its answer about the photo is there."""
    page.select_option("#model", model)  # the answer before is gone at once
    if page.inner_text("#name") and page.is_visible("#picture"):
        answered(page)


def drawn(page: Any) -> int:
    """A checksum of the picture's pixels."""
    found: int = page.evaluate(DRAWN)
    return found


def trouble(page: Any) -> str:
    page.wait_for_selector("#trouble", state="visible", timeout=30_000)
    text: str = page.inner_text("#trouble")
    return text.replace("\n", " ")
