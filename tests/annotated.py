"""Small data sets of boxes and masks, written by hand."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Objects = Sequence[tuple[str, Sequence[float]]]


def photo(path: Path, size: tuple[int, int] = (40, 20), seed: int = 0) -> Path:
    """Noise: width and height as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([seed, *path.name.encode()]).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def xml(path: Path, objects: Objects, size: tuple[int, int] | None = (40, 20), hard: Sequence[int] = ()) -> Path:
    """A VOC annotation; corners are written as they are given."""
    lines = [] if size is None else [f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"]
    for i, (name, corners) in enumerate(objects):
        sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
        lines.append(
            f"<object><name>{name}</name><difficult>{int(i in hard)}</difficult>{part}<bndbox>{box}</bndbox></object>"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<annotation>" + "".join(lines) + "</annotation>")
    return path


def voc(root: Path, objects: Mapping[str, Objects], lists: Mapping[str, Sequence[str]] | None = None) -> Path:
    """A VOC folder of images of 40 x 20 pixels."""
    for stem, of in objects.items():
        photo(root / "JPEGImages" / f"{stem}.jpg")
        xml(root / "Annotations" / f"{stem}.xml", of)
    for split, stems in (lists or {}).items():
        file = root / "ImageSets" / "Main" / f"{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(stems) + "\n")
    return root


def mask(path: Path, values: Any, palette: Sequence[int] | None = None) -> Path:
    """An index PNG, or a palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


def coco(
    file: Path, images: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> Path:
    """A COCO file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": key, "name": name, "supercategory": "thing"} for key, name in names.items()]
    file.write_text(json.dumps({"images": list(images), "annotations": list(annotations), "categories": categories}))
    return file


def unpacked(archive: Path, to: Path) -> Path:
    """A shared data set's folder; skips where there is no such archive."""
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    with tarfile.open(archive) as tar:
        tar.extractall(to, filter="data")
    (folder,) = to.iterdir()
    return folder
