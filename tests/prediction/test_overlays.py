"""What is drawn on pictures, looked at pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.drawing import colour
from mobilenets.prediction.found import Detection, Prediction, regions
from mobilenets.prediction.overlays import annotated, with_boxes, with_legend

GREY = np.full((200, 300, 3), 128, np.uint8)


def boxes(*found: Detection, size: tuple[int, int] = (300, 200)) -> Prediction:
    return Prediction(Path("a.jpg"), None, None, size=size, detections=found)


def changed(picture: Image.Image, ground: int = 128) -> np.ndarray:
    return (np.asarray(picture) != ground).any(2)


def test_colours_of_classes_differ() -> None:
    colours = np.array([colour(i) for i in range(40)], int)
    distances = np.abs(colours[:, None] - colours[None]).sum(2) + 999 * np.eye(40, dtype=int)
    assert distances.min() > 15, "no two of forty alike"
    assert min(np.abs(np.subtract(colour(i), colour(i + 1))).sum() for i in range(90)) > 100


def test_a_box_has_its_classs_colour_and_the_inside_stays() -> None:
    picture = np.asarray(annotated(GREY, boxes(Detection("cell", 4, 0.9, (100.0, 80.0, 200.0, 150.0)))))
    assert tuple(picture[115, 100]) == tuple(picture[150, 150]) == colour(4)
    assert (picture[90:140, 110:190] == 128).all()
    assert GREY.min() == GREY.max() == 128, "the picture that was given stays as it is"


@pytest.mark.parametrize(
    "box",
    [(0, 0, 300, 200), (-20, -20, 10, 10), (280, 0, 300, 20), (0, 180, 20, 200), (290, 190, 300, 200), (5, 3, 6, 4)],
)
def test_labels_stay_in_the_picture(box: tuple[float, float, float, float]) -> None:
    """The label's ground is whole: as wide and as high as it is in the middle of a large picture."""
    name = "a rather long name"
    free = Detection(name, 1, 0.987, (500.0, 500.0, 501.0, 501.0))
    large = with_boxes(Image.new("RGB", (1000, 1000)), [free])
    font_alike = with_boxes(Image.new("RGB", (300, 200)), [Detection(name, 1, 0.987, box)])
    ground = (np.asarray(font_alike) == colour(1)).all(2)
    assert ground.sum() > 300, "the label's ground is there"
    assert (np.asarray(large) == colour(1)).all(2).any()
    rows, columns = np.flatnonzero(ground.any(1)), np.flatnonzero(ground.any(0))
    assert rows[0] >= 0 and columns[-1] < 300


def test_labels_of_the_same_box_do_not_cover_each_other() -> None:
    box = (60.0, 60.0, 240.0, 150.0)
    found = [Detection(name, i, 0.9 - i / 10, box) for i, name in enumerate(("cell", "disc", "ring"))]
    alone = [int((np.asarray(with_boxes(Image.new("RGB", (300, 200)), [one])) == colour(one.number)).all(2).sum())
             for one in found]  # fmt: skip
    together = np.asarray(with_boxes(Image.new("RGB", (300, 200)), found))
    for one, count in zip(found[1:], alone[1:], strict=True):
        label = (together == colour(one.number)).all(2).sum()
        assert label > 0.2 * count, "its box is below the first one's, its label is not"


def test_a_long_name_on_a_tiny_picture_fits() -> None:
    tiny = np.full((24, 32, 3), 128, np.uint8)
    picture = annotated(tiny, boxes(Detection("thrombocyte", 2, 0.5, (2.0, 2.0, 30.0, 20.0)), size=(32, 24)))
    assert picture.size == (32, 24) and changed(picture).any()


def test_lines_and_letters_grow_with_the_picture() -> None:
    def thick(side: int) -> int:
        found = Detection("x", 0, 0.9, (side * 0.25, side * 0.5, side * 0.75, side * 0.9))
        drawn = np.asarray(with_boxes(Image.new("RGB", (side, side)), [found]))
        return int((drawn[round(side * 0.7)] == colour(0)).all(1).sum())

    assert thick(200) == 2 and thick(2000) > 15, "both sides of the box"


def test_a_mask_is_tinted_and_the_background_is_not() -> None:
    mask = np.zeros((200, 300), np.uint8)
    mask[:, 150:] = 2
    classes = ("background", "road", "tree")
    found = Prediction(Path("a.jpg"), None, None, size=(300, 200), regions=regions(mask, classes))
    picture = annotated(GREY, found)
    assert picture.width == 300 and picture.height > 200, "a legend below"
    pixels = np.asarray(picture)
    assert (pixels[:200, :140] == 128).all()
    expected = 128 + 0.55 * (np.array(colour(2)) - 128)
    assert np.abs(pixels[100, 250] - expected).max() <= 1
    assert tuple(pixels[100, 150]) == colour(2), "the border in the full colour"
    legend = pixels[200:]
    assert (legend == colour(2)).all(2).any() and not (legend == colour(1)).all(2).any()


def test_a_legend_breaks_into_rows() -> None:
    image = Image.new("RGB", (200, 100))
    one, many = with_legend(image, [(1, "road")]), with_legend(image, [(i, f"class {i}") for i in range(12)])
    assert 100 < one.height < many.height and one.width == many.width == 200
    below = np.asarray(many)[100:]
    assert all((below == colour(i)).all(2).any() for i in range(12))
    assert with_legend(image, []).size == image.size


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_four_channels(channels: int) -> None:
    picture = np.full((60, 80, channels), 90, np.uint8)
    drawn = annotated(picture, boxes(Detection("x", 0, 0.9, (10.0, 30.0, 50.0, 50.0)), size=(80, 60)))
    assert drawn.mode == "RGB" and drawn.size == (80, 60) and changed(drawn, 90).any()


def test_names_in_other_alphabets_have_letters() -> None:
    """A font without them would draw the same empty boxes for both."""
    first, second = (
        np.asarray(annotated(GREY, boxes(Detection(name, 0, 0.9, (50.0, 80.0, 250.0, 150.0))))) for name in ("Ёж", "Жё")
    )
    assert (first != second).any()
