"""Hugging Face data sets: by name from the hub, or from a folder that `save_to_disk` made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenets.data.columns import LABEL, Table, find, listing, merged
from mobilenets.data.kept import file_stamp
from mobilenets.data.listing import SPLITS, Listing
from mobilenets.data.parquet import bytes_of
from mobilenets.data.sources import Row
from mobilenets.errors import DataError, MissingExtraError, MisuseError

__all__ = ["HUB", "is_saved", "read_hub", "read_saved"]

HUB = "hf://datasets/"


def is_saved(folder: Path) -> bool:
    """Whether a folder was made by `save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def read_hub(address: str) -> Listing:
    """The data set of an address such as `hf://datasets/owner/name`; it is downloaded once, by the `datasets` library.

    Raises:
        MisuseError: the address has another form.
        MissingExtraError: the `datasets` library is not installed.
        DataError: it cannot be had, has no column of images, or see `columns.listing`.
    """
    name = address.removeprefix(HUB).strip("/")
    if not address.startswith(HUB) or name.count("/") > 1 or not name:
        raise MisuseError(f"{address}: expected the address of a data set, such as {HUB}owner/name.")
    library = _datasets()
    try:
        found = library.load_dataset(name)
    except Exception as error:  # the library and those below it raise many types
        raise DataError(
            f"{address}: cannot be loaded: {_line(error)}. Check the name and the network, or give a folder."
        ) from error
    return _read(Path(address), found, library)


def read_saved(folder: Path) -> Listing:
    """The data set in a folder that `save_to_disk` made.

    Raises:
        MissingExtraError: the `datasets` library is not installed.
        DataError: it cannot be read, has no column of images, or see `columns.listing`.
    """
    library = _datasets()
    try:
        found = library.load_from_disk(str(folder))
    except Exception as error:  # the library and those below it raise many types
        raise DataError(f"{folder}: cannot be read as a Hugging Face data set: {_line(error)}.") from error
    return _read(folder, found, library)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", "datasets", purpose="reading Hugging Face data sets") from error
    return datasets


def _read(root: Path, found: Any, library: Any) -> Listing:
    parts: Mapping[str, Any] = found if isinstance(found, Mapping) else {"all": found}
    used = {SPLITS.get(name, name): part for name, part in parts.items() if name == "all" or name in SPLITS}
    if not used:
        raise DataError(f"{root}: no split that is known: found {', '.join(parts)}; expected train, validation, test.")
    return merged(root, [_read_split(root, name, part, library) for name, part in used.items()])


def _read_split(root: Path, split: str, part: Any, library: Any) -> Listing:
    images = [name for name, feature in part.features.items() if isinstance(feature, library.Image)]
    if len(images) != 1:
        found = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in part.features.items())
        raise DataError(f"{root}: expected one column of images in {split}, has {len(images)}: found {found}.")
    pixels = part.select_columns(images).cast_column(images[0], library.Image(decode=False))
    reader = DatasetColumn(f"{root}/{split}", pixels, images[0], _stamp(pixels, images[0]))
    rows = [Row(reader.where, i, "", reader) for i in range(len(part))]
    kinds = (library.Image, library.Audio, library.Video)
    others = [name for name, feature in part.features.items() if not isinstance(feature, kinds)]
    columns = part.select_columns(others).to_dict() if others else {}
    label = part.features.get(find(list(columns), LABEL))
    names = tuple(getattr(getattr(label, "feature", label), "names", None) or ())
    numbered = [f"{split}, row {i}" for i in range(len(rows))]
    return listing(Table(root, rows, columns, numbered, names, None if split == "all" else split))


@dataclass(frozen=True, slots=True, eq=False)
class DatasetColumn:
    """A column of encoded images of a data set that lies in Arrow files on the disk.

    Attributes:
        where: what messages call it.
        dataset: of `datasets.Dataset`, with that column only, which it does not decode.
        column: its name.
        stamp: of the Arrow files; None where images lie outside of them.
    """

    where: str
    dataset: Any
    column: str
    stamp: str | None

    def read(self, index: int) -> bytes:
        """The image of a row.

        Raises:
            DataError: the row has no image.
        """
        return bytes_of(self.dataset[index][self.column], Path(), f"{self.where}: row {index}")


def _stamp(pixels: Any, column: str) -> str | None:
    files = [Path(found["filename"]) for found in pixels.cache_files]
    outside = any(chunk.field("bytes").null_count for chunk in pixels.data.column(column).chunks)
    return None if outside or not files else " ".join(f"{file} {file_stamp(file)}" for file in files)


def _line(error: Exception) -> str:
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)
