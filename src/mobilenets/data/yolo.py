"""Boxes as YOLO keeps them: a text file an image, with a line an object: class, middle, width and height.

Classes are numbers, the rest are parts of the image's width and height. A line of more numbers is an outline, of which
the box is taken. `data.yaml` names classes and splits; without it `classes.txt` names the classes, and images lie in
`root/images/{train,val,test}`, `root/{train,val,test}/images` or `root/images`. Label files lie in `labels` folders
where images lie in `images` folders, or else beside the images; an image without one has no objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mobilenets.data.classes_file import NAMES, read_classes
from mobilenets.data.files import by_stem, is_image, walk_images
from mobilenets.data.listing import Entry, Listing, Oddity
from mobilenets.data.masks import halves
from mobilenets.data.objects import Object, boxes_of, upright_sizes
from mobilenets.data.yolo_yaml import Description, read_description
from mobilenets.errors import DataError, MisuseError

__all__ = ["described", "has_yolo", "read_yolo", "read_yolo_file"]

_IMAGES, _LABELS = "images", "labels"

Line = tuple[int, float, float, float, float]
"""Class and corners, in parts of the image's width and height."""


def described(root: Path) -> Path | None:
    """The file in a folder that describes a data set as `data.yaml` does."""
    files = sorted((*root.glob("*.yaml"), *root.glob("*.yml")), key=lambda file: (file.stem != "data", file.name))
    return next((file for file in files if (found := read_description(file)) and found.splits), None)


def has_yolo(root: Path) -> bool:
    """Whether a folder has label files where this format has them, or describes them."""
    apart = any(by_stem(labels, (".txt",)) for _, labels, _ in halves(root, _LABELS))
    return apart or described(root) is not None


def read_yolo(root: Path) -> Listing:
    """Images and boxes of a folder.

    Raises:
        MisuseError: the classes have no names.
        DataError: a list of images or classes cannot be read, or no image has a label file.
    """
    if file := described(root):
        return read_yolo_file(file)
    names = read_classes(root) or read_classes(root / _LABELS)
    if not names:
        raise MisuseError(
            f"{root}: boxes of numbered classes without names: expected data.yaml, or {' or '.join(NAMES)} with a "
            "class name a line."
        )
    return _listing(root, names, {split: list(walk_images(images)) for images, _, split in halves(root, _LABELS)})


def read_yolo_file(file: Path) -> Listing:
    """Images and boxes of a data set that a YAML file describes.

    Raises:
        DataError: it describes no data set, names folders that are not there, or see `read_yolo`.
    """
    said = read_description(file)
    if said is None or not said.splits:
        raise DataError(f"{file}: describes no data set: expected names: and train:, such as train: images/train.")
    images = {split: [i for name in names for i in _images(file, said, name)] for split, names in said.splits.items()}
    return _listing(file, said.names, images)


def _images(file: Path, said: Description, name: str) -> Iterator[Path]:
    """Images that a line of the file names: a folder, an image, or a list of images."""
    above = file.parent / Path(said.path or "").expanduser()
    places = [above / name, file.parent / name]
    if name.startswith("../"):  # some tools write so what lies beside the file
        places += [file.parent / name[3:]]
    place = next((place for place in places if place.exists()), None)
    if place is None:
        raise DataError(f"{file}: names {name}, which is not there: looked at {', '.join(map(str, places))}.")
    if place.is_dir():
        yield from walk_images(place)
    elif is_image(place):
        yield place
    else:
        yield from _listed(place)


def _listed(file: Path) -> Iterator[Path]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: the list of images cannot be read: {error}.") from error
    for line in lines:
        yield file.parent / line


def _listing(root: Path, names: tuple[str, ...], images: dict[str, list[Path]]) -> Listing:
    splits: dict[str, list[Entry]] = {}
    odd: list[Oddity] = []
    index = {name: i for i, name in enumerate(names)}
    for split, found in images.items():
        files = [_label_file(image) for image in found]
        labelled = [file is not None for file in files]
        if split == "test" and not any(labelled):  # the labels of competitions' test images are kept back
            continue
        splits[split] = []
        for image, file, size in zip(found, files, upright_sizes(found), strict=True):
            lines, wrong = _lines(file) if file else ([], "")
            if file is not None and wrong:
                odd.append(Oddity("malformed", file, wrong, image))
            objects = [_object(line, names, size) for line in lines]
            boxes, more = boxes_of(file or image, image, objects, size, index)
            odd += more
            splits[split].append(Entry(image, tuple(names[i] for i in sorted(set(boxes.labels))), boxes))
        odd += _without_image([file for file in files if file is not None])
    if not any(entry.labels for entries in splits.values() for entry in entries) and not odd:
        raise DataError(f"{root}: no image has a label file with an object; expected images/a.jpg and labels/a.txt.")
    return Listing(root, splits, names, "detect", closed=True, oddities=tuple(odd))


def _label_file(image: Path) -> Path | None:
    """The file with an image's objects: under `labels` for an image under `images`, else beside it."""
    parts = list(image.parts)
    places = [image.with_suffix(".txt")]
    if _IMAGES in parts[:-1]:
        at = len(parts) - 2 - parts[-2::-1].index(_IMAGES)
        places.insert(0, Path(*parts[:at], _LABELS, *parts[at + 1 :]).with_suffix(".txt"))
    return next((place for place in places if place.is_file()), None)


def _without_image(files: Sequence[Path]) -> Iterator[Oddity]:
    """Label files beside those that are used, of no image."""
    used = set(files)
    for folder in sorted({file.parent for file in files}):
        for file in by_stem(folder, (".txt",)).values():
            if file not in used and file.name not in NAMES:
                yield Oddity("no image", file, "no image of this name")


def _lines(file: Path) -> tuple[list[Line], str]:
    """Objects of a label file, and what is wrong with it."""
    found: list[Line] = []
    try:
        for i, text in enumerate(file.read_text(encoding="utf-8-sig").splitlines()):
            if values := text.split():
                number, places = int(float(values[0])), [float(value) for value in values[1:]]
                if number != float(values[0]) or len(places) < 4 or (len(places) != 4 and len(places) % 2):
                    return found, f"line {i + 1} says {text[:60]!r}; expected class, x, y, width, height"
                found.append((number, *_corners(places)))
    except (OSError, ValueError, OverflowError) as error:
        return found, f"cannot be read: {error}"
    return found, ""


def _corners(places: Sequence[float]) -> tuple[float, float, float, float]:
    if len(places) == 4:
        x, y, width, height = places
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return min(places[::2]), min(places[1::2]), max(places[::2]), max(places[1::2])


def _object(line: Line, names: Sequence[str], size: tuple[int, int]) -> Object:
    number, x0, y0, x1, y1 = line
    width, height = size
    name = names[number] if 0 <= number < len(names) else f"class {number}"
    return Object(name, (x0 * width, y0 * height, x1 * width, y1 * height))
