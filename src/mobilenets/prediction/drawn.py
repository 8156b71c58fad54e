"""Pictures with what was found drawn on them, in a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mobilenets.errors import MisuseError
from mobilenets.files import replacing
from mobilenets.prediction.found import Prediction
from mobilenets.prediction.loading import Seen
from mobilenets.prediction.overlays import annotated

_JPEG = (".jpg", ".jpeg")


class Drawn:
    """Writes the pictures of files into a folder, with the subfolders that the files have.

    A JPEG becomes a JPEG, everything else a PNG.

    Args:
        files: all of them.
        folder: where the pictures go; it is made.

    Raises:
        MisuseError: the folder is a file, or a picture would take the place of an image.
    """

    def __init__(self, files: Sequence[Path], folder: Path) -> None:
        if folder.is_file():
            raise MisuseError(f"{folder} is a file; pictures need a folder.")
        above = Path(os.path.commonpath([path.absolute().parent for path in files])) if files else Path()
        self.targets = {path: folder / _named(path.absolute().relative_to(above)) for path in files}
        sources = {path.resolve() for path in files}
        if clash := next((target for target in self.targets.values() if target.resolve() in sources), None):
            raise MisuseError(f"{clash} is one of the images: choose another folder for the pictures.")

    def write(self, found: Sequence[Prediction], images: Sequence[Seen]) -> None:
        """Draw and write a batch; each file is complete or absent."""
        for each, image in zip(found, images, strict=True):
            assert image.picture is not None
            _save(annotated(image.picture, each), self.targets[each.path])


def _named(path: Path) -> Path:
    return path if path.suffix.lower() in (*_JPEG, ".png") else path.with_name(f"{path.name}.png")


def _save(picture: Image.Image, path: Path) -> None:
    with replacing(path) as temporary:
        if path.suffix.lower() in _JPEG:
            picture.save(temporary, "JPEG", quality=92)
        else:
            picture.save(temporary, "PNG")
