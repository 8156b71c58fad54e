"""The scene of a seed: an image with its label, boxes and mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilenets.data.scenes.kinds import KINDS
from mobilenets.data.scenes.painting import draw_backdrop, draw_light, draw_object, expose, hide
from mobilenets.data.scenes.posing import Box, bounds, place, united
from mobilenets.data.scenes.shapes import Bytes
from mobilenets.data.scenes.surfaces import draw_colour

__all__ = ["Scene", "check", "scene"]

MIN_SIZE = 32  # below this the teeth of a key or the wheels of a car are lost
MAX_OBJECTS = 8


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


def check(size: int, kind: int | None, objects: int, kinds: Sequence[str] = KINDS) -> None:
    """Refuse what is out of range.

    Raises:
        ValueError: an argument is out of range.
    """
    if size < MIN_SIZE:
        raise ValueError(f"size is {size} pixels; a scene needs at least {MIN_SIZE}")
    if kind is not None and not 0 <= kind < len(KINDS):
        raise ValueError(f"kind is {kind}; it must be 0 to {len(KINDS) - 1}, an index into KINDS")
    if not 1 <= objects <= MAX_OBJECTS:
        raise ValueError(f"objects is {objects}; it must be 1 to {MAX_OBJECTS}")
    if not kinds or len(set(kinds)) < len(kinds) or not set(kinds) <= set(KINDS):
        raise ValueError(f"kinds is {tuple(kinds)}; it must name some of {', '.join(KINDS)}, each once")


def scene(
    seed: int, *, size: int = 128, kind: int | None = None, objects: int = 1, kinds: Sequence[str] = KINDS
) -> Scene:
    """Draw the scene of a seed.

    Args:
        seed: 0 or more; the same arguments give the same scene.
        size: side of the square image in pixels, at least 32.
        kind: class index of the main object; drawn from the seed when None.
        objects: number of objects, 1 to 8. An object that the others hide entirely is not listed.
        kinds: what is drawn from the seed, out of `KINDS`; labels are indices into that whatever is drawn.

    Returns:
        The image with label, box, mask and the boxes and labels of all visible objects.

    Raises:
        ValueError: an argument is out of range.
    """
    check(size, kind, objects, kinds)
    rng = np.random.default_rng(seed)
    labels = [KINDS.index(kinds[k]) for k in rng.integers(len(kinds), size=objects)]
    if kind is not None:
        labels[0] = kind
    light, colour = draw_light(rng), draw_colour(rng)
    covers = place(rng, labels, size)
    canvas = draw_backdrop(rng, size, colour, light)
    owner = np.zeros((size, size), dtype=np.uint8)
    for number in reversed(range(objects)):  # the main object last, on top of the others
        draw_object(rng, canvas, covers[number], colour, light)
        owner[united(covers[number]) >= 0.5] = number + 1
    owner[hide(rng, canvas, [united(c) for c in covers], light) >= 0.5] = 0
    return _labelled(expose(rng, canvas), owner, labels)


def _labelled(image: Bytes, owner: Bytes, labels: Sequence[int]) -> Scene:
    """Return a scene from the number of the object that owns each pixel (h w, 0 is background)."""
    seen = [n for n in range(len(labels)) if (owner == n + 1).any()]
    boxes = tuple(bounds(owner == n + 1) for n in seen)
    lookup = np.array([0, *(k + 1 for k in labels)], dtype=np.uint8)
    kept = tuple(labels[n] for n in seen)
    return Scene(image, kept[0], boxes[0], lookup[owner], boxes, kept)
