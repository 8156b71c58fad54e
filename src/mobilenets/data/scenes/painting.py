"""A scene is painted: background, objects with light and shadow, what hides them, and the photograph of it all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from mobilenets.data.scenes.posing import Box, bounds, coverage, united
from mobilenets.data.scenes.shapes import BODY, Bytes, Colour, Floats, Part, Random, bar, blob, leaf, placement, scrap
from mobilenets.data.scenes.surfaces import draw_colour, draw_surface, grid

__all__ = ["Light", "draw_backdrop", "draw_light", "draw_object", "expose", "hide"]

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


class Light(NamedTuple):
    """The light of a scene: unit direction in which shadows fall, their strength and length."""

    direction: tuple[float, float]
    strength: float
    length: float  # parts of the frame


def draw_light(rng: Random) -> Light:
    """Draw where light comes from and how strong its shadows are."""
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


def draw_backdrop(rng: Random, size: int, colour: Colour, light: Light) -> Floats:
    """Return a textured background with distractors, somewhat out of focus, h w 3."""
    canvas = draw_surface(rng, size, colour, (0.1, 0.45))
    for _ in range(int(rng.integers(DISTRACTORS[0], DISTRACTORS[1] + 1))):
        centre, radius = rng.uniform(0.0, size, size=2), rng.uniform(0.06, 0.25) * size
        place = placement(rng, centre, radius)
        parts = [Part(p.role, place(p.points)) for p in scrap(rng)]
        # One colour each: the blur below would hide a texture.
        _lay(canvas, coverage(parts, size)[..., 0], np.array(draw_colour(rng), dtype=np.float32), light)
    image = Image.fromarray((np.clip(canvas, 0.0, 1.0) * 255.0).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*DEFOCUS_PIXELS) * size / 128.0))
    return np.asarray(image, dtype=np.float32) / np.float32(255.0)


def draw_object(rng: Random, canvas: Floats, cover: Floats, backdrop: Colour, light: Light) -> None:
    """Paint one object (coverage h w 3) on the canvas."""
    size = len(canvas)
    body = draw_colour(rng, [backdrop], BODY_CONTRAST)
    trim = draw_colour(rng, [backdrop, body], PART_CONTRAST)
    detail = draw_colour(rng, [body, trim], PART_CONTRAST)
    whole = np.minimum(united(cover), np.float32(1.0))
    surface = draw_surface(rng, size, body, (0.0, 0.5)) * cover[..., 0:1]
    surface += draw_surface(rng, size, trim, (0.0, 0.3)) * cover[..., 1:2]
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
        shape, reach = bar((-4.0, 0.0), (4.0, 0.0), rng.uniform(0.1, 0.3)), 0.5
    elif pick == 1:
        shape, reach = blob(rng), rng.uniform(0.1, 0.28)
    else:
        shape, reach = leaf(rng), rng.uniform(0.2, 0.5)
    return coverage([Part(BODY, placement(rng, centre, reach * extent)(shape))], size)[..., 0]


def hide(rng: Random, canvas: Floats, shapes: Sequence[Floats], light: Light) -> Floats:
    """Lay occluders over the main object and return what they cover (h w).

    One that would hide more than `MAX_HIDDEN` of any object, alone or with the others, is left out.
    """
    size = len(canvas)
    hidden = np.zeros((size, size), dtype=np.float32)
    near = bounds(shapes[0] >= 0.5)
    for _ in range(2):
        if rng.random() >= OCCLUDER_CHANCE:
            continue
        cover = _occluder(rng, near, size)
        surface = draw_surface(rng, size, draw_colour(rng), (0.0, 0.5))
        both = np.maximum(hidden, cover)
        if max(float((both * s).sum() / s.sum()) for s in shapes) <= MAX_HIDDEN:
            _lay(canvas, cover, surface, light)
            hidden = both
    return hidden


def expose(rng: Random, canvas: Floats) -> Bytes:
    """Return the photograph of a canvas: uneven light, vignette, exposure, tint, blur and noise."""
    size = len(canvas)
    x, y = grid(size)
    falls = x * rng.uniform(-0.3, 0.3) + y * rng.uniform(-0.3, 0.3) - rng.uniform(0.0, 0.3) * (x * x + y * y)
    lit = np.clip(canvas, 0.0, 1.0) * (1.0 + falls[..., None]) * rng.uniform(0.92, 1.08, size=3)
    exposed = (lit - 0.45) * rng.uniform(0.75, 1.15) + 0.5 + rng.uniform(-0.1, 0.12)
    image = Image.fromarray((np.clip(exposed, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, BLUR_PIXELS) * size / 128.0))
    noise = rng.standard_normal((size, size, 3), dtype=np.float32)
    noisy = np.asarray(image, dtype=np.float32) + noise * (255.0 * rng.uniform(0.0, NOISE))
    return np.clip(noisy + 0.5, 0.0, 255.0).astype(np.uint8)
