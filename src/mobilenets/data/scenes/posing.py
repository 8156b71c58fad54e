"""Objects in their poses and places, and the pixels that they cover."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mobilenets.data.scenes.kinds import outline
from mobilenets.data.scenes.shapes import Floats, Part, Points, Random, floats, rotation

__all__ = ["Box", "bounds", "coverage", "place", "united"]

Box = tuple[int, int, int, int]

SUPERSAMPLE = 3

# Pose of an object: its longer side in parts of the frame, and how far it leaves the upright.
SCALE = (0.35, 0.85)
NEARNESS = 0.35  # exponent of a uniform draw between the two scales; below 1 favours large objects
TURN_DEGREES = 25.0
SHEAR = 0.15
STRETCH = (0.85, 1.18)
PERSPECTIVE = 0.15
PLACE_TRIES = 24


def _pose(rng: Random) -> Callable[[Points], Points]:
    """Draw a pose: stretch, shear, flip, turn and a slight perspective."""
    stretch = np.diag([rng.uniform(*STRETCH), 1.0])
    shear = np.array([[1.0, rng.uniform(-SHEAR, SHEAR)], [0.0, 1.0]])
    flip = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    angle = math.radians(rng.uniform(-TURN_DEGREES, TURN_DEGREES))
    matrix = rotation(angle) @ shear @ stretch @ flip
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


def coverage(parts: Sequence[Part], size: int) -> Floats:
    """Return how much of each pixel each role covers, h w 3, 0 to 1 (body, trim, detail)."""
    large = Image.new("RGB", (size * SUPERSAMPLE, size * SUPERSAMPLE))
    draw = ImageDraw.Draw(large)
    for role, points in parts:
        fill = (int(role[0]), int(role[1]), int(role[2]))
        draw.polygon([(float(x), float(y)) for x, y in points * SUPERSAMPLE], fill=fill)
    return np.asarray(large.reduce(SUPERSAMPLE), dtype=np.float32) / 255.0


def united(cover: Floats) -> Floats:
    """Return how much of each pixel an object covers with all its roles, h w."""
    return floats(cover[..., 0] + cover[..., 1] + cover[..., 2])


def bounds(shape: NDArray[np.bool_]) -> Box:
    """Return the box of the true pixels, x0 y0 x1 y1 with x1 and y1 exclusive."""
    ys, xs = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def _overlap(a: Box, b: Box) -> float:
    """Return the shared area of two boxes in parts of the smaller one."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(wide, 0) * max(high, 0) / max(smaller, 1)


def place(rng: Random, labels: Sequence[int], size: int) -> list[Floats]:
    """Return the coverage (h w 3) of one object per label, apart from one another where there is room."""
    crowd = 1.0 if len(labels) == 1 else 1.15 * len(labels) ** 0.5
    covers: list[Floats] = []
    boxes: list[Box] = []
    for label in labels:
        parts = outline(label, rng)
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
        covers.append(coverage(best[1], size))
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
