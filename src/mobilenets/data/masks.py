"""Masks as images: PNGs that have a class's number, or its colour, in each pixel, apart from the photos.

`root/{images,masks}/{train,val,test}`, `root/{train,val,test}/{images,masks}` or `root/{images,masks}`; a mask has the
name of its image. `classes.txt` (or `labels.txt`) names the numbers, from 0. A class called unlabelled, void or ignored
is none: its pixels are neither learned nor counted, as those of number 255 are. Masks in colours need `class_dict.csv`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.annotations import IGNORED, Mask
from mobilenets.data.classes_file import COLOURS, NAMES, read_classes, read_colours
from mobilenets.data.files import by_stem, is_image
from mobilenets.data.listing import SPLITS, Entry, Listing, Oddity
from mobilenets.errors import DataError, MisuseError

__all__ = ["ColourMask", "IndexMask", "halves", "has_masks", "mask_reader", "read_masks"]

_IMAGES, _MASKS = "images", "masks"
_IGNORED_NAMES = frozenset(("unlabelled", "unlabeled", "void", "ignore", "ignored"))
_UNKNOWN = -1
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class IndexMask:
    """A PNG with a number in each pixel.

    Attributes:
        file: the PNG.
        indices: the class of each number, `IGNORED` for those of none; numbers beyond them are a fault, but for 255.
    """

    file: Path
    indices: tuple[int, ...]
    labels: tuple[int, ...] = field(default=(), init=False)

    def read(self) -> NDArray[np.uint8]:
        """Index of each pixel's class, or `IGNORED`: uint8 h w.

        Raises:
            DataError: it cannot be read, has colours, or has a number that is no class.
        """
        values = _numbers(self.file)
        table = np.full(256, _UNKNOWN, np.int16)
        table[: len(self.indices)] = self.indices
        table[IGNORED] = IGNORED
        found = table[values]
        if (found == _UNKNOWN).any():
            beyond = sorted(set(values[found == _UNKNOWN].tolist()))
            shown = ", ".join(map(str, beyond[:_SHOWN])) + (" and more" if len(beyond) > _SHOWN else "")
            raise DataError(
                f"{self.file}: has pixels of {shown}; the list of classes goes to {len(self.indices) - 1} "
                f"({IGNORED} is ignored). Correct the mask or list the classes."
            )
        return found.astype(np.uint8)


@dataclass(frozen=True, slots=True)
class ColourMask:
    """An image with the colour of a class in each pixel.

    Attributes:
        file: the image.
        colours: of the classes, 0xRRGGBB.
        indices: the class of each colour, `IGNORED` for those of none.
    """

    file: Path
    colours: tuple[int, ...]
    indices: tuple[int, ...]
    labels: tuple[int, ...] = field(default=(), init=False)

    def read(self) -> NDArray[np.uint8]:
        """Index of each pixel's class, or `IGNORED`: uint8 h w.

        Raises:
            DataError: it cannot be read, or has a colour that is no class's.
        """
        with _opened(self.file) as image:
            pixels = np.asarray(image.convert("RGB")).astype(np.int32)  # h w 3
        packed = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
        order = np.argsort(self.colours)
        known = np.array(self.colours)[order]
        at = np.searchsorted(known, packed).clip(max=len(known) - 1)
        if (other := known[at] != packed).any():
            shown = ", ".join(f"#{colour:06x}" for colour in np.unique(packed[other])[:_SHOWN])
            raise DataError(
                f"{self.file}: {other.mean():.1%} of the pixels have colours of no class ({shown}); correct the mask "
                f"or {COLOURS}. JPEG and smooth resizing blur colours: save masks as PNG."
            )
        indices: NDArray[np.uint8] = np.array(self.indices, np.uint8)[order]
        found: NDArray[np.uint8] = indices[at]
        return found


def _numbers(file: Path) -> NDArray[np.uint8]:
    """The number in each pixel of an index or palette PNG: uint8 h w.

    Raises:
        DataError: it cannot be read, or has colours.
    """
    with _opened(file) as image:
        values = np.array(image)
    if values.ndim != 2 or values.dtype.kind not in "biu" or (values.size and int(values.max()) > 255):
        raise DataError(
            f"{file}: a mask with {'colours' if values.ndim == 3 else 'values above 255'}; expected the number of a "
            f"class in each pixel (8 bits, mode L or P), or {COLOURS} beside the folders, with name,r,g,b."
        )
    return values.astype(np.uint8)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(file, formats=("PNG", "BMP", "TIFF", "GIF")) as image:
            image.load()
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise almost any type
        raise DataError(f"{file}: the mask cannot be read: {error or type(error).__name__}.") from error


def has_masks(root: Path) -> bool:
    """Whether a folder has masks where this format has them."""
    return any(is_image(file) for _, masks, _ in halves(root, _MASKS) for file in masks.iterdir())


def read_masks(root: Path) -> Listing:
    """Images and masks of a folder; the masks are opened when they are read.

    Raises:
        MisuseError: no list of classes, or fewer than two.
        DataError: the list cannot be read, or no mask has an image's name.
    """
    classes, read = mask_reader(root)
    splits: dict[str, list[Entry]] = {}
    odd: list[Oddity] = []
    for images, masks, split in halves(root, _MASKS):
        photos, files = by_stem(images), by_stem(masks)
        if found := [Entry(photos[s], (), read(files[s])) for s in photos if s in files]:
            splits[split] = found
            lacking = (photos[s] for s in photos if s not in files)
            odd += [Oddity("no annotation", photo, "no mask of this name", photo) for photo in lacking]
        odd += [Oddity("no image", files[s], "no image of this name") for s in files if s not in photos]
    if not splits:
        raise DataError(f"{root}: no mask has the name of an image; expected images/a.jpg and masks/a.png.")
    return Listing(root, splits, classes, "segment", closed=True, oddities=tuple(odd))


def mask_reader(root: Path, usual: tuple[str, ...] = ()) -> tuple[tuple[str, ...], Callable[[Path], Mask]]:
    """The classes of a folder of masks, and what makes a mask of a file.

    Args:
        root: where the list of classes lies.
        usual: names of the numbers where there is no list.

    Raises:
        MisuseError: no list and nothing usual, or fewer than two classes.
        DataError: the list cannot be read.
    """
    colours = read_colours(root)
    names = tuple(colours) or read_classes(root) or usual
    if not names:
        raise MisuseError(
            f"{root}: masks without names: expected {' or '.join(NAMES)} with a class name a line, or {COLOURS} with "
            "name,r,g,b for masks in colours."
        )
    classes, indices = _without_ignored(names)
    if len(classes) < 2:
        raise MisuseError(f"{root}: one class only ({', '.join(classes)}); name the background too, as a class.")
    if colours:
        packed = tuple(red << 16 | green << 8 | blue for red, green, blue in colours.values())
        return classes, lambda file: ColourMask(file, packed, indices)
    return classes, lambda file: IndexMask(file, indices)


def _without_ignored(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The classes that count, and for each name its index among them or `IGNORED`."""
    classes = tuple(name for name in names if name.lower() not in _IGNORED_NAMES)
    return classes, tuple(classes.index(name) if name in classes else IGNORED for name in names)


def halves(root: Path, other: str) -> Iterator[tuple[Path, Path, str]]:
    """Folders of images, the folders with what belongs to them, and their splits.

    Args:
        root: of the data set.
        other: name of the folder beside `images`.
    """
    if (root / _IMAGES).is_dir() and (root / other).is_dir():
        inside = {f.name.lower(): f for f in (root / other).iterdir() if f.is_dir()}
        named = [(f, inside[f.name.lower()]) for f in _split_folders(root / _IMAGES) if f.name.lower() in inside]
        for images, others in named:
            yield images, others, SPLITS[images.name.lower()]
        if not named:
            yield root / _IMAGES, root / other, "all"
        return
    for folder in _split_folders(root):
        if (folder / _IMAGES).is_dir() and (folder / other).is_dir():
            yield folder / _IMAGES, folder / other, SPLITS[folder.name.lower()]


def _split_folders(root: Path) -> list[Path]:
    return [f for f in sorted(root.iterdir()) if f.name.lower() in SPLITS and f.is_dir()]
