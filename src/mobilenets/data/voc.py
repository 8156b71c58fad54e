"""Boxes as Pascal VOC keeps them: an XML file beside or apart from each image.

`root/{JPEGImages,Annotations}` with lists of splits in `root/ImageSets/Main`, or without them; or XML files beside
their images in `root/{train,val,test}` or in `root` alone. Corners in the files count pixels from 1, and the last one
is inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from mobilenets.data.classes_file import read_classes
from mobilenets.data.decode import upright_size
from mobilenets.data.files import is_image, natural
from mobilenets.data.listing import SPLITS, Entry, Listing, Oddity, refuse
from mobilenets.data.objects import Object, boxes_of
from mobilenets.errors import DataError

__all__ = ["images_by_stem", "is_voc", "listed_stems", "read_voc"]

_IMAGES, _ANNOTATIONS, _LISTS = "JPEGImages", "Annotations", "ImageSets"


class Annotation(NamedTuple):
    """An XML file.

    Attributes:
        size: width and height, in pixels; None where it does not tell them.
        objects: corners as everywhere else: from 0, the last one outside.
    """

    size: tuple[int, int] | None
    objects: tuple[Object, ...]


Pair = tuple[Path, Path]
"""An image and its annotation."""


def is_voc(root: Path) -> bool:
    """Whether a folder has XML files where this format has them."""
    folders = [root / _ANNOTATIONS] if (root / _ANNOTATIONS).is_dir() else [f for f, _ in _beside(root)]
    return any(file.suffix.lower() == ".xml" for folder in folders for file in folder.iterdir())


def read_voc(root: Path) -> Listing:
    """Images and boxes of a VOC folder; classes are those of `classes.txt` or `labels.txt`, else those of the files.

    Raises:
        DataError: an XML file cannot be read or lacks a box's corner; a list names images that are not there.
    """
    apart = (root / _ANNOTATIONS).is_dir()
    pairs, odd = _pairs_apart(root) if apart else _pairs_beside(root)
    read = {file: _annotation(file) for found in pairs.values() for _, file in found}
    stated = read_classes(root)
    names = {each.name for annotation in read.values() for each in annotation.objects}
    classes = stated or tuple(sorted(names, key=natural))
    index = {name: i for i, name in enumerate(classes)}
    splits: dict[str, list[Entry]] = {}
    for split, found in pairs.items():
        for image, file in found:
            size, objects = read[file]
            boxes, more = boxes_of(file, objects, size or upright_size(image), index)
            odd += more
            held = tuple(classes[label] for label in sorted(set(boxes.labels)))
            splits.setdefault(split, []).append(Entry(image, held, boxes))
    if not splits:
        raise DataError(f"{root}: no image with an annotation; expected JPEGImages/a.jpg and Annotations/a.xml.")
    return Listing(root, splits, classes, "detect", closed=bool(stated), oddities=tuple(odd))


def images_by_stem(folder: Path) -> dict[str, Path]:
    """Images of a folder by their names without extension, in natural order."""
    found = [path for path in folder.iterdir() if is_image(path)] if folder.is_dir() else []
    return {path.stem: path for path in sorted(found, key=lambda path: natural(path.name))}


def listed_stems(root: Path, kind: str) -> dict[str, list[str]]:
    """Names without extension that `ImageSets/<kind>` lists, by split; `trainval` counts where there is no `train`."""
    folder = root / _LISTS / kind
    found = {file.stem.lower(): file for file in folder.glob("*.txt")} if folder.is_dir() else {}
    if "train" not in found and "trainval" in found:
        found["train"] = found["trainval"]
    lists = {SPLITS[name]: _lines(file) for name, file in found.items() if name in SPLITS}
    return {split: stems for split, stems in lists.items() if stems}


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: the list of a split cannot be read: {error}.") from error


def _pairs_apart(root: Path) -> tuple[dict[str, list[Pair]], list[Oddity]]:
    images = images_by_stem(root / _IMAGES)
    files = {file.stem: file for file in _xml(root / _ANNOTATIONS)}
    lists = listed_stems(root, "Main")
    odd = _alone(images, files, (stem for stems in lists.values() for stem in stems) if lists else images)
    if not lists:
        lists = {"all": list(images)}
    if missing := [f"{stem} ({split})" for split, stems in lists.items() for stem in stems if stem not in images]:
        todo = f"They should lie in {root / _IMAGES}; bring them, or correct the lists."
        raise refuse(root / _LISTS, "listed images are not there", missing, todo)
    pairs = {split: [(images[s], files[s]) for s in stems if s in files] for split, stems in lists.items()}
    return {split: found for split, found in pairs.items() if found}, odd


def _pairs_beside(root: Path) -> tuple[dict[str, list[Pair]], list[Oddity]]:
    pairs: dict[str, list[Pair]] = {}
    odd: list[Oddity] = []
    for folder, split in _beside(root):
        images, files = images_by_stem(folder), {file.stem: file for file in _xml(folder)}
        odd += _alone(images, files, images)
        if found := [(image, files[stem]) for stem, image in images.items() if stem in files]:
            pairs[split] = found
    return pairs, odd


def _alone(images: dict[str, Path], files: dict[str, Path], wanted: Iterable[str]) -> list[Oddity]:
    """Annotations without an image, and images that are wanted without an annotation."""
    odd = [Oddity("no image", file, "no image of this name") for stem, file in files.items() if stem not in images]
    bare = [stem for stem in wanted if stem in images and stem not in files]
    return odd + [Oddity("no annotation", images[stem], "no XML file of this name") for stem in bare]


def _beside(root: Path) -> list[tuple[Path, str]]:
    """Folders in which XML files lie beside images, with their splits."""
    named = [(f, SPLITS[f.name.lower()]) for f in sorted(root.iterdir()) if f.name.lower() in SPLITS and f.is_dir()]
    return named or [(root, "all")]


def _xml(folder: Path) -> Sequence[Path]:
    found = (f for f in folder.iterdir() if f.suffix.lower() == ".xml" and not f.name.startswith("."))
    return sorted(found, key=lambda file: natural(file.name))


def _annotation(file: Path) -> Annotation:
    try:
        top = ElementTree.fromstring(file.read_bytes())
        width, height = (float(top.findtext(f"size/{side}") or 0) for side in ("width", "height"))
        size = (round(width), round(height)) if width >= 1 and height >= 1 else None
        return Annotation(size, tuple(_objects(top)))
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise DataError(f"{file}: not an annotation as Pascal VOC has them: {error}. Correct or remove it.") from error


def _objects(top: ElementTree.Element) -> Iterator[Object]:
    for each in top.iterfind("object"):
        x0, y0, x1, y1 = (_number(each, side) for side in ("xmin", "ymin", "xmax", "ymax"))
        hard = (each.findtext("difficult") or "").strip() == "1"
        yield Object((each.findtext("name") or "").strip(), (x0 - 1, y0 - 1, x1, y1), hard)


def _number(each: ElementTree.Element, side: str) -> float:
    text = each.findtext(f"bndbox/{side}")
    if text is None:
        raise ValueError(f"an object without {side}")
    return float(text)
