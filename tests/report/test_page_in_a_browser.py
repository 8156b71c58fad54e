"""The page in a real browser: it complains of nothing, asks nobody, and fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_page import NASTY, classes, detector, whole

from browser import Browser, browser
from mobilenets.report import write_page

LONG = "a_long_name_without_any_place_to_break_it_" * 4


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def reports(folder: Path) -> dict[str, dict[str, Any]]:
    hundred = classes(100) | {"winner": {"network": LONG, "metric": 0.5}}
    return {
        "whole": whole(folder),
        "nasty": whole(folder, NASTY),
        "long": whole(folder, LONG),
        "hundred": hundred,
        "detector": detector(folder),
        "long detector": detector(folder, LONG),
        "empty": {},
    }


@pytest.mark.parametrize("name", ["whole", "nasty", "long", "hundred", "detector", "long detector", "empty"])
@pytest.mark.parametrize(("width", "phone"), [(390, True), (1280, False)])
def test_a_page_fits_and_loads_nothing(name: str, width: int, phone: bool, tmp_path: Path, window: Browser) -> None:
    page = write_page(reports(tmp_path)[name], tmp_path / "report.html")
    window.size(width, 900, phone=phone)
    window.open(page.as_uri())
    assert window.errors == []
    assert [url for url in window.requests if not url.startswith("data:")] == [page.as_uri()]
    assert window.value("innerWidth") == width
    sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert window.value(sideways) == 0, "no scrolling sideways"
    assert window.value("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert window.value("window.alert === undefined || !document.querySelector('script')")


def test_wide_tables_scroll_inside_and_text_is_large_enough(tmp_path: Path, window: Browser) -> None:
    page = write_page(whole(tmp_path), tmp_path / "report.html")
    window.size(390, 900, phone=True)
    window.open(page.as_uri())
    assert window.value(
        "[...document.querySelectorAll('#artifacts .scroll')].some((e) => e.scrollWidth > e.clientWidth)"
    )
    smallest = window.value(
        "Math.min(...[...document.querySelectorAll('svg text')].map((t) => t.getBoundingClientRect())"
        ".filter((b) => b.width > 0).map((b) => Math.min(b.width, b.height)))"
    )
    assert smallest > 5, "pixels of the smaller side of a digit"


def test_light_and_dark_differ(tmp_path: Path, window: Browser) -> None:
    page = write_page(whole(tmp_path), tmp_path / "report.html")
    window.size(1280, 900)
    corners = []
    for scheme in ("light", "dark"):
        window.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        window.open(page.as_uri())
        window.screenshot(tmp_path / f"{scheme}.png")
        with Image.open(tmp_path / f"{scheme}.png") as shot:
            corners.append(shot.convert("L").getpixel((2, 2)))
    assert corners[0] > 240 and corners[1] < 50
