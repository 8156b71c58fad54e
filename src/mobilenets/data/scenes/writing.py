"""Data sets of scenes on disk: one object each in class folders, several with boxes or masks."""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from mobilenets.data.scenes.drawing import Scene, check, scene
from mobilenets.data.scenes.folders import MOST_IMAGES, appearing, check_set, each
from mobilenets.data.scenes.kinds import KINDS

__all__ = ["write_classification", "write_detection", "write_segmentation"]

JPEG_QUALITY = 90
SPLITS = ("train", "val")


class _Job(NamedTuple):
    """One image of a data set.

    Attributes:
        root: of the data set.
        split: of the image.
        stem: its name without extension.
        seed: of the scene.
        size: of the square image, in pixels.
        objects: number of them.
        kinds: of the objects.
    """

    root: Path
    split: str
    stem: str
    seed: int
    size: int
    objects: int
    kinds: tuple[str, ...]

    def drawn(self) -> Scene:
        return scene(self.seed, size=self.size, objects=self.objects, kinds=self.kinds)


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
    check(size, None, 1)
    check_set(counts, seed, workers, "images per class")
    with appearing(Path(folder)) as partial:
        for split, name in itertools.product(SPLITS, KINDS):
            (partial / split / name).mkdir(parents=True)
        each(_write_single, list(_single(partial, size, seed, counts)), workers)


def _single(root: Path, size: int, seed: int, counts: Sequence[int]) -> Iterator[_Job]:
    """Images of one object, split by split and kind by kind."""
    for s, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        for kind in range(len(KINDS)):
            start = ((seed * len(SPLITS) + s) * len(KINDS) + kind) * MOST_IMAGES
            for number in range(count):
                yield _Job(root, split, f"{number + 1:04d}", start + number, size, 1, (KINDS[kind],))


def _write_single(job: _Job) -> None:
    drawn = scene(job.seed, size=job.size, kind=KINDS.index(job.kinds[0]))
    Image.fromarray(drawn.image).save(job.root / job.split / job.kinds[0] / f"{job.stem}.jpg", quality=JPEG_QUALITY)


def write_detection(
    folder: Path,
    *,
    train: int,
    val: int,
    size: int = 160,
    objects: tuple[int, int] = (1, 4),
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Write a data set with boxes in Pascal VOC's layout: `JPEGImages`, `Annotations`, `ImageSets/Main`, `classes.txt`.

    It is either complete or absent, as with `write_classification`.

    Args:
        folder: target; it must not exist. Missing parents are made.
        train: training images, 1 or more.
        val: validation images, 1 or more; none is also a training image.
        size: side of the square images in pixels.
        objects: least and largest number of objects in an image.
        kinds: of the objects, out of `KINDS`: the classes.
        seed: 0 or more; other seeds give other images.
        workers: processes to draw in; see `write_classification`.

    Raises:
        ValueError: the target exists or an argument is out of range.
    """
    jobs = _checked((train, val), size, objects, tuple(kinds), seed, workers)
    with appearing(Path(folder)) as partial:
        for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (partial / name).mkdir(parents=True)
        (partial / "classes.txt").write_text("".join(f"{kind}\n" for kind in kinds), encoding="utf-8")
        for split in SPLITS:
            stems = "".join(f"{job.stem}\n" for job in jobs if job.split == split)
            (partial / "ImageSets" / "Main" / f"{split}.txt").write_text(stems, encoding="utf-8")
        each(_write_boxes, [job._replace(root=partial) for job in jobs], workers)


def write_segmentation(
    folder: Path,
    *,
    train: int,
    val: int,
    size: int = 160,
    objects: tuple[int, int] = (1, 4),
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Write a data set with masks: `images/<split>/*.jpg`, `masks/<split>/*.png` and `classes.txt`, background first.

    The masks are palette PNGs. The set is either complete or absent, as with `write_classification`.

    Args:
        folder: target; it must not exist. Missing parents are made.
        train: training images, 1 or more.
        val: validation images, 1 or more; none is also a training image.
        size: side of the square images in pixels.
        objects: least and largest number of objects in an image.
        kinds: of the objects, out of `KINDS`: the classes beside the background.
        seed: 0 or more; other seeds give other images.
        workers: processes to draw in; see `write_classification`.

    Raises:
        ValueError: the target exists or an argument is out of range.
    """
    jobs = _checked((train, val), size, objects, tuple(kinds), seed, workers)
    with appearing(Path(folder)) as partial:
        for kind, split in itertools.product(("images", "masks"), SPLITS):
            (partial / kind / split).mkdir(parents=True)
        names = ("background", *kinds)
        (partial / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        each(_write_mask, [job._replace(root=partial) for job in jobs], workers)


def _checked(
    counts: tuple[int, int], size: int, objects: tuple[int, int], kinds: tuple[str, ...], seed: int, workers: int
) -> list[_Job]:
    """The images of a set with several objects each, their folder still open: as many of each number of objects.

    Raises:
        ValueError: an argument is out of range.
    """
    least, most = objects
    for number in objects:
        check(size, None, number, kinds)
    if least > most:
        raise ValueError(f"objects is {objects}; the least number comes first")
    check_set(counts, seed, workers, "images to train and to validate")
    jobs = []
    for s, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        start = (seed * len(SPLITS) + s) * MOST_IMAGES
        for n in range(count):
            number = least + n % (most - least + 1)
            jobs.append(_Job(Path(), split, f"{split}{n + 1:04d}", start + n, size, number, kinds))
    return jobs


def _write_boxes(job: _Job) -> None:
    drawn = job.drawn()
    Image.fromarray(drawn.image).save(job.root / "JPEGImages" / f"{job.stem}.jpg", quality=JPEG_QUALITY)
    top = ElementTree.Element("annotation")
    ElementTree.SubElement(top, "filename").text = f"{job.stem}.jpg"
    _add(top, "size", {"width": job.size, "height": job.size, "depth": 3})
    for (x0, y0, x1, y1), label in zip(drawn.boxes, drawn.labels, strict=True):
        each_object = _add(top, "object", {"name": KINDS[label], "difficult": 0})
        # VOC counts pixels from 1, and the last one is inside
        _add(each_object, "bndbox", {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": x1, "ymax": y1})
    ElementTree.indent(top)
    ElementTree.ElementTree(top).write(job.root / "Annotations" / f"{job.stem}.xml", encoding="utf-8")


def _add(above: ElementTree.Element, name: str, values: dict[str, int | str]) -> ElementTree.Element:
    element = ElementTree.SubElement(above, name)
    for key, value in values.items():
        ElementTree.SubElement(element, key).text = str(value)
    return element


def _write_mask(job: _Job) -> None:
    drawn = job.drawn()
    Image.fromarray(drawn.image).save(job.root / "images" / job.split / f"{job.stem}.jpg", quality=JPEG_QUALITY)
    numbers = np.zeros(len(KINDS) + 1, np.uint8)
    numbers[[KINDS.index(kind) + 1 for kind in job.kinds]] = range(1, len(job.kinds) + 1)
    mask = Image.fromarray(numbers[drawn.mask]).convert("P")
    hues = [colorsys.hsv_to_rgb(k / len(job.kinds), 0.8, 1.0) for k in range(len(job.kinds))]
    mask.putpalette([0, 0, 0, *(round(255 * part) for colour in hues for part in colour)])
    mask.save(job.root / "masks" / job.split / f"{job.stem}.png")
