"""Boxes and masks as COCO keeps them: one JSON file a split.

A file by itself, or a folder: `root/annotations/instances_{train,val}*.json`, or a JSON file in `root` or in each of
`root/{train,val,test}`. Images lie in the file's folder, in the root, in `images`, or in folders that are called as the
split is or as the end of the file's name (`train2017`).
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mobilenets.data.annotations import IGNORED, Corners
from mobilenets.data.files import natural
from mobilenets.data.listing import SPLITS, Entry, Listing, Oddity, split_of_name
from mobilenets.data.objects import Object, boxes_of, upright_sizes
from mobilenets.data.polygons import DrawnMask, Outline, Part, Runs
from mobilenets.errors import DataError, MisuseError

__all__ = ["coco_files", "read_coco"]

_ANNOTATIONS, _IMAGES, _INSTANCES = "annotations", "images", "instances"
_OTHERS = ("captions", "person_keypoints", "panoptic", "stuff", "image_info")
_SAMPLE = 32
_GROUND = "background"

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A JSON file and where its images are.

    Attributes:
        file: the JSON file.
        split: its split.
        images: paths by id; of those that are there.
        sizes: width and height by id, in pixels.
        names: of categories, by id.
        parents: names that categories have as their `supercategory`.
        objects: annotations by the id of their image.
        oddities: images that are not there, annotations without image.
    """

    file: Path
    split: str
    images: dict[Any, Path]
    sizes: dict[Any, Size]
    names: dict[Any, str]
    parents: frozenset[str]
    objects: dict[Any, list[dict[str, Any]]]
    oddities: list[Oddity]


def coco_files(root: Path) -> list[Path]:
    """The JSON files of a folder that list objects; none where it has another format."""
    apart = sorted((root / _ANNOTATIONS).glob("*.json"), key=lambda file: natural(file.name))
    if instances := [file for file in apart if file.name.startswith(_INSTANCES)]:
        return instances
    if others := [file for file in apart if not file.name.startswith(_OTHERS)]:
        return others
    folders = [root, *(f for f in sorted(root.iterdir()) if f.name.lower() in SPLITS and f.is_dir())]
    files = [file for folder in folders for file in sorted(folder.glob("*.json"))]
    return [file for file in files if any(word in file.name.lower() for word in (_ANNOTATIONS, _INSTANCES, "coco"))]


def read_coco(root: Path, files: Sequence[Path], task: Literal["detect", "segment"] = "detect") -> Listing:
    """Images with their boxes, or with masks drawn from the objects' outlines and runs.

    Crowds are hard boxes, and ignored in masks. Masks have a class `background` for all other pixels, before the others
    where the file lists none; smaller objects lie over larger ones.

    Args:
        root: the folder, or the file by itself.
        files: JSON files.
        task: whether boxes or masks are wanted.

    Raises:
        MisuseError: masks are wanted, and there are none; two files have one split.
        DataError: a file cannot be read, is not of this format, or none of its images is there.
    """
    read = [_dataset(root, file, len(files)) for file in files]
    if len({each.split for each in read}) < len(read):
        told = ", ".join(f"{each.file.name} ({each.split})" for each in read)
        raise MisuseError(f"{root}: two files for one split: {told}. Name each after its split, or give one file.")
    classes = _classes(read)
    odd = [oddity for each in read for oddity in each.oddities]
    if task == "segment":
        if not any("segmentation" in found for each in read for of in each.objects.values() for found in of):
            raise MisuseError(f"{root}: its objects have boxes and no outlines, so there are no masks to learn from.")
        classes = classes if _GROUND in classes else (_GROUND, *classes)
    index = {name: i for i, name in enumerate(classes)}
    splits: dict[str, list[Entry]] = {}
    for each in read:
        entries, more = (_boxes if task == "detect" else _masks)(each, index)
        odd += more
        if any(entry.labels for entry in entries) or each.split != "test":  # competitions keep these back
            splits[each.split] = entries
    return Listing(root, splits, classes, task, closed=True, oddities=tuple(odd))


def _dataset(root: Path, file: Path, files: int) -> Dataset:
    parsed = _parsed(file)
    try:
        names = {each["id"]: str(each["name"]) for each in parsed["categories"]}
        listed = {each["id"]: each for each in parsed["images"]}
        split = split_of_name(file) or ("all" if files == 1 else file.stem)
        images, odd = _found(root, file, split, {key: str(each["file_name"]) for key, each in listed.items()})
        objects: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for each in parsed["annotations"]:
            if each["image_id"] in images:
                objects[each["image_id"]].append(each)
            elif each["image_id"] not in listed:
                told = f"annotation {each.get('id')} is of image {each['image_id']}, which is not listed"
                odd.append(Oddity("no image", file, told))
        sizes = _sizes(images, listed)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{file}: not in COCO's format: {error!r} is missing or wrong in one of its entries."
        ) from error
    parents = frozenset(str(each.get("supercategory")) for each in parsed["categories"])
    return Dataset(file, split, images, sizes, names, parents, objects, odd)


def _parsed(file: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as JSON: {error}.") from error
    match parsed:
        case {"images": [*_], "annotations": [*_], "categories": [*_]}:
            return dict(parsed)
        case _:
            found = ", ".join(parsed) if isinstance(parsed, dict) else type(parsed).__name__
            raise DataError(
                f"{file}: not in COCO's format: found {found}; expected lists called images, annotations and "
                "categories."
            )


def _found(root: Path, file: Path, split: str, names: Mapping[Any, str]) -> tuple[dict[Any, Path], list[Oddity]]:
    """Images that are there by id, and what is not there."""
    if not names:
        raise DataError(f"{file}: lists no images.")
    top = root.parent if root == file else root
    some = [*names.values()][:_SAMPLE]
    folders = list(dict.fromkeys(_folders(top, file, split)))
    there = max(folders, key=lambda folder: sum((folder / name).is_file() for name in some))
    paths = {key: there / name for key, name in names.items()}
    images = {key: path for key, path in paths.items() if os.path.isfile(path)}  # noqa: PTH113 - called for every image
    if not images:
        looked = ", ".join(str(folder) for folder in folders if folder.is_dir())
        raise DataError(f"{file}: none of its {len(names):,} images is there, such as {some[0]}: looked in {looked}.")
    return images, [Oddity("no image", file, f"{names[key]} is not there") for key in names if key not in images]


def _folders(top: Path, file: Path, split: str) -> Iterator[Path]:
    called = [name for name, of in SPLITS.items() if of == split]
    last = file.stem.rsplit("_", 1)[-1]
    for above in (file.parent, top, file.parent.parent):
        for base in (above, above / _IMAGES):
            yield from (base, base / last, base / file.stem, *(base / name for name in called))


def _sizes(images: Mapping[Any, Path], listed: Mapping[Any, dict[str, Any]]) -> dict[Any, Size]:
    told = {key: (int(listed[key].get("width") or 0), int(listed[key].get("height") or 0)) for key in images}
    silent = [key for key, size in told.items() if min(size) < 1]
    return told | dict(zip(silent, upright_sizes([images[key] for key in silent]), strict=True))


def _classes(read: Sequence[Dataset]) -> tuple[str, ...]:
    """Names in the order of the files, without groups of categories that no object is of."""
    used = {each.names.get(found.get("category_id")) for each in read for of in each.objects.values() for found in of}
    parents = {name for each in read for name in each.parents}
    names = dict.fromkeys(name for each in read for name in each.names.values())
    return tuple(name for name in names if name in used or name not in parents)


def _boxes(data: Dataset, index: Mapping[str, int]) -> tuple[list[Entry], list[Oddity]]:
    entries: list[Entry] = []
    odd: list[Oddity] = []
    for key, image in data.images.items():
        objects = [_object(data, found) for found in data.objects.get(key, ())]
        boxes, more = boxes_of(data.file, image, objects, data.sizes[key], index)
        odd += more
        entries.append(Entry(image, tuple(data_names(boxes.labels, index)), boxes))
    return entries, odd


def data_names(labels: Iterable[int], index: Mapping[str, int]) -> list[str]:
    names = list(index)
    return [names[label] for label in sorted(set(labels))]


def _object(data: Dataset, found: Mapping[str, Any]) -> Object:
    return Object(_name(data, found), _corners(found.get("bbox")), found.get("iscrowd") == 1)


def _name(data: Dataset, found: Mapping[str, Any]) -> str:
    category = found.get("category_id")
    return data.names.get(category, f"category {category}")


def _corners(box: Any) -> Corners:
    match box:
        case [int() | float(), int() | float(), int() | float(), int() | float()]:
            x, y, width, height = map(float, box)
            return x, y, x + width, y + height
        case _:
            return 0.0, 0.0, 0.0, 0.0  # has no area, which is told


def _masks(data: Dataset, index: Mapping[str, int]) -> tuple[list[Entry], list[Oddity]]:
    entries: list[Entry] = []
    odd: list[Oddity] = []
    ground = index[_GROUND]
    for key, image in data.images.items():
        parts: list[Part] = []
        # Crowds first and large objects before small ones: what is drawn later stays.
        for found in sorted(data.objects.get(key, ()), key=lambda each: (each.get("iscrowd") != 1, -_area(each))):
            name = _name(data, found)
            if name not in index:
                odd.append(Oddity("unknown class", data.file, name, image))
            elif (where := _where(found.get("segmentation"))) is None:
                odd.append(Oddity("no area", data.file, f"{name}, annotation {found.get('id')}: no outline", image))
            else:
                parts.append(Part(IGNORED if found.get("iscrowd") == 1 else index[name], where))
        mask = DrawnMask(image, data.sizes[key], ground, tuple(parts))
        entries.append(Entry(image, tuple(data_names(mask.labels, index)), mask))
    return entries, odd


def _area(found: Mapping[str, Any]) -> float:
    if isinstance(area := found.get("area"), int | float):
        return float(area)
    x0, y0, x1, y1 = _corners(found.get("bbox"))
    return (x1 - x0) * (y1 - y0)


def _where(segmentation: Any) -> Outline | Runs | None:
    """Where an object is; None where that is not told, or in too few corners for an area."""
    match segmentation:
        case {"counts": str() | [*_] as counts, "size": [int(height), int(width)]}:
            return Runs(counts if isinstance(counts, str) else tuple(counts), height, width)
        case [[*_], *_]:
            try:
                outlines = [
                    np.array(each, np.float32) for each in segmentation if len(each) >= 6 and len(each) % 2 == 0
                ]
            except (TypeError, ValueError):
                return None
            return Outline(tuple(outline.tobytes() for outline in outlines)) if outlines else None
        case _:
            return None
