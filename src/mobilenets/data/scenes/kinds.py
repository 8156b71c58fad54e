"""The kinds of object: they differ in outline and structure only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mobilenets.data.scenes.shapes import (
    BODY,
    DETAIL,
    HOLE,
    TRIM,
    Part,
    Random,
    bar,
    box,
    mirrored,
    oval,
    poly,
    rounded,
)  # fmt: skip

__all__ = ["KINDS", "outline"]


def _bottle(rng: Random) -> list[Part]:
    wide, neck, shoulder = rng.uniform(0.3, 0.4), rng.uniform(0.1, 0.15), rng.uniform(-0.3, -0.1)
    outline = poly(
        (-neck, -0.9), (neck, -0.9), (neck, shoulder - 0.3), (wide, shoulder), (wide, 1.0),
        (-wide, 1.0), (-wide, shoulder), (-neck, shoulder - 0.3),
    )  # fmt: skip
    top, bottom = rng.uniform(0.05, 0.25), rng.uniform(0.55, 0.75)
    cap = neck + 0.04
    return [
        Part(BODY, rounded(outline)),
        Part(TRIM, box(-wide, top, wide, bottom)),
        Part(DETAIL, box(-cap, -1.0, cap, -0.8)),
    ]


def _butterfly(rng: Random) -> list[Part]:
    tip, tail, spot = rng.uniform(-1.0, -0.75), rng.uniform(0.6, 0.95), rng.uniform(0.1, 0.17)
    upper = poly((0.02, -0.15), (0.35, tip), (1.0, tip), (1.0, -0.25), (0.55, 0.1), (0.02, 0.1))
    lower = poly((0.02, 0.0), (0.65, 0.0), (0.85, 0.45), (0.5, tail), (0.3, tail), (0.02, 0.3))
    wing = [
        Part(BODY, rounded(upper)),
        Part(BODY, rounded(lower)),
        Part(TRIM, oval(0.66, -0.48, spot * 1.2, spot * 1.2)),
        Part(TRIM, oval(0.46, 0.42, spot, spot)),
        Part(DETAIL, bar((0.0, -0.4), (0.22, -0.95), 0.06)),
    ]
    return [*mirrored(wing), Part(DETAIL, oval(0.0, 0.0, 0.09, 0.6))]


def _car(rng: Random) -> list[Part]:
    roof, back, wheel = rng.uniform(-0.6, -0.48), rng.uniform(-0.75, -0.5), rng.uniform(0.2, 0.25)
    glass = roof + 0.1
    cabin = poly((back - 0.15, -0.05), (back + 0.1, roof), (0.2, roof), (0.55, -0.05))
    parts = [
        Part(BODY, rounded(cabin, 1)),
        Part(BODY, rounded(box(-1.0, -0.12, 1.0, 0.32))),
        Part(DETAIL, poly((back + 0.04, -0.1), (back + 0.17, glass), (-0.14, glass), (-0.14, -0.1))),
        Part(DETAIL, poly((-0.04, -0.1), (-0.04, glass), (0.14, glass), (0.38, -0.1))),
        Part(TRIM, oval(0.92, 0.05, 0.07, 0.07)),
    ]
    for x in (-0.55, 0.55):
        parts += [Part(DETAIL, oval(x, 0.3, wheel, wheel)), Part(TRIM, oval(x, 0.3, wheel / 2, wheel / 2))]
    return parts


def _fish(rng: Random) -> list[Part]:
    deep, fork = rng.uniform(0.32, 0.45), rng.uniform(0.35, 0.5)
    upper = poly((-0.62, -0.08), (0.0, -deep), (0.55, -deep), (1.0, 0.0))
    outline = np.concatenate([upper, upper[-2::-1] * np.array([1.0, -1.0])])
    return [
        Part(TRIM, poly((-0.5, 0.0), (-1.0, -fork), (-0.82, 0.0), (-1.0, fork))),
        Part(TRIM, poly((-0.25, -0.2), (-0.1, -deep - 0.25), (0.15, -deep - 0.2), (0.45, -0.25))),
        Part(TRIM, poly((-0.05, 0.2), (-0.2, deep + 0.2), (0.25, 0.25))),
        Part(BODY, rounded(outline)),
        Part(TRIM, bar((0.38, -0.24), (0.38, 0.24), 0.07)),
        Part(DETAIL, oval(0.66, -0.1, 0.09, 0.09)),
    ]


def _house(rng: Random) -> list[Part]:
    wide, peak, eave = rng.uniform(0.6, 0.75), rng.uniform(-1.0, -0.75), rng.uniform(-0.2, 0.0)
    door = rng.uniform(-0.35, 0.35)
    roof = poly((-wide - 0.22, eave), (0.0, peak), (wide + 0.22, eave))
    parts = [
        Part(DETAIL, box(wide * 0.45, peak + 0.05, wide * 0.75, eave)),
        Part(BODY, box(-wide, eave - 0.05, wide, 0.9)),
        Part(TRIM, roof),
        Part(DETAIL, box(door - 0.14, 0.4, door + 0.14, 0.9)),
    ]
    windows = (-wide * 0.55, wide * 0.55)
    parts += [Part(DETAIL, box(x - 0.14, eave + 0.12, x + 0.14, eave + 0.38)) for x in windows]
    return parts


def _key(rng: Random) -> list[Part]:
    bow, hole, stem = rng.uniform(0.36, 0.46), rng.uniform(0.18, 0.24), rng.uniform(0.09, 0.12)
    first, second = rng.uniform(0.32, 0.5), rng.uniform(0.28, 0.45)
    return [
        Part(BODY, oval(0.0, -0.6, bow, bow)),
        Part(HOLE, oval(0.0, -0.65, hole, hole)),
        Part(BODY, box(-stem, -0.32, stem, 1.0)),
        Part(BODY, box(0.0, 0.42, first, 0.6)),
        Part(BODY, box(0.0, 0.78, second, 0.98)),
        Part(TRIM, box(-stem - 0.08, -0.2, stem + 0.08, -0.08)),
    ]


def _mug(rng: Random) -> list[Part]:
    tall, reach, taper = rng.uniform(0.65, 0.8), rng.uniform(0.36, 0.46), rng.uniform(0.0, 0.12)
    band = rng.uniform(-0.1, 0.3)
    sides = poly((-0.75, -tall), (0.45, -tall), (0.45 - taper, tall), (-0.75 + taper, tall))
    return [
        Part(BODY, oval(0.42, 0.0, reach + 0.08, 0.5)),
        Part(HOLE, oval(0.46, 0.0, reach - 0.08, 0.34)),
        Part(BODY, sides),
        Part(BODY, oval(-0.15, tall, 0.6 - taper, 0.13)),
        Part(TRIM, box(-0.75 + taper, band, 0.45 - taper, band + 0.2)),
        Part(TRIM, oval(-0.15, -tall, 0.6, 0.19)),
        Part(DETAIL, oval(-0.15, -tall, 0.5, 0.13)),
    ]


def _mushroom(rng: Random) -> list[Part]:
    wide, high, stem = rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.0), rng.uniform(0.18, 0.28)
    rim = 0.05
    return [
        Part(TRIM, rounded(poly((-stem, 0.0), (stem, 0.0), (stem + 0.12, 1.0), (-stem - 0.12, 1.0)))),
        Part(DETAIL, oval(0.0, rim, wide * 0.9, 0.14)),
        Part(BODY, oval(0.0, rim, wide, high, 180.0, 360.0)),
        Part(TRIM, oval(-wide * 0.48, rim - high * 0.3, 0.15, 0.14)),
        Part(TRIM, oval(wide * 0.08, rim - high * 0.62, 0.17, 0.14)),
        Part(TRIM, oval(wide * 0.52, rim - high * 0.28, 0.13, 0.12)),
    ]


_OUTLINES: dict[str, Callable[[Random], list[Part]]] = {
    "bottle": _bottle,
    "butterfly": _butterfly,
    "car": _car,
    "fish": _fish,
    "house": _house,
    "key": _key,
    "mug": _mug,
    "mushroom": _mushroom,
}
KINDS: tuple[str, ...] = tuple(_OUTLINES)


def outline(kind: int, rng: Random) -> list[Part]:
    """Draw an object of a kind, corners about -1 to 1."""
    return _OUTLINES[KINDS[kind]](rng)
