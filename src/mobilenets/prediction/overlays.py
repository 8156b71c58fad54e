"""Boxes with labels and scores, and tinted masks with a legend, drawn on pictures."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mobilenets.drawing import Colour, colour
from mobilenets.metrics.segmentation import near_boundary
from mobilenets.prediction.found import Detection, Prediction, Region

Pixels = NDArray[np.uint8]

BACKGROUND = "background"
"""A class of masks that is left as it is."""
TINT = 0.55
"""How much of a pixel is its class's colour."""


class _Place(NamedTuple):
    """A rectangle, in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other: _Place) -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1


def annotated(picture: Pixels, found: Prediction, *, legend: Sequence[tuple[int, str]] | None = None) -> Image.Image:
    """A picture with what a model says of it.

    Args:
        picture: upright, h w c; of four channels the first three are shown.
        found: what the model says of it.
        legend: numbers and names of the classes below a mask; None takes those that are in it, most pixels first.
    """
    image = _rgb(picture)
    if found.detections is not None:
        return with_boxes(image, found.detections)
    if found.regions is not None:
        tinted = with_mask(image, found.mask(), _background(found.regions))
        lines = _legend_of(found.regions) if legend is None else [(number, name) for number, name in legend]
        return with_legend(tinted, lines)
    return with_caption(image, [f"{name} {score:.0%}" for name, score in found.top[:3]])


def with_boxes(image: Image.Image, found: Sequence[Detection]) -> Image.Image:
    """Boxes in their classes' colours; labels stand above their box, or where there is room, always in the picture."""
    draw, width = ImageDraw.Draw(image), _line_px(image.size)
    for each in reversed(found):  # the best one on top
        draw.rectangle(each.box, outline=colour(each.number), width=width)
    taken: list[_Place] = []
    for each in found:
        text = f"{each.label} {each.score:.0%}"
        font = _fitting(text, image.size)
        place = _free_place(each.box, _extent(text, font), image.size, taken)
        taken.append(place)
        _write(draw, place, text, font, colour(each.number))
    return image


def with_mask(image: Image.Image, mask: Pixels | None, background: set[int]) -> Image.Image:
    """Pixels tinted with their classes' colours, borders between classes in the full colour."""
    if mask is None:
        return image
    numbers = np.unique(mask)
    palette = np.zeros((256, 3), np.float32)
    palette[numbers] = [colour(int(number)) for number in numbers]
    strength = np.full(256, TINT, np.float32)
    strength[list(background)] = 0.0
    share = np.where(near_boundary(mask, max(1, _line_px(image.size) // 2)), 1.0, TINT)[..., None]  # h w 1
    share = np.where(strength[mask][..., None] > 0, share, 0.0)
    tinted = np.asarray(image, np.float32) * (1 - share) + palette[mask] * share
    return Image.fromarray(tinted.round().astype(np.uint8))


def with_legend(image: Image.Image, lines: Sequence[tuple[int, str]]) -> Image.Image:
    """The picture with a strip below it that names colours, in as many rows as they need."""
    size = _text_px(image.size)
    font = _font(size)
    gap, side = max(2, size // 2), size
    places: list[tuple[int, int]] = []
    x, y, row = gap, gap, size + gap
    for _, name in lines:
        needed = side + gap + round(_extent(name, font)[0]) + 2 * gap
        if x > gap and x + needed > image.width:
            x, y = gap, y + row
        places.append((x, y))
        x += needed
    whole = Image.new("RGB", (image.width, image.height + (y + row if lines else 0)), "white")
    whole.paste(image)
    draw = ImageDraw.Draw(whole)
    for (number, name), (left, top) in zip(lines, places, strict=True):
        at = top + image.height
        draw.rectangle((left, at, left + side, at + side), fill=colour(number), outline="black")
        draw.text((left + side + gap, at + side / 2), name, font=font, fill="black", anchor="lm")
    return whole


def with_caption(image: Image.Image, lines: Sequence[str]) -> Image.Image:
    """Lines of text in the upper left corner."""
    draw, top = ImageDraw.Draw(image), 0.0
    for line in lines:
        font = _fitting(line, image.size)
        width, height = _extent(line, font)
        _write(draw, _Place(0, top, width, top + height), line, font, (0, 0, 0))
        top += height
    return image


def _rgb(picture: Pixels) -> Image.Image:
    return Image.fromarray(
        np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else np.ascontiguousarray(picture[..., :3])
    )


def _background(found: Sequence[Region]) -> set[int]:
    return {each.number for each in found if each.label.lower() == BACKGROUND}


def _legend_of(found: Sequence[Region]) -> list[tuple[int, str]]:
    hidden = _background(found)
    return [(each.number, f"{each.label} {_share(each.part)}") for each in found if each.number not in hidden]


def _share(part: float) -> str:
    return f"{part:.0%}" if part >= 0.01 else "<1%"


def _free_place(
    box: Sequence[float], extent: tuple[float, float], size: tuple[int, int], taken: Sequence[_Place]
) -> _Place:
    """Above the box, inside its upper edge, below it, inside its lower edge: the first in the picture that is free."""
    width, height = extent
    x0, y0, x1, y1 = box
    spots = [(x, y) for y in (y0 - height, y0, y1, y1 - height) for x in (x0, x1 - width)]
    places = [
        _inside(x, y, extent, size) for x, y in spots if 0 <= y <= size[1] - height
    ] or [_inside(x0, y0, extent, size)]  # fmt: skip
    return next((place for place in places if not any(place.meets(other) for other in taken)), places[0])


def _inside(x: float, y: float, extent: tuple[float, float], size: tuple[int, int]) -> _Place:
    left, top = max(0.0, min(x, size[0] - extent[0])), max(0.0, min(y, size[1] - extent[1]))
    return _Place(left, top, left + extent[0], top + extent[1])


def _write(draw: ImageDraw.ImageDraw, place: _Place, text: str, font: Any, ground: Colour) -> None:
    """Text on a ground, black or white, whichever is easier to read."""
    draw.rectangle(place, fill=ground)
    red, green, blue = ground
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
    draw.text(((place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2), text, font=font, fill=ink, anchor="mm")


def _line_px(size: tuple[int, int]) -> int:
    return max(1, round(min(size) / 180))


def _text_px(size: tuple[int, int]) -> int:
    return max(9, round(min(size) / 28))


def _fitting(text: str, size: tuple[int, int]) -> Any:
    """The font of a picture, smaller where the text is wider than the picture."""
    px = _text_px(size)
    wide = _extent(text, _font(px))[0]
    return _font(px if wide <= size[0] else max(5, int(px * size[0] / wide)))


def _extent(text: str, font: Any) -> tuple[float, float]:
    """Width and height of text with its margin, in pixels; the height is that of any text."""
    ascent, descent = font.getmetrics()
    margin = max(2, font.size // 4)
    return font.getlength(text) + margin, ascent + descent


@functools.cache
def _font(px: int) -> Any:
    """DejaVu Sans, which has the letters of most alphabets; it comes with matplotlib."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", px)
