"""What is wrong with boxes and masks, to findings. Classes, boxes and masks are a `Listing`'s, images were examined."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.annotations import IGNORED, Boxes, Corners, Mask
from mobilenets.data.arrays import Loading, Progress, filled
from mobilenets.data.listing import Listing, Oddity, OddityKind
from mobilenets.data.sources import Source
from mobilenets.doctor.examine import Facts
from mobilenets.doctor.findings import Finding, Severity
from mobilenets.doctor.survey import ALL, Item

__all__ = ["Marked", "MaskFacts", "annotation_findings", "counts_of", "examine_masks"]

MIN_OBJECTS = 10
TINY_PX = 4
"""Objects whose shorter side has fewer pixels in the network's input are called tiny."""

_ODDITIES: dict[OddityKind, tuple[str, Severity, str]] = {
    "malformed": ("unreadable annotation", "fault", "Correct or remove it."),
    "unknown class": ("unknown class", "fault", "Correct it, or list the class."),
    "outside": ("outside image", "warning", "Training clips it to the image."),
    "no area": ("no area", "warning", "Training leaves it out."),
    "no image": ("no image", "warning", "Training leaves it out."),
    "no annotation": (
        "no annotation",
        "warning",
        "Training leaves it out; an image without objects needs an empty one.",
    ),
}


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What a mask is.

    Attributes:
        size: width and height, in pixels.
        pixels: how many each class has, and the ignored ones, by index; 256 numbers.
        error: why it cannot be read, or None.
    """

    size: tuple[int, int] = (0, 0)
    pixels: tuple[int, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Marked:
    """An image with its boxes, or its mask and what was seen in that."""

    item: Item
    facts: Facts
    truth: Boxes | Mask
    mask: MaskFacts | None = None


def examine_masks(masks: Sequence[Mask], workers: int | None, on_progress: Progress | None) -> list[MaskFacts]:
    """Read all masks, in threads."""
    found = [MaskFacts()] * len(masks)

    def read(i: int) -> None:
        values = masks[i].read()
        pixels = np.bincount(values.ravel(), minlength=256).tolist()
        found[i] = MaskFacts((values.shape[1], values.shape[0]), tuple(pixels))

    failed = filled(len(masks), read, Loading(workers, on_progress=on_progress))
    return [MaskFacts(error=failed[i]) if i in failed else facts for i, facts in enumerate(found)]


def counts_of(listing: Listing, images: Sequence[Marked]) -> dict[str, dict[str, int]]:
    """Objects by split and class; of masks, the images that a class is in."""
    counts: dict[str, Counter[int]] = {split: Counter() for split in listing.splits}
    for item, _, truth, mask in ((image.item, image.facts, image.truth, image.mask) for image in images):
        if isinstance(truth, Boxes):
            counts[item.split].update(truth.labels)
        elif mask is not None:
            counts[item.split].update(i for i, n in enumerate(mask.pixels) if n and i != IGNORED)
    return {split: {name: of[i] for i, name in enumerate(listing.classes)} for split, of in counts.items()}


def annotation_findings(
    listing: Listing, images: Sequence[Marked], counts: Mapping[str, Mapping[str, int]], resolution: int
) -> Iterator[Finding]:
    """Everything that is wrong with boxes or masks."""
    yield from (_oddity(odd) for odd in listing.oddities)
    for image in images:
        if isinstance(image.truth, Boxes):
            yield from _of_boxes(listing.classes, image, image.truth)
        elif image.mask is not None:
            yield from _of_mask(image, image.mask)
    yield from _tiny(images, resolution)
    bare = tuple(i.item.path for i in images if isinstance(i.truth, Boxes) and not i.truth.labels)
    if bare:
        yield Finding("no objects", "note", bare, "images without an object: all of them is background.")
    yield from _few(listing, counts)


def _oddity(odd: Oddity) -> Finding:
    kind, severity, todo = _ODDITIES[odd.kind]
    place = odd.image or odd.file
    where = "" if place == odd.file else f"{odd.file.name}: "
    return Finding(kind, severity, (place,), f"{where}{odd.detail}. {todo}")


def _of_boxes(classes: Sequence[str], image: Marked, boxes: Boxes) -> Iterator[Finding]:
    path, seen = image.item.path, image.facts.seen
    if image.facts.error is None and boxes.size != seen:
        turned = (
            "; its boxes may be for the image as it is before its EXIF turns it" if boxes.size[::-1] == seen else ""
        )
        message = f"{_by(seen)}, its annotation says {_by(boxes.size)}{turned}. Correct the annotation."
        yield Finding("annotation size", "warning", (path,), message)
    at: dict[Corners, list[str]] = defaultdict(list)
    for corners, label in zip(boxes.corners, boxes.labels, strict=True):
        x0, y0, x1, y1 = map(round, corners)
        at[x0, y0, x1, y1].append(classes[label])
    for corners, names in at.items():
        if len(names) > 1:
            message = f"{' and '.join(names)} at {corners}: {len(names)} boxes in one place; keep one."
            yield Finding("duplicate box", "warning", (path,), message)


def _of_mask(image: Marked, mask: MaskFacts) -> Iterator[Finding]:
    path, seen = image.item.path, image.facts.seen
    if mask.error is not None:
        kind = "mask values" if "pixels of" in mask.error or "of no class" in mask.error else "unreadable mask"
        yield Finding(kind, "fault", (path,), mask.error)
    elif image.facts.error is None and mask.size != seen:
        message = f"{_by(seen)}, its mask is {_by(mask.size)}. Bring the mask that belongs to it."
        yield Finding("mask size", "fault", (path,), message)
    elif mask.pixels[IGNORED] == sum(mask.pixels):
        yield Finding("no objects", "note", (path,), "all of its mask is ignored: nothing to learn here.")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} px"


def _tiny(images: Sequence[Marked], resolution: int) -> Iterator[Finding]:
    paths: list[Source] = []
    tiny = total = 0
    for image in images:
        if isinstance(image.truth, Boxes) and image.truth.labels:
            small = int((_shorter(image.truth) * resolution < TINY_PX).sum())
            tiny, total = tiny + small, total + len(image.truth.labels)
            paths += [image.item.path] * (small > 0)
    if tiny:
        message = (
            f"{tiny:,} of {total:,} objects ({tiny / total:.1%}) have a side below {TINY_PX} px in an input of "
            f"{resolution} px, and are hardly found: a higher resolution shows more of them."
        )
        yield Finding("tiny objects", "note", tuple(paths), message)


def _shorter(boxes: Boxes) -> NDArray[np.float32]:
    """Shorter side of each box, in parts of the stretched image."""
    corners, _, _ = boxes.arrays()
    return (corners[:, 2:] - corners[:, :2]).min(1)  # type: ignore[no-any-return]


def _few(listing: Listing, counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    """Classes that have few objects to learn from, those without any first."""
    learned = counts.get("train", counts.get(ALL, {}))
    what = "objects" if listing.task == "detect" else "images with them"
    if few := sorted((n, name) for name, n in learned.items() if n < MIN_OBJECTS):
        shown = ", ".join(f"{name} ({n})" for n, name in few[:10]) + ", ..." * (len(few) > 10)
        yield Finding("few objects", "warning", (), f"fewer than {MIN_OBJECTS} {what} to learn from: {shown}.")
