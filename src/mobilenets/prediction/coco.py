"""Predictions in COCO's form: images, categories, and an annotation for each box or region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mobilenets.prediction.found import Detection, Prediction, Region


def to_coco(found: Sequence[Prediction]) -> dict[str, Any]:
    """What a detector or a segmenter found, as COCO's tools read it.

    Boxes are `[x, y, width, height]` in pixels, regions compressed run lengths. A detector's categories are counted
    from 1, as COCO's are; a segmenter's are the values of its mask. Categories are those that were found. An image
    that cannot be read has an `error` and no size.
    """
    images = [image_entry(i, each) for i, each in enumerate(found, 1)]
    annotations: list[dict[str, Any]] = [
        {"image_id": i, "file_name": each.name} | part
        for i, each in enumerate(found, 1)
        for part in annotations_of(each)
    ]
    names: dict[int, str] = {each["category_id"]: each["category_name"] for each in annotations}
    return {
        "images": images,
        "categories": [{"id": number, "name": names[number]} for number in sorted(names)],
        "annotations": [{"id": i} | each for i, each in enumerate(annotations, 1)],
    }


def image_entry(number: int, found: Prediction) -> dict[str, Any]:
    """An entry of COCO's `images`."""
    told: dict[str, Any] = {"id": number, "file_name": found.name}
    if found.size is not None:
        told |= {"width": found.size[0], "height": found.size[1]}
    return told | ({} if found.error is None else {"error": found.error})


def annotations_of(found: Prediction) -> list[dict[str, Any]]:
    """An image's entries of COCO's `annotations`, without their own number and the image's."""
    size = found.size or (0, 0)
    return [_detection(each) for each in found.detections or ()] + [_region(each, size) for each in found.regions or ()]


def _detection(each: Detection) -> dict[str, Any]:
    x0, y0, x1, y1 = (round(value, 2) for value in each.box)
    box = [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)]
    return {
        "category_id": each.number + 1, "category_name": each.label, "bbox": box, "area": round(box[2] * box[3], 2),
        "score": each.score, "iscrowd": 0,
    }  # fmt: skip


def _region(each: Region, size: tuple[int, int]) -> dict[str, Any]:
    from faster_coco_eval import mask

    run_lengths = {"size": [size[1], size[0]], "counts": each.counts}
    return {
        "category_id": each.number, "category_name": each.label, "segmentation": run_lengths,
        "bbox": [float(value) for value in mask.toBbox(run_lengths)], "area": each.pixels, "iscrowd": 0,
    }  # fmt: skip
