"""What scenes are drawn with: polygons, painted by role, and shapes of no kind."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BODY", "DETAIL", "HOLE", "TRIM", "Bytes", "Colour", "Floats", "Part", "Points", "Random", "bar", "blob", "box",
    "floats", "leaf", "mirrored", "oval", "placement", "poly", "rotation", "rounded", "scrap",
]  # fmt: skip

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Colour = tuple[float, float, float]
Random = np.random.Generator

# What a part of an object is painted with. The values are the channels of the coverage image.
BODY: Colour = (255, 0, 0)
TRIM: Colour = (0, 255, 0)
DETAIL: Colour = (0, 0, 255)
HOLE: Colour = (0, 0, 0)


class Part(NamedTuple):
    """A filled polygon of an object: what it is painted with and its corners (n 2, about -1 to 1)."""

    role: Colour
    points: Points


def floats(values: Floats | Points) -> Floats:
    """Return the values as float32, which most of them are already."""
    return np.asarray(values, dtype=np.float32)


def rotation(angle: float) -> Points:
    """Return the 2 2 matrix of a turn by `angle` radians."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def poly(*corners: tuple[float, float]) -> Points:
    """The polygon of some corners."""
    return np.array(corners, dtype=np.float64)


def box(x0: float, y0: float, x1: float, y1: float) -> Points:
    """An upright rectangle."""
    return poly((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def oval(x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 360.0) -> Points:
    """Return an ellipse or a segment of one, angles in degrees clockwise from the right."""
    angle = np.radians(np.linspace(start, stop, 33))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def bar(start: tuple[float, float], stop: tuple[float, float], width: float) -> Points:
    """Return a straight stroke of the given width."""
    a, b = np.array(start), np.array(stop)
    along = (b - a) / max(math.dist(a, b), 1e-9)
    side = np.array([-along[1], along[0]]) * width / 2
    return np.stack([a + side, b + side, b - side, a - side])


def rounded(points: Points, times: int = 3) -> Points:
    """Return the polygon with its corners cut (Chaikin), `times` times over."""
    for _ in range(times):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.8 * points + 0.2 * after, 0.2 * points + 0.8 * after], axis=1).reshape(-1, 2)
    return points


def mirrored(parts: Sequence[Part]) -> list[Part]:
    """Return the parts followed by their mirror images about x = 0."""
    return [*parts, *(Part(p.role, p.points * np.array([-1.0, 1.0])) for p in parts)]


def scrap(rng: Random) -> list[Part]:
    """Draw a shape of no kind: a blob, shard, ring, bar, cross or zigzag, corners about -1 to 1."""
    pick = int(rng.integers(6))
    if pick == 0:
        return [Part(BODY, blob(rng))]
    if pick == 1:
        return [Part(BODY, rng.uniform(-1.0, 1.0, size=(int(rng.integers(3, 5)), 2)))]
    if pick == 2:
        hole = rng.uniform(0.5, 0.8)
        return [Part(BODY, oval(0, 0, 1, 1)), Part(HOLE, oval(0, 0, hole, hole))]
    if pick == 3:
        return [Part(BODY, bar((-1.0, 0.0), (1.0, 0.0), rng.uniform(0.1, 0.5)))]
    if pick == 4:
        width = rng.uniform(0.2, 0.6)
        return [Part(BODY, bar((-1, 0), (1, 0), width)), Part(BODY, bar((0, -1), (0, 1), width))]
    steps = [(-1.0, 0.4), (-0.5, -0.4), (0.0, 0.4), (0.5, -0.4), (1.0, 0.4)]
    return [Part(BODY, bar(a, b, 0.25)) for a, b in itertools.pairwise(steps)]


def blob(rng: Random) -> Points:
    """Draw a closed round shape with 5 to 8 uneven bulges."""
    count = int(rng.integers(5, 9))
    angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    radius = rng.uniform(0.5, 1.0, size=count)
    return rounded(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))


def leaf(rng: Random) -> Points:
    """Draw a slender shape with two points, such as a leaf before the lens."""
    half = rng.uniform(0.2, 0.4)
    x = np.linspace(-1.0, 1.0, 13)
    y = half * (1.0 - x**2)
    return np.concatenate([np.stack([x, y], axis=1), np.stack([x, -y], axis=1)[::-1]])


def placement(rng: Random, centre: Points, radius: float) -> Callable[[Points], Points]:
    """Draw a turn; the result moves a shape to `centre` with `radius` pixels from middle to end."""
    turn = rotation(rng.uniform(0.0, math.tau))
    return lambda points: points @ turn.T * radius + centre
