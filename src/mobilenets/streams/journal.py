"""What a run that was killed had done: rows, bytes, and what they were rows of.

Beside `OUT` lie `OUT.part`, the lines so far, and `OUT.journal`: a line of settings, then now and then a line that says
how many rows and bytes of the part are on the disk. A line that was cut off counts as not written, and so does
everything in the part behind the last whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mobilenets.errors import MisuseError

STEP = 16
"""Rows are told in multiples of this: where the last bits of answers depend on the batch, a run goes on between two."""
EVERY_S = 0.5
VERSION = 1


class Journal:
    """The lines of a file that is being written.

    Args:
        path: the file.
        settings: what its rows depend on besides the inputs, as plain JSON values.
        resume: go on where a killed run was, if there was one.
        overwrite: replace what is there.

    Raises:
        MisuseError: the file exists or a run was interrupted, and neither `resume` nor `overwrite` says what to do; or
            the run that was interrupted had other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.part, self.file = part_of(path), journal_of(path)
        self.rows, self._bytes, self._digest = 0, 0, ""
        self._head = {"version": VERSION, "settings": dict(settings)}
        if path.is_dir():
            raise MisuseError(f"{path} is a folder: name a file for --out.")
        path.parent.mkdir(parents=True, exist_ok=True)
        if overwrite:
            remove(path)
        elif self.file.exists() and self.part.exists():
            if not resume:
                raise MisuseError(
                    f"{path}: a run that was interrupted left {self.part.name}: --resume goes on with it, --overwrite "
                    "begins anew."
                )
            self._read(path)
        elif path.exists():
            raise MisuseError(f"{path} exists: choose another --out, or --overwrite to replace it.")
        self._told_s = time.monotonic()

    def _read(self, path: Path) -> None:
        lines = [line for line in self.file.read_bytes().split(b"\n")[:-1] if line]
        head = _values(lines[0]) if lines else self._head
        if head is None:
            raise MisuseError(f"{self.file}: damaged, so nobody can tell what is done: --overwrite begins anew.")
        if head != self._head:
            raise MisuseError(f"{path}: the run that was interrupted had {_difference(head, self._head)}.")
        there = self.part.stat().st_size
        for line in lines[1:]:
            told = _values(line)  # one that was killed while it cut the journal off leaves a part of a line
            if told is not None and told["bytes"] <= there:
                self.rows, self._bytes, self._digest = told["rows"], told["bytes"], told["inputs"]

    def skip(self, names: Iterator[str]) -> None:
        """Pass over the inputs of the rows that are there.

        Raises:
            MisuseError: they are not the inputs of the run that was interrupted.
        """
        digest, rows = "", 0
        while rows < self.rows and (name := next(names, None)) is not None:
            digest, rows = _chained(digest, name), rows + 1
        if rows < self.rows or digest != self._digest:
            raise MisuseError(
                f"{self.part}: its {self.rows:,} rows are of other inputs than those given now: name the same ones in "
                "the same order, or --overwrite to begin anew."
            )

    @contextmanager
    def writing(self, header: str) -> Iterator[Callable[[str, str], None]]:
        """Gives what writes the lines of an input (its name, lines); a run can be gone on with after any death."""
        mode = "r+b" if self.rows else "wb"
        with _alone(self.file), self.part.open(mode) as part, self.file.open(mode) as file:
            self._begin(part, file, header)

            def write(name: str, lines: str) -> None:
                data = lines.encode("utf-8", "backslashreplace")
                part.write(data)
                self.rows, self._bytes, self._digest = (
                    self.rows + 1,
                    self._bytes + len(data),
                    _chained(self._digest, name),
                )
                if self.rows % STEP == 0 and time.monotonic() - self._told_s >= EVERY_S:
                    self._tell(part, file)

            yield write
            part.flush()
            os.fsync(part.fileno())

    def _begin(self, part: IO[bytes], file: IO[bytes], header: str) -> None:
        """Cut off what was not told, or write what comes first."""
        file.write(json.dumps(self._head).encode() + b"\n")
        if self.rows:
            part.truncate(self._bytes)
            part.seek(self._bytes)
        else:
            self._bytes = part.write(header.encode())
        self._tell(part, file)
        file.truncate()

    def _tell(self, part: IO[bytes], file: IO[bytes]) -> None:
        part.flush()
        os.fsync(part.fileno())
        told = {"rows": self.rows, "bytes": self._bytes, "inputs": self._digest}
        file.write(json.dumps(told).encode() + b"\n")
        file.flush()
        self._told_s = time.monotonic()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keeps other processes from writing the same run.

    Raises:
        MisuseError: one does.
    """
    with file.open("ab") as opened:
        try:
            import fcntl

            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MisuseError(f"{file}: another process is writing this run: wait for it, or stop it.") from error
        except (ImportError, OSError):  # not on Windows, nor on every file system
            pass
        yield


def part_of(path: Path) -> Path:
    """Where the lines of a file lie until it is whole."""
    return path.with_name(f"{path.name}.part")


def journal_of(path: Path) -> Path:
    """Where is told how far a file is."""
    return path.with_name(f"{path.name}.journal")


def remove(path: Path) -> None:
    """Remove what an interrupted run left; the file itself stays until it is replaced."""
    part_of(path).unlink(missing_ok=True)
    journal_of(path).unlink(missing_ok=True)


def _values(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _chained(digest: str, name: str) -> str:
    return hashlib.blake2b(f"{digest}\n{name}".encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _difference(head: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    if head.get("version") != wanted["version"]:
        return f"a journal of version {head.get('version')}, expected {wanted['version']}: --overwrite begins anew"
    then, now = head["settings"], wanted["settings"]
    parts = [f"{name} {then.get(name)!r}, now {now.get(name)!r}" for name in now if then.get(name) != now.get(name)]
    return f"{'; '.join(parts)}: give the same again, or --overwrite to begin anew"
