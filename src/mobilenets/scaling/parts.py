"""The folder of a cluster's predictions: a Parquet file for each block, and what they were made with.

A part appears whole or not at all, under a name that only its block has: a block that was done twice leaves one file.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenets.data.remote import is_remote, open_file_system
from mobilenets.errors import DataError, MisuseError
from mobilenets.files import write_bytes

SETTINGS = "_settings.json"
"""Names that begin so are passed over by those who read a folder of Parquet files."""

_PART = "part-"
_TRIED = "_tried-{:05d}"
_LEFT = (f".{_PART}", "_tried-", "._tried-")


@dataclass(frozen=True, slots=True)
class Parts:
    """The folder: a path of this machine, or an address such as `s3://bucket/out`."""

    folder: str

    @staticmethod
    def begin(out: str | Path, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Parts:
        """The folder made ready for parts made with some settings.

        Raises:
            MisuseError: it holds files and neither `resume` nor `overwrite` is asked for, or `resume` finds files of
                other settings.
        """
        parts = Parts(str(out) if is_remote(out) else str(Path(out).absolute()))
        if Path(parts.folder).is_file():
            raise MisuseError(f"{out} is a file; a cluster's predictions need a folder.")
        before = parts.names()
        if overwrite:
            parts._remove(name for name in before if name.startswith(_PART) or name == SETTINGS)
        elif SETTINGS in before and resume:
            parts._same(settings)
            parts.tidy()
            return parts
        elif before:
            todo = "choose another --out, or --overwrite to replace what is there"
            which = "--resume to go on with it, " if SETTINGS in before else ""
            raise MisuseError(f"{out} exists and is not empty: {which}{todo}.")
        parts.write(SETTINGS, json.dumps(settings, indent=1).encode())
        return parts

    def _same(self, settings: Mapping[str, Any]) -> None:
        try:
            before = json.loads(self.read(SETTINGS))
        except ValueError as error:
            raise MisuseError(f"{self.folder}/{SETTINGS} cannot be read: {error}. --overwrite begins anew.") from error
        for key, value in settings.items():
            if before.get(key) != value:
                raise MisuseError(
                    f"{self.folder} was begun with another {key}: {before.get(key)!r} then, {value!r} now. Ask for the "
                    "same to go on, choose another --out, or --overwrite to begin anew."
                )

    def names(self) -> set[str]:
        """Names of the files in the folder, leftovers of killed workers not among them."""
        from pyarrow import fs

        system, path = self._system()
        infos = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return {info.base_name for info in infos if info.is_file and not info.base_name.startswith(".")}

    def write(self, name: str, data: bytes) -> None:
        """A file, whole or not at all."""
        if not is_remote(self.folder):
            write_bytes(Path(self.folder, name), data)
            return
        system, path = self._system()
        system.create_dir(path, recursive=True)
        temporary = f"{path}/.{name}.{uuid.uuid4().hex}"
        with system.open_output_stream(temporary) as stream:
            stream.write(data)
        system.move(temporary, f"{path}/{name}")

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        system, path = self._system()
        with system.open_input_stream(f"{path}/{name}") as stream:
            data: bytes = stream.read()
            return data

    def counted(self, index: int) -> tuple[int, int]:
        """Rows of a block's part, and how many of them have an error; (0, 0) where it is not there.

        Raises:
            DataError: it cannot be read.
        """
        import pyarrow as pa
        from pyarrow import parquet

        system, path = self._system()
        try:
            with system.open_input_file(f"{path}/{part_name(index)}") as file:
                errors = parquet.read_table(file, columns=["error"]).column(0)
        except FileNotFoundError:
            return 0, 0
        except (pa.ArrowException, OSError) as error:
            line = str(error).partition("\n")[0]
            raise DataError(
                f"{self.folder}/{part_name(index)}: cannot be read: {line} Remove it and --resume."
            ) from error
        return len(errors), len(errors) - errors.null_count

    def tries(self, index: int) -> int:
        """How often a block was begun by workers that had died before; see `note_tries`."""
        name = _TRIED.format(index)
        return int(self.read(name)) if name in self.names() else 0

    def note_tries(self, index: int, tries: int) -> None:
        """Keep it until `tidy`."""
        self.write(_TRIED.format(index), str(tries).encode())

    def tidy(self) -> None:
        """Remove what killed workers left behind: nobody may be writing any more."""
        from pyarrow import fs

        system, path = self._system()
        infos = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
        self._remove(info.base_name for info in infos if info.is_file and info.base_name.startswith(_LEFT))

    def _remove(self, names: Any) -> None:
        system, path = self._system()
        for name in names:
            system.delete_file(f"{path}/{name}")

    def _system(self) -> tuple[Any, str]:
        if is_remote(self.folder):
            system, path = open_file_system(self.folder)
            return system, path.rstrip("/")
        from pyarrow import fs

        return fs.LocalFileSystem(), self.folder


def part_name(index: int) -> str:
    """Name of a block's file."""
    return f"{_PART}{index:05d}.parquet"
