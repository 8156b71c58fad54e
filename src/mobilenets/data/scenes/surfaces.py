"""Textured surfaces, computed at the size of the image."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from mobilenets.data.scenes.shapes import Colour, Floats, Random, floats

__all__ = ["draw_colour", "draw_surface", "grid"]


@lru_cache(maxsize=4)
def grid(size: int) -> tuple[Floats, Floats]:
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
    x, y = grid(size)
    angle, phase = rng.uniform(0.0, math.tau), rng.uniform(0.0, math.tau)
    step = math.pi * waves
    return floats(x * (step * math.cos(angle)) + y * (step * math.sin(angle)) + phase)


def _plain(rng: Random, size: int) -> Floats:
    x, y = grid(size)
    angle = rng.uniform(0.0, math.tau)
    return floats(0.5 + 0.35 * (x * math.cos(angle) + y * math.sin(angle)))


def _grain(rng: Random, size: int) -> Floats:
    rough = _noise(rng, size, int(rng.integers(16, 32)))
    return floats(0.6 * _noise(rng, size, int(rng.integers(3, 8))) + 0.4 * rough)


def _blotches(rng: Random, size: int) -> Floats:
    return floats(np.clip((_noise(rng, size, int(rng.integers(5, 14))) - 0.5) * 6.0 + 0.5, 0.0, 1.0))


def _stripes(rng: Random, size: int) -> Floats:
    return np.clip(np.sin(_ramp(rng, size, rng.uniform(4.0, 12.0))) * 2.0 + 0.5, 0.0, 1.0)


def _checks(rng: Random, size: int) -> Floats:
    waves = rng.uniform(4.0, 10.0)
    product = np.sin(_ramp(rng, size, waves)) * np.sin(_ramp(rng, size, waves))
    return np.clip(product * 3.0 + 0.5, 0.0, 1.0)


_TEXTURES = (_plain, _grain, _blotches, _stripes, _checks)


def draw_colour(rng: Random, away: Sequence[Colour] = (), least: float = 0.0) -> Colour:
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


def draw_surface(rng: Random, size: int, colour: Colour, depth: tuple[float, float]) -> Floats:
    """Return a textured surface of about one colour, h w 3.

    Args:
        rng: source of the texture and of its second colour.
        size: side of the image in pixels.
        colour: main colour, RGB 0 to 1.
        depth: range of how far the texture goes towards the second colour, 0 to 1.
    """
    texture = _TEXTURES[int(rng.integers(len(_TEXTURES)))](rng, size)[..., None]
    first, second = np.array(colour, dtype=np.float32), np.array(draw_colour(rng), dtype=np.float32)
    # Centred on the main colour, so that a strong texture does not turn an object into its background.
    step = (second - first) * np.float32(rng.uniform(*depth))
    return floats(first + step * (texture - 0.3))
