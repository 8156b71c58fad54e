"""Which format a data set has, told from its path."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Literal

from mobilenets.data.coco import coco_files, read_coco
from mobilenets.data.csv_file import read_csv
from mobilenets.data.files import natural, walk_images
from mobilenets.data.hugging_face import is_saved, read_hub, read_saved
from mobilenets.data.layout import checked_root, read_folders
from mobilenets.data.listing import SPLITS, Listing
from mobilenets.data.masks import has_masks, read_masks
from mobilenets.data.parquet import read_parquet
from mobilenets.data.shards import read_pattern, read_shards, read_urls
from mobilenets.data.voc import has_voc_boxes, has_voc_masks, read_voc_boxes, read_voc_masks
from mobilenets.data.yolo import has_yolo, read_yolo, read_yolo_file
from mobilenets.errors import MisuseError
from mobilenets.metrics import Task

__all__ = ["read_annotated", "read_data"]

_HOLDERS = ("data", *SPLITS)
"""Folders of a data set in which its shards may lie."""


def read_data(path: str | Path, *, need_classes: int = 2, task: Task | None = None) -> Listing:
    """List a data set; its task is found from what it holds.

    Args:
        path: one of

            - a folder of class folders;
            - a `.csv` or `.tsv` file of image paths and labels;
            - `.tar` shards of a WebDataset: a file, a pattern with wildcards or braces (`train-{000..009}.tar`), a
              folder of them, an http(s) address with braces or without;
            - a `.parquet` file of paths or images, or a folder of such files;
            - a Hugging Face data set: `hf://datasets/owner/name`, or a folder that `save_to_disk` made;
            - boxes or masks: a folder as Pascal VOC (`voc`), COCO (`coco`) or YOLO (`yolo`) lay it out, or with masks
              as images (`masks`); a `.json` file of COCO's, a `.yaml` file of YOLO's.
        need_classes: fewest classes of a folder of class folders.
        task: what the data are for, where they have both boxes and masks (boxes when None).

    Raises:
        MisuseError: nothing is there, it has no format that is known, or it is not labelled for `task`.
        DataError: see the format's reader.
    """
    listing = read_annotated(path, task) or _read(path, need_classes)
    if task is not None and listing.task != task:
        raise MisuseError(f"{listing.root}: is labelled to {listing.task}, not to {task}.")
    return listing


def read_annotated(path: str | Path, task: Task | None = None) -> Listing | None:
    """List a data set of boxes or masks; None where it is none.

    Args:
        path: see `read_data`.
        task: "segment" wants masks where there are both; anything else takes boxes.

    Raises:
        MisuseError: the file is not there, it is not labelled for `task`, or the format's reader asks for something.
        DataError: see the format's reader.
    """
    listing = _read_annotated(path, "segment" if task == "segment" else "detect")
    if listing is not None and task not in (None, listing.task):
        raise MisuseError(f"{listing.root}: is labelled to {listing.task}, not to {task}.")
    return listing


def _read_annotated(path: str | Path, wanted: Literal["detect", "segment"]) -> Listing | None:
    if _spelled(path).startswith(("http://", "https://", "hf://")):
        return None
    root = Path(path).expanduser()
    if root.is_dir():
        return _read_annotated_folder(root, wanted)
    match root.suffix.lower():
        case ".json":
            return read_coco(root, [_present(root)], wanted)
        case ".yaml" | ".yml":
            return read_yolo_file(_present(root))
        case _:
            return None


def _read_annotated_folder(root: Path, wanted: Literal["detect", "segment"]) -> Listing | None:
    boxes, masks = has_voc_boxes(root), has_voc_masks(root)
    if masks and (wanted == "segment" or not boxes):
        return read_voc_masks(root)
    if boxes:
        return read_voc_boxes(root)
    if inside := sorted(folder for folder in root.iterdir() if (folder / "JPEGImages").is_dir()):
        raise MisuseError(
            f"{root}: holds data sets as Pascal VOC lays them out; give one of them, such as {inside[0]}."
        )
    if has_masks(root):
        return read_masks(root)
    if files := coco_files(root):
        return read_coco(root, files, wanted)
    return read_yolo(root) if has_yolo(root) else None


def _read(path: str | Path, need_classes: int) -> Listing:
    text = _spelled(path)
    if text.startswith(("http://", "https://")):
        return read_urls(text)
    if text.startswith("hf://"):
        return read_hub(text)
    root = Path(path).expanduser()
    if root.is_dir():
        return _read_folder(root, need_classes)
    suffix = root.suffix.lower()
    if suffix == ".tar":
        return _read_tar(root)
    if suffix == ".parquet":
        return read_parquet(root, [_present(root)])
    if suffix in (".csv", ".tsv"):
        return read_csv(_present(root))
    return read_folders(checked_root(root), need_classes=need_classes)


def _spelled(path: str | Path) -> str:
    """An address as it was given: `Path` makes one slash of two."""
    return re.sub(r"^(https?|hf):/+", r"\1://", path if isinstance(path, str) else path.as_posix())


def _present(file: Path) -> Path:
    if not file.exists():
        raise MisuseError(f"{file}: no such file.")
    return file


def _read_tar(path: Path) -> Listing:
    if not path.exists() and ("{" in str(path) or glob.has_magic(str(path))):
        return read_pattern(str(path))
    return read_shards(path, [_present(path)])


def _read_folder(root: Path, need_classes: int) -> Listing:
    if is_saved(root):
        return read_saved(root)
    if files := _held(root, ".tar"):
        return read_shards(root, files)
    if files := _held(root, ".parquet"):
        return read_parquet(root, files)
    return read_folders(checked_root(root), need_classes=need_classes)


def _held(root: Path, suffix: str) -> list[Path]:
    """Shards in a folder, or in its folders of splits; none where these hold images in folders."""
    folders = [root, *(f for f in root.iterdir() if f.is_dir() and f.name.lower() in _HOLDERS)]
    found = [f for folder in folders for f in folder.iterdir() if f.suffix.lower() == suffix and f.is_file()]
    if not found or any(next(walk_images(f), None) for f in root.iterdir() if f.is_dir()):
        return []
    return sorted(found, key=lambda f: natural(str(f)))
