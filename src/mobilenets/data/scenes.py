"""Seeded small scenes for classification, detection and segmentation examples.

A scene is one or more objects of known kinds on a cluttered background, lit, partly hidden and
photographed by an imperfect camera. Everything is drawn from a seed, so that examples and tests have
labelled images without a download. The kinds differ in outline and structure only: colours, textures,
poses and light come from the same distributions for every kind.

Outlines are drawn several times larger than the image and averaged down, which gives them soft edges;
surfaces are computed at the size of the image, which keeps a scene at a few milliseconds.
"""

from __future__ import annotations

import colorsys
import itertools
import math
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["KINDS", "Scene", "scene", "write_classification"]

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Box = tuple[int, int, int, int]
Colour = tuple[float, float, float]
Random = np.random.Generator

MIN_SIZE = 32  # below this the teeth of a key or the wheels of a car are lost
MAX_OBJECTS = 8
SUPERSAMPLE = 3
JPEG_QUALITY = 90

# Pose of an object: its longer side in parts of the frame, and how far it leaves the upright.
SCALE = (0.35, 0.85)
NEARNESS = 0.35  # exponent of a uniform draw between the two scales; below 1 favours large objects
TURN_DEGREES = 25.0
SHEAR = 0.15
STRETCH = (0.85, 1.18)
PERSPECTIVE = 0.15
PLACE_TRIES = 24

# Light, clutter and camera.
DISTRACTORS = (1, 4)
DEFOCUS_PIXELS = (1.0, 3.0)  # blur of the background, standard deviation at 128 pixels
MAX_HIDDEN = 0.25  # of an object's pixels
OCCLUDER_CHANCE = 0.3
SHADE = 0.45
RELIEF = 0.025  # width of the rounded rim and softness of the shadow, parts of the frame
BLUR_PIXELS = 0.7  # standard deviation at 128 pixels
NOISE = 0.025  # standard deviation of the sensor's noise, of full scale
BODY_CONTRAST = 0.5  # least RGB distance of an object from its background, of 1 per channel
PART_CONTRAST = 0.45

# What a part of an object is painted with. The values are the channels of the coverage image.
BODY: Colour = (255, 0, 0)
TRIM: Colour = (0, 255, 0)
DETAIL: Colour = (0, 0, 255)
HOLE: Colour = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Scene:
    """One image with its labels.

    Attributes:
        image: RGB pixels, h w 3, uint8.
        label: class index of the main object, an index into `KINDS`.
        box: box of the main object's visible pixels, x0 y0 x1 y1 in pixels; x1 and y1 are exclusive.
        mask: class of each pixel, h w, uint8: 0 is background, otherwise class index + 1.
        boxes: one box per object, the main object first.
        labels: one class index per object, in the order of `boxes`.
    """

    image: Bytes
    label: int
    box: Box
    mask: Bytes
    boxes: tuple[Box, ...]
    labels: tuple[int, ...]


class Part(NamedTuple):
    """A filled polygon of an object: what it is painted with and its corners (n 2, about -1 to 1)."""

    role: Colour
    points: Points


class Light(NamedTuple):
    """The light of a scene: unit direction in which shadows fall, their strength and length."""

    direction: tuple[float, float]
    strength: float
    length: float  # parts of the frame


# ---------------------------------------------------------------------------------------------------
# Outlines


def _poly(*corners: tuple[float, float]) -> Points:
    return np.array(corners, dtype=np.float64)


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return _poly((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _oval(x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 360.0) -> Points:
    """Return an ellipse or a segment of one, angles in degrees clockwise from the right."""
    angle = np.radians(np.linspace(start, stop, 33))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _bar(start: tuple[float, float], stop: tuple[float, float], width: float) -> Points:
    """Return a straight stroke of the given width."""
    a, b = np.array(start), np.array(stop)
    along = (b - a) / max(math.dist(a, b), 1e-9)
    side = np.array([-along[1], along[0]]) * width / 2
    return np.stack([a + side, b + side, b - side, a - side])


def _rounded(points: Points, times: int = 3) -> Points:
    """Return the polygon with its corners cut (Chaikin), `times` times over."""
    for _ in range(times):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.8 * points + 0.2 * after, 0.2 * points + 0.8 * after], axis=1).reshape(-1, 2)
    return points


def _mirrored(parts: Sequence[Part]) -> list[Part]:
    """Return the parts followed by their mirror images about x = 0."""
    return [*parts, *(Part(p.role, p.points * np.array([-1.0, 1.0])) for p in parts)]


def _bottle(rng: Random) -> list[Part]:
    wide, neck, shoulder = rng.uniform(0.3, 0.4), rng.uniform(0.1, 0.15), rng.uniform(-0.3, -0.1)
    outline = _poly(
        (-neck, -0.9), (neck, -0.9), (neck, shoulder - 0.3), (wide, shoulder), (wide, 1.0),
        (-wide, 1.0), (-wide, shoulder), (-neck, shoulder - 0.3),
    )  # fmt: skip
    top, bottom = rng.uniform(0.05, 0.25), rng.uniform(0.55, 0.75)
    cap = neck + 0.04
    return [
        Part(BODY, _rounded(outline)),
        Part(TRIM, _box(-wide, top, wide, bottom)),
        Part(DETAIL, _box(-cap, -1.0, cap, -0.8)),
    ]


def _butterfly(rng: Random) -> list[Part]:
    tip, tail, spot = rng.uniform(-1.0, -0.75), rng.uniform(0.6, 0.95), rng.uniform(0.1, 0.17)
    upper = _poly((0.02, -0.15), (0.35, tip), (1.0, tip), (1.0, -0.25), (0.55, 0.1), (0.02, 0.1))
    lower = _poly((0.02, 0.0), (0.65, 0.0), (0.85, 0.45), (0.5, tail), (0.3, tail), (0.02, 0.3))
    wing = [
        Part(BODY, _rounded(upper)),
        Part(BODY, _rounded(lower)),
        Part(TRIM, _oval(0.66, -0.48, spot * 1.2, spot * 1.2)),
        Part(TRIM, _oval(0.46, 0.42, spot, spot)),
        Part(DETAIL, _bar((0.0, -0.4), (0.22, -0.95), 0.06)),
    ]
    return [*_mirrored(wing), Part(DETAIL, _oval(0.0, 0.0, 0.09, 0.6))]


def _car(rng: Random) -> list[Part]:
    roof, back, wheel = rng.uniform(-0.6, -0.48), rng.uniform(-0.75, -0.5), rng.uniform(0.2, 0.25)
    glass = roof + 0.1
    cabin = _poly((back - 0.15, -0.05), (back + 0.1, roof), (0.2, roof), (0.55, -0.05))
    parts = [
        Part(BODY, _rounded(cabin, 1)),
        Part(BODY, _rounded(_box(-1.0, -0.12, 1.0, 0.32))),
        Part(DETAIL, _poly((back + 0.04, -0.1), (back + 0.17, glass), (-0.14, glass), (-0.14, -0.1))),
        Part(DETAIL, _poly((-0.04, -0.1), (-0.04, glass), (0.14, glass), (0.38, -0.1))),
        Part(TRIM, _oval(0.92, 0.05, 0.07, 0.07)),
    ]
    for x in (-0.55, 0.55):
        parts += [Part(DETAIL, _oval(x, 0.3, wheel, wheel)), Part(TRIM, _oval(x, 0.3, wheel / 2, wheel / 2))]
    return parts


def _fish(rng: Random) -> list[Part]:
    deep, fork = rng.uniform(0.32, 0.45), rng.uniform(0.35, 0.5)
    upper = _poly((-0.62, -0.08), (0.0, -deep), (0.55, -deep), (1.0, 0.0))
    outline = np.concatenate([upper, upper[-2::-1] * np.array([1.0, -1.0])])
    return [
        Part(TRIM, _poly((-0.5, 0.0), (-1.0, -fork), (-0.82, 0.0), (-1.0, fork))),
        Part(TRIM, _poly((-0.25, -0.2), (-0.1, -deep - 0.25), (0.15, -deep - 0.2), (0.45, -0.25))),
        Part(TRIM, _poly((-0.05, 0.2), (-0.2, deep + 0.2), (0.25, 0.25))),
        Part(BODY, _rounded(outline)),
        Part(TRIM, _bar((0.38, -0.24), (0.38, 0.24), 0.07)),
        Part(DETAIL, _oval(0.66, -0.1, 0.09, 0.09)),
    ]


def _house(rng: Random) -> list[Part]:
    wide, peak, eave = rng.uniform(0.6, 0.75), rng.uniform(-1.0, -0.75), rng.uniform(-0.2, 0.0)
    door = rng.uniform(-0.35, 0.35)
    roof = _poly((-wide - 0.22, eave), (0.0, peak), (wide + 0.22, eave))
    parts = [
        Part(DETAIL, _box(wide * 0.45, peak + 0.05, wide * 0.75, eave)),
        Part(BODY, _box(-wide, eave - 0.05, wide, 0.9)),
        Part(TRIM, roof),
        Part(DETAIL, _box(door - 0.14, 0.4, door + 0.14, 0.9)),
    ]
    windows = (-wide * 0.55, wide * 0.55)
    parts += [Part(DETAIL, _box(x - 0.14, eave + 0.12, x + 0.14, eave + 0.38)) for x in windows]
    return parts


def _key(rng: Random) -> list[Part]:
    bow, hole, stem = rng.uniform(0.36, 0.46), rng.uniform(0.18, 0.24), rng.uniform(0.09, 0.12)
    first, second = rng.uniform(0.32, 0.5), rng.uniform(0.28, 0.45)
    return [
        Part(BODY, _oval(0.0, -0.6, bow, bow)),
        Part(HOLE, _oval(0.0, -0.65, hole, hole)),
        Part(BODY, _box(-stem, -0.32, stem, 1.0)),
        Part(BODY, _box(0.0, 0.42, first, 0.6)),
        Part(BODY, _box(0.0, 0.78, second, 0.98)),
        Part(TRIM, _box(-stem - 0.08, -0.2, stem + 0.08, -0.08)),
    ]


def _mug(rng: Random) -> list[Part]:
    tall, reach, taper = rng.uniform(0.65, 0.8), rng.uniform(0.36, 0.46), rng.uniform(0.0, 0.12)
    band = rng.uniform(-0.1, 0.3)
    sides = _poly((-0.75, -tall), (0.45, -tall), (0.45 - taper, tall), (-0.75 + taper, tall))
    return [
        Part(BODY, _oval(0.42, 0.0, reach + 0.08, 0.5)),
        Part(HOLE, _oval(0.46, 0.0, reach - 0.08, 0.34)),
        Part(BODY, sides),
        Part(BODY, _oval(-0.15, tall, 0.6 - taper, 0.13)),
        Part(TRIM, _box(-0.75 + taper, band, 0.45 - taper, band + 0.2)),
        Part(TRIM, _oval(-0.15, -tall, 0.6, 0.19)),
        Part(DETAIL, _oval(-0.15, -tall, 0.5, 0.13)),
    ]


def _mushroom(rng: Random) -> list[Part]:
    wide, high, stem = rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.0), rng.uniform(0.18, 0.28)
    rim = 0.05
    return [
        Part(TRIM, _rounded(_poly((-stem, 0.0), (stem, 0.0), (stem + 0.12, 1.0), (-stem - 0.12, 1.0)))),
        Part(DETAIL, _oval(0.0, rim, wide * 0.9, 0.14)),
        Part(BODY, _oval(0.0, rim, wide, high, 180.0, 360.0)),
        Part(TRIM, _oval(-wide * 0.48, rim - high * 0.3, 0.15, 0.14)),
        Part(TRIM, _oval(wide * 0.08, rim - high * 0.62, 0.17, 0.14)),
        Part(TRIM, _oval(wide * 0.52, rim - high * 0.28, 0.13, 0.12)),
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


# ---------------------------------------------------------------------------------------------------
# Pose and coverage


def _turn(angle: float) -> Points:
    """Return the 2 2 matrix of a turn by `angle` radians."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _pose(rng: Random) -> Callable[[Points], Points]:
    """Draw a pose: stretch, shear, flip, turn and a slight perspective."""
    stretch = np.diag([rng.uniform(*STRETCH), 1.0])
    shear = np.array([[1.0, rng.uniform(-SHEAR, SHEAR)], [0.0, 1.0]])
    flip = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    angle = math.radians(rng.uniform(-TURN_DEGREES, TURN_DEGREES))
    matrix = _turn(angle) @ shear @ stretch @ flip
    tilt = rng.uniform(-PERSPECTIVE, PERSPECTIVE, size=2)

    def apply(points: Points) -> Points:
        moved = points @ matrix.T
        return np.asarray(moved / (1.0 + moved @ tilt)[:, None], dtype=np.float64)

    return apply


def _fit(parts: Sequence[Part], rng: Random, size: int, scale: float) -> list[Part]:
    """Return the parts posed, `scale` of the frame long, at a random place inside the frame (pixels)."""
    pose = _pose(rng)
    posed = [Part(p.role, pose(p.points)) for p in parts]
    corners = np.concatenate([p.points for p in posed])
    low, high = corners.min(axis=0), corners.max(axis=0)
    factor = scale * size / float((high - low).max())
    room = size - (high - low) * factor
    origin = rng.uniform(0.02, 0.98, size=2) * room
    return [Part(p.role, (p.points - low) * factor + origin) for p in posed]


def _cover(parts: Sequence[Part], size: int) -> Floats:
    """Return how much of each pixel each role covers, h w 3, 0 to 1 (body, trim, detail)."""
    large = Image.new("RGB", (size * SUPERSAMPLE, size * SUPERSAMPLE))
    draw = ImageDraw.Draw(large)
    for role, points in parts:
        fill = (int(role[0]), int(role[1]), int(role[2]))
        draw.polygon([(float(x), float(y)) for x, y in points * SUPERSAMPLE], fill=fill)
    return np.asarray(large.reduce(SUPERSAMPLE), dtype=np.float32) / 255.0


def _whole(cover: Floats) -> Floats:
    """Return how much of each pixel an object covers with all its roles, h w."""
    return _floats(cover[..., 0] + cover[..., 1] + cover[..., 2])


def _bounds(shape: NDArray[np.bool_]) -> Box:
    """Return the box of the true pixels, x0 y0 x1 y1 with x1 and y1 exclusive."""
    ys, xs = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def _overlap(a: Box, b: Box) -> float:
    """Return the shared area of two boxes in parts of the smaller one."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(wide, 0) * max(high, 0) / max(smaller, 1)


def _place(rng: Random, labels: Sequence[int], size: int) -> list[Floats]:
    """Return the coverage (h w 3) of one object per label, apart from one another where there is room."""
    crowd = 1.0 if len(labels) == 1 else 1.15 * len(labels) ** 0.5
    covers: list[Floats] = []
    boxes: list[Box] = []
    for label in labels:
        parts = _OUTLINES[KINDS[label]](rng)
        best: tuple[float, list[Part], Box] | None = None
        for _ in range(PLACE_TRIES):
            fitted = _fit(parts, rng, size, _scale(rng) / crowd)
            box = _extent(fitted)
            clash = max((_overlap(box, other) for other in boxes), default=0.0)
            if best is None or clash < best[0]:
                best = (clash, fitted, box)
            if clash == 0.0:
                break
        assert best is not None
        covers.append(_cover(best[1], size))
        boxes.append(best[2])
    return covers


def _scale(rng: Random) -> float:
    """Draw the longer side of an object, parts of the frame; near ones are more frequent."""
    return SCALE[0] + (SCALE[1] - SCALE[0]) * math.pow(rng.random(), NEARNESS)


def _extent(parts: Sequence[Part]) -> Box:
    """Return the box around the corners of the parts, in whole pixels."""
    corners = np.concatenate([p.points for p in parts])
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


# ---------------------------------------------------------------------------------------------------
# Surfaces


def _floats(values: Floats | Points) -> Floats:
    """Return the values as float32, which most of them are already."""
    return np.asarray(values, dtype=np.float32)


@lru_cache(maxsize=4)
def _grid(size: int) -> tuple[Floats, Floats]:
    """Return the x and y of each pixel's centre, h w each, -1 to 1."""
    line = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2.0 / size) - np.float32(1.0)
    x, y = np.meshgrid(line, line)
    return x, y


def _noise(rng: Random, size: int, cells: int) -> Floats:
    """Return smooth noise with about `cells` bumps along a side, h w, 0 to 1."""
    coarse = Image.fromarray(rng.random((cells + 1, cells + 1), dtype=np.float32))
    fine = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
    return np.clip(fine, 0.0, 1.0)


def _ramp(rng: Random, size: int, waves: float) -> Floats:
    """Return the phase of plane waves in a random direction, h w, radians."""
    x, y = _grid(size)
    angle, phase = rng.uniform(0.0, math.tau), rng.uniform(0.0, math.tau)
    step = math.pi * waves
    return _floats(x * (step * math.cos(angle)) + y * (step * math.sin(angle)) + phase)


def _plain(rng: Random, size: int) -> Floats:
    x, y = _grid(size)
    angle = rng.uniform(0.0, math.tau)
    return _floats(0.5 + 0.35 * (x * math.cos(angle) + y * math.sin(angle)))


def _grain(rng: Random, size: int) -> Floats:
    rough = _noise(rng, size, int(rng.integers(16, 32)))
    return _floats(0.6 * _noise(rng, size, int(rng.integers(3, 8))) + 0.4 * rough)


def _blotches(rng: Random, size: int) -> Floats:
    return _floats(np.clip((_noise(rng, size, int(rng.integers(5, 14))) - 0.5) * 6.0 + 0.5, 0.0, 1.0))


def _stripes(rng: Random, size: int) -> Floats:
    return np.clip(np.sin(_ramp(rng, size, rng.uniform(4.0, 12.0))) * 2.0 + 0.5, 0.0, 1.0)


def _checks(rng: Random, size: int) -> Floats:
    waves = rng.uniform(4.0, 10.0)
    product = np.sin(_ramp(rng, size, waves)) * np.sin(_ramp(rng, size, waves))
    return np.clip(product * 3.0 + 0.5, 0.0, 1.0)


_TEXTURES = (_plain, _grain, _blotches, _stripes, _checks)


def _colour(rng: Random, away: Sequence[Colour] = (), least: float = 0.0) -> Colour:
    """Draw a colour, RGB 0 to 1, at least `least` away from each of the given ones where possible."""
    best: Colour = (0.0, 0.0, 0.0)
    gap = -1.0
    for _ in range(12):
        hue, grey, value = rng.random(), rng.uniform(0.05, 0.85), rng.uniform(0.2, 1.0)
        colour = colorsys.hsv_to_rgb(hue, grey, value)
        nearest = min((math.dist(colour, other) for other in away), default=2.0)
        if nearest > gap:
            best, gap = colour, nearest
        if gap >= least:
            break
    return best


def _surface(rng: Random, size: int, colour: Colour, depth: tuple[float, float]) -> Floats:
    """Return a textured surface of about one colour, h w 3.

    Args:
        rng: source of the texture and of its second colour.
        size: side of the image in pixels.
        colour: main colour, RGB 0 to 1.
        depth: range of how far the texture goes towards the second colour, 0 to 1.
    """
    texture = _TEXTURES[int(rng.integers(len(_TEXTURES)))](rng, size)[..., None]
    first, second = np.array(colour, dtype=np.float32), np.array(_colour(rng), dtype=np.float32)
    # Centred on the main colour, so that a strong texture does not turn an object into its background.
    step = (second - first) * np.float32(rng.uniform(*depth))
    return _floats(first + step * (texture - 0.3))


# ---------------------------------------------------------------------------------------------------
# Composition


def _draw_light(rng: Random) -> Light:
    angle = rng.uniform(0.0, math.tau)
    return Light(
        direction=(math.cos(angle), math.sin(angle)),
        strength=rng.uniform(0.15, 0.55),
        length=rng.uniform(0.01, 0.06),
    )


def _shadow(soft: Image.Image, light: Light) -> Floats:
    """Return the light left by the shadow of a blurred coverage, h w 1, 0 to 1."""
    shift = light.length * soft.width
    offset = (1, 0, -shift * light.direction[0], 0, 1, -shift * light.direction[1])
    cast = soft.transform(soft.size, Image.Transform.AFFINE, offset, Image.Resampling.BILINEAR)
    return 1.0 - np.asarray(cast, dtype=np.float32)[..., None] * np.float32(light.strength / 255.0)


def _relief(soft: Image.Image, light: Light, radius: float) -> Floats:
    """Return the shading of a rounded body with this blurred coverage, h w 1, about 1."""
    dy, dx = np.gradient(np.asarray(soft, dtype=np.float32))
    slope = (dx * light.direction[0] + dy * light.direction[1]) * (2.0 * radius / 255.0)
    return np.asarray(1.0 - SHADE * np.clip(slope, -1.0, 1.0), dtype=np.float32)[..., None]


def _lay(canvas: Floats, cover: Floats, surface: Floats, light: Light) -> None:
    """Lay a surface (h w 3, or 3 for one colour) where the shape (h w) covers it, with shade and shadow."""
    radius = RELIEF * len(cover)
    # One blur serves both: its slope stands for the shape's roundness, its offset for the shadow.
    soft = Image.fromarray((cover * 255.0).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    canvas *= _shadow(soft, light)
    canvas += (surface * _relief(soft, light, radius) - canvas) * cover[..., None]


def _scrap(rng: Random) -> list[Part]:
    """Draw a shape of no kind: a blob, shard, ring, bar, cross or zigzag, corners about -1 to 1."""
    pick = int(rng.integers(6))
    if pick == 0:
        return [Part(BODY, _blob(rng))]
    if pick == 1:
        return [Part(BODY, rng.uniform(-1.0, 1.0, size=(int(rng.integers(3, 5)), 2)))]
    if pick == 2:
        hole = rng.uniform(0.5, 0.8)
        return [Part(BODY, _oval(0, 0, 1, 1)), Part(HOLE, _oval(0, 0, hole, hole))]
    if pick == 3:
        return [Part(BODY, _bar((-1.0, 0.0), (1.0, 0.0), rng.uniform(0.1, 0.5)))]
    if pick == 4:
        width = rng.uniform(0.2, 0.6)
        return [Part(BODY, _bar((-1, 0), (1, 0), width)), Part(BODY, _bar((0, -1), (0, 1), width))]
    steps = [(-1.0, 0.4), (-0.5, -0.4), (0.0, 0.4), (0.5, -0.4), (1.0, 0.4)]
    return [Part(BODY, _bar(a, b, 0.25)) for a, b in itertools.pairwise(steps)]


def _blob(rng: Random) -> Points:
    """Draw a closed round shape with 5 to 8 uneven bulges."""
    count = int(rng.integers(5, 9))
    angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    radius = rng.uniform(0.5, 1.0, size=count)
    return _rounded(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))


def _leaf(rng: Random) -> Points:
    """Draw a slender shape with two points, such as a leaf before the lens."""
    half = rng.uniform(0.2, 0.4)
    x = np.linspace(-1.0, 1.0, 13)
    y = half * (1.0 - x**2)
    return np.concatenate([np.stack([x, y], axis=1), np.stack([x, -y], axis=1)[::-1]])


def _placement(rng: Random, centre: Points, radius: float) -> Callable[[Points], Points]:
    """Draw a turn; the result moves a shape to `centre` with `radius` pixels from middle to end."""
    turn = _turn(rng.uniform(0.0, math.tau))
    return lambda points: points @ turn.T * radius + centre


def _backdrop(rng: Random, size: int, colour: Colour, light: Light) -> Floats:
    """Return a textured background with distractors, somewhat out of focus, h w 3."""
    canvas = _surface(rng, size, colour, (0.1, 0.45))
    for _ in range(int(rng.integers(DISTRACTORS[0], DISTRACTORS[1] + 1))):
        centre, radius = rng.uniform(0.0, size, size=2), rng.uniform(0.06, 0.25) * size
        place = _placement(rng, centre, radius)
        parts = [Part(p.role, place(p.points)) for p in _scrap(rng)]
        # One colour each: the blur below would hide a texture.
        _lay(canvas, _cover(parts, size)[..., 0], np.array(_colour(rng), dtype=np.float32), light)
    image = Image.fromarray((np.clip(canvas, 0.0, 1.0) * 255.0).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*DEFOCUS_PIXELS) * size / 128.0))
    return np.asarray(image, dtype=np.float32) / np.float32(255.0)


def _draw_object(rng: Random, canvas: Floats, cover: Floats, backdrop: Colour, light: Light) -> None:
    """Paint one object (coverage h w 3) on the canvas."""
    size = len(canvas)
    body = _colour(rng, [backdrop], BODY_CONTRAST)
    trim = _colour(rng, [backdrop, body], PART_CONTRAST)
    detail = _colour(rng, [body, trim], PART_CONTRAST)
    whole = np.minimum(_whole(cover), np.float32(1.0))
    surface = _surface(rng, size, body, (0.0, 0.5)) * cover[..., 0:1]
    surface += _surface(rng, size, trim, (0.0, 0.3)) * cover[..., 1:2]
    surface += np.array(detail, dtype=np.float32) * cover[..., 2:3]
    # A pixel on the edge holds a mean over its covered part only.
    surface /= np.maximum(whole, np.float32(1e-3))[..., None]
    _lay(canvas, whole, surface, light)


def _occluder(rng: Random, near: Box, size: int) -> Floats:
    """Return the coverage (h w) of a bar, blob or leaf that lies over part of the box."""
    low, high = np.array(near[:2], dtype=np.float64), np.array(near[2:], dtype=np.float64)
    centre = low + rng.uniform(0.0, 1.0, size=2) * (high - low)
    extent = float((high - low).max())
    pick = int(rng.integers(3))
    if pick == 0:
        shape, reach = _bar((-4.0, 0.0), (4.0, 0.0), rng.uniform(0.1, 0.3)), 0.5
    elif pick == 1:
        shape, reach = _blob(rng), rng.uniform(0.1, 0.28)
    else:
        shape, reach = _leaf(rng), rng.uniform(0.2, 0.5)
    return _cover([Part(BODY, _placement(rng, centre, reach * extent)(shape))], size)[..., 0]


def _hide(rng: Random, canvas: Floats, shapes: Sequence[Floats], light: Light) -> Floats:
    """Lay occluders over the main object and return what they cover (h w).

    One that would hide more than `MAX_HIDDEN` of any object, alone or with the others, is left out.
    """
    size = len(canvas)
    hidden = np.zeros((size, size), dtype=np.float32)
    near = _bounds(shapes[0] >= 0.5)
    for _ in range(2):
        if rng.random() >= OCCLUDER_CHANCE:
            continue
        cover = _occluder(rng, near, size)
        surface = _surface(rng, size, _colour(rng), (0.0, 0.5))
        both = np.maximum(hidden, cover)
        if max(float((both * s).sum() / s.sum()) for s in shapes) <= MAX_HIDDEN:
            _lay(canvas, cover, surface, light)
            hidden = both
    return hidden


def _expose(rng: Random, canvas: Floats) -> Bytes:
    """Return the photograph of a canvas: uneven light, vignette, exposure, tint, blur and noise."""
    size = len(canvas)
    x, y = _grid(size)
    falls = x * rng.uniform(-0.3, 0.3) + y * rng.uniform(-0.3, 0.3) - rng.uniform(0.0, 0.3) * (x * x + y * y)
    lit = np.clip(canvas, 0.0, 1.0) * (1.0 + falls[..., None]) * rng.uniform(0.92, 1.08, size=3)
    exposed = (lit - 0.45) * rng.uniform(0.75, 1.15) + 0.5 + rng.uniform(-0.1, 0.12)
    image = Image.fromarray((np.clip(exposed, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, BLUR_PIXELS) * size / 128.0))
    noise = rng.standard_normal((size, size, 3), dtype=np.float32)
    noisy = np.asarray(image, dtype=np.float32) + noise * (255.0 * rng.uniform(0.0, NOISE))
    return np.clip(noisy + 0.5, 0.0, 255.0).astype(np.uint8)


def _check(size: int, kind: int | None, objects: int) -> None:
    if size < MIN_SIZE:
        raise ValueError(f"size is {size} pixels; a scene needs at least {MIN_SIZE}")
    if kind is not None and not 0 <= kind < len(KINDS):
        raise ValueError(f"kind is {kind}; it must be 0 to {len(KINDS) - 1}, an index into KINDS")
    if not 1 <= objects <= MAX_OBJECTS:
        raise ValueError(f"objects is {objects}; it must be 1 to {MAX_OBJECTS}")


def scene(seed: int, *, size: int = 128, kind: int | None = None, objects: int = 1) -> Scene:
    """Draw the scene of a seed.

    Args:
        seed: 0 or more; the same arguments give the same scene.
        size: side of the square image in pixels, at least 32.
        kind: class index of the main object; drawn from the seed when None.
        objects: number of objects, 1 to 8. An object that the others hide entirely is not listed.

    Returns:
        The image with label, box, mask and the boxes and labels of all visible objects.

    Raises:
        ValueError: an argument is out of range.
    """
    _check(size, kind, objects)
    rng = np.random.default_rng(seed)
    labels = [int(k) for k in rng.integers(len(KINDS), size=objects)]
    if kind is not None:
        labels[0] = kind
    light, colour = _draw_light(rng), _colour(rng)
    covers = _place(rng, labels, size)
    canvas = _backdrop(rng, size, colour, light)
    owner = np.zeros((size, size), dtype=np.uint8)
    for number in reversed(range(objects)):  # the main object last, on top of the others
        _draw_object(rng, canvas, covers[number], colour, light)
        owner[_whole(covers[number]) >= 0.5] = number + 1
    owner[_hide(rng, canvas, [_whole(c) for c in covers], light) >= 0.5] = 0
    return _labelled(_expose(rng, canvas), owner, labels)


def _labelled(image: Bytes, owner: Bytes, labels: Sequence[int]) -> Scene:
    """Return a scene from the number of the object that owns each pixel (h w, 0 is background)."""
    seen = [n for n in range(len(labels)) if (owner == n + 1).any()]
    boxes = tuple(_bounds(owner == n + 1) for n in seen)
    lookup = np.array([0, *(k + 1 for k in labels)], dtype=np.uint8)
    kept = tuple(labels[n] for n in seen)
    return Scene(image, kept[0], boxes[0], lookup[owner], boxes, kept)


# ---------------------------------------------------------------------------------------------------
# Data sets

SPLITS = ("train", "val")
_SEED_STRIDE = 1_000_000  # images of one kind in one split; keeps the seeds of all images apart


class _Job(NamedTuple):
    """One image of a data set."""

    file: Path
    kind: int
    seed: int


def _jobs(folder: Path, seed: int, counts: Sequence[int]) -> Iterator[_Job]:
    """Yield the images of a data set, split by split and kind by kind."""
    for s, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        for kind in range(len(KINDS)):
            start = ((seed * len(SPLITS) + s) * len(KINDS) + kind) * _SEED_STRIDE
            for number in range(count):
                yield _Job(folder / split / KINDS[kind] / f"{number + 1:04d}.jpg", kind, start + number)


def _write(jobs: Sequence[_Job], size: int) -> None:
    for job in jobs:
        drawn = scene(job.seed, size=size, kind=job.kind)
        Image.fromarray(drawn.image).save(job.file, quality=JPEG_QUALITY)


def _write_all(jobs: Sequence[_Job], size: int, workers: int) -> None:
    """Write the images, in this process or in several."""
    if workers == 1:
        _write(jobs, size)
        return
    # A forked child could inherit a lock that another thread of the caller holds; a spawned one cannot.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        shares = [pool.submit(_write, jobs[n::workers], size) for n in range(workers)]
        for share in shares:
            share.result()


def _check_set(counts: tuple[int, int], seed: int, workers: int) -> None:
    if not all(1 <= count <= _SEED_STRIDE for count in counts):
        raise ValueError(f"images per class are {counts}; each must be 1 to {_SEED_STRIDE}")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more")


def write_classification(
    folder: Path,
    *,
    per_class_train: int,
    per_class_val: int,
    size: int = 128,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Write a data set of one folder per class: `train/<kind>/0001.jpg`, `val/<kind>/0001.jpg` and on.

    The images are written to a folder beside the target which is renamed at the end, so that the target
    is either complete or absent.

    Args:
        folder: target; it must not exist. Missing parents are made.
        per_class_train: training images per class, 1 or more.
        per_class_val: validation images per class, 1 or more; none is also a training image.
        size: side of the square images in pixels.
        seed: 0 or more; other seeds give other images.
        workers: processes to draw in; the images are the same for any number. With more than one, a
            script has to guard its main part with `if __name__ == "__main__":`.

    Raises:
        ValueError: the target exists or an argument is out of range.
    """
    counts = (per_class_train, per_class_val)
    _check(size, None, 1)
    _check_set(counts, seed, workers)
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"{folder} already exists; give a folder that does not, or remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for split, name in itertools.product(SPLITS, KINDS):
            (partial / split / name).mkdir(parents=True)
        _write_all(list(_jobs(partial, seed, counts)), size, workers)
        partial.chmod(0o755)  # mkdtemp makes it private
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
