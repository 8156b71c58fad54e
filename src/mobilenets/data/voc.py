"""Boxes and masks as Pascal VOC keeps them: an XML file and a palette PNG beside or apart from each image.

`root/{JPEGImages,Annotations}` with lists of splits in `root/ImageSets/Main`, or without them; or XML files beside
their images in `root/{train,val,test}` or in `root` alone. Corners in the files count pixels from 1, and the last one
is inside. Masks lie in `root/SegmentationClass`, their lists in `root/ImageSets/Segmentation`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from mobilenets.data.classes_file import read_classes
from mobilenets.data.files import by_stem, natural
from mobilenets.data.listing import SPLITS, Entry, Listing, Oddity, refuse
from mobilenets.data.masks import mask_reader
from mobilenets.data.objects import Object, boxes_of, upright_sizes
from mobilenets.errors import DataError

__all__ = ["has_voc_boxes", "has_voc_masks", "read_voc_boxes", "read_voc_masks"]

_IMAGES, _ANNOTATIONS, _MASKS, _LISTS = "JPEGImages", "Annotations", "SegmentationClass", "ImageSets"
_CLASSES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)
"""What the numbers of VOC's own masks stand for."""


class Annotation(NamedTuple):
    """An XML file.

    Attributes:
        size: width and height, in pixels; None where it does not tell them.
        objects: corners as everywhere else: from 0, the last one outside.
    """

    size: tuple[int, int] | None
    objects: tuple[Object, ...]


class Pair(NamedTuple):
    """An image and what belongs to it."""

    image: Path
    file: Path


Pairs = dict[str, list[Pair]]
"""Pairs by split; all are in `all` where there are no splits."""


def has_voc_boxes(root: Path) -> bool:
    """Whether a folder has XML files where this format has them."""
    folders = [root / _ANNOTATIONS] if (root / _ANNOTATIONS).is_dir() else [f for f, _ in _beside(root)]
    return any(_visible(file, ".xml") for folder in folders for file in folder.iterdir())


def has_voc_masks(root: Path) -> bool:
    """Whether a folder has PNGs where this format has them."""
    folder = root / _MASKS
    return folder.is_dir() and any(_visible(file, ".png") for file in folder.iterdir())


def _visible(file: Path, suffix: str) -> bool:
    return file.suffix.lower() == suffix and not file.name.startswith(".")


def read_voc_boxes(root: Path) -> Listing:
    """Images and boxes of a VOC folder; classes are those of `classes.txt` or `labels.txt`, else those of the files.

    Raises:
        DataError: no image has an annotation; a list names images that are not there.
    """
    apart = (root / _ANNOTATIONS).is_dir()
    pairs, odd = _paired(root, root / _ANNOTATIONS, ".xml", "Main") if apart else _pairs_beside(root)
    read: dict[Path, Annotation] = {}
    for pair in (pair for found in pairs.values() for pair in found):
        try:
            read[pair.file] = _annotation(pair.file)
        except (OSError, ValueError, ElementTree.ParseError) as error:
            odd.append(Oddity("malformed", pair.file, str(error), pair.image))
    pairs = {split: [pair for pair in found if pair.file in read] for split, found in pairs.items()}
    stated = read_classes(root)
    names = {each.name for annotation in read.values() for each in annotation.objects}
    classes = stated or tuple(sorted(names, key=natural))
    index, sizes = {name: i for i, name in enumerate(classes)}, _sizes(pairs, read)
    splits: dict[str, list[Entry]] = {split: [] for split in pairs}
    for split, found in pairs.items():
        for image, file in found:
            boxes, more = boxes_of(file, image, read[file].objects, sizes[image], index)
            odd += more
            splits[split].append(Entry(image, tuple(classes[i] for i in sorted(set(boxes.labels))), boxes))
    return Listing(root, splits, classes, "detect", closed=bool(stated), oddities=tuple(odd))


def _sizes(pairs: Pairs, read: Mapping[Path, Annotation]) -> dict[Path, tuple[int, int]]:
    told = {image: read[file].size for found in pairs.values() for image, file in found}
    silent = [image for image, size in told.items() if size is None]
    headers = dict(zip(silent, upright_sizes(silent), strict=True))
    return {image: size or headers[image] for image, size in told.items()}


def read_voc_masks(root: Path) -> Listing:
    """Images and masks of a VOC folder. Numbers are named by `classes.txt` or `labels.txt`, else they are VOC's own.

    Raises:
        DataError: no image has a mask; a list names images that are not there.
    """
    classes, read = mask_reader(root, tuple(_CLASSES.split()))
    pairs, odd = _paired(root, root / _MASKS, ".png", "Segmentation")
    splits = {split: [Entry(image, (), read(file)) for image, file in found] for split, found in pairs.items()}
    return Listing(root, splits, classes, "segment", closed=True, oddities=tuple(odd))


def _paired(root: Path, folder: Path, suffix: str, kind: str) -> tuple[Pairs, list[Oddity]]:
    """Images and files of the same name, by the splits that `ImageSets/<kind>` lists."""
    images = by_stem(root / _IMAGES)
    files = by_stem(folder, (suffix,))
    lists = _lists(root, kind)
    wanted = {stem: None for stems in lists.values() for stem in stems} if lists else dict.fromkeys(images)
    if suffix == ".png" and not lists:  # few of VOC's images have masks
        wanted = dict.fromkeys(stem for stem in images if stem in files)
    odd = list(_alone(images, files, wanted, f"no {suffix[1:].upper()} file of this name"))
    if missing := [f"{stem} ({split})" for split, stems in lists.items() for stem in stems if stem not in images]:
        todo = f"They should lie in {root / _IMAGES}; bring them, or correct the lists."
        raise refuse(root / _LISTS / kind, "listed images are not there", missing, todo)
    lists = lists or {"all": list(wanted)}
    pairs = {split: [Pair(images[s], files[s]) for s in stems if s in files] for split, stems in lists.items()}
    return _filled(root, pairs, f"{_IMAGES}/a.jpg and {folder.name}/a{suffix}"), odd


def _pairs_beside(root: Path) -> tuple[Pairs, list[Oddity]]:
    pairs: Pairs = {}
    odd: list[Oddity] = []
    for folder, split in _beside(root):
        images, files = by_stem(folder), by_stem(folder, (".xml",))
        if found := [Pair(image, files[stem]) for stem, image in images.items() if stem in files]:
            pairs[split] = found
            odd += _alone(images, files, images, "no XML file of this name")
    return _filled(root, pairs, "a.jpg and a.xml"), odd


def _filled(root: Path, pairs: Pairs, expected: str) -> Pairs:
    """The splits that have images: the annotations of competitions' test images are kept back."""
    if kept := {split: found for split, found in pairs.items() if found}:
        return kept
    raise DataError(f"{root}: no image has an annotation of its name; expected {expected}.")


def _alone(
    images: Mapping[str, Path], files: Mapping[str, Path], wanted: Iterable[str], lacking: str
) -> Iterator[Oddity]:
    """Annotations without an image, and images that are wanted without an annotation."""
    yield from (Oddity("no image", files[s], "no image of this name") for s in files if s not in images)
    yield from (
        Oddity("no annotation", images[s], lacking, images[s]) for s in wanted if s in images and s not in files
    )


def _lists(root: Path, kind: str) -> dict[str, Collection[str]]:
    """Names without extension by split, each once; `trainval` counts where there is no `train`."""
    folder = root / _LISTS / kind
    found = {file.stem.lower(): file for file in folder.glob("*.txt")} if folder.is_dir() else {}
    if "train" not in found and "trainval" in found:
        found["train"] = found["trainval"]
    lists = {SPLITS[name]: _lines(file) for name, file in found.items() if name in SPLITS}
    return {split: stems for split, stems in lists.items() if stems}


def _lines(file: Path) -> Collection[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: the list of a split cannot be read: {error}.") from error
    return dict.fromkeys(line.strip() for line in lines if line.strip())


def _beside(root: Path) -> list[tuple[Path, str]]:
    """Folders in which XML files lie beside images, with their splits."""
    named = [(f, SPLITS[f.name.lower()]) for f in sorted(root.iterdir()) if f.name.lower() in SPLITS and f.is_dir()]
    return named or [(root, "all")]


def _annotation(file: Path) -> Annotation:
    top = ElementTree.fromstring(file.read_bytes())
    width, height = (float(top.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    size = (round(width), round(height)) if width >= 1 and height >= 1 else None
    return Annotation(size, tuple(_objects(top)))


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
