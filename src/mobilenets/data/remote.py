"""Files of any file system that Arrow or fsspec knows, by their address: `s3://bucket/photos/`, `gs://`, `hdfs://`.

Options follow a question mark, as Arrow reads them: `s3://bucket/photos/?endpoint_override=127.0.0.1:9000&scheme=http`.
They stay in the names of the files that are found, so that each name can be opened by itself.
"""

from __future__ import annotations

import functools
import re
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mobilenets.data.files import is_image, natural
from mobilenets.errors import DataError, MissingExtraError, MisuseError

__all__ = ["TABLE", "find_remote", "is_remote", "open_file_system", "read_remote", "remote_suffix"]

TABLE = ".parquet"
"""What names of tables end in."""

_MAGIC = re.compile(r"[*?\[]")


class _Address(NamedTuple):
    """An address in its parts: `s3://bucket`, `photos/a.jpg`, `?scheme=http`."""

    root: str
    key: str
    options: str

    @staticmethod
    def of(address: str) -> _Address:
        place, mark, options = address.rpartition("?")
        if not mark or "=" not in options:  # a question mark may also be a pattern's
            place, options = address, ""
        scheme, _, rest = place.partition("://")
        host, _, key = rest.partition("/")
        return _Address(f"{scheme}://{host}", key, f"?{options}" if options else "")

    def named(self, key: str) -> str:
        return f"{self.root}/{key}{self.options}"


def is_remote(name: object) -> bool:
    """Whether a name is the address of a file system, not a path."""
    return "://" in str(name)


def remote_suffix(name: str) -> str:
    """Extension of an address or a path, in small letters, with its dot."""
    return PurePosixPath(_Address.of(name).key if is_remote(name) else name).suffix.lower()


def open_file_system(address: str) -> tuple[Any, str]:
    """An Arrow file system, and the path in it that an address names.

    Raises:
        MisuseError: neither Arrow nor fsspec knows such addresses, or its own library is not installed.
        MissingExtraError: pyarrow is not installed.
    """
    parts = _Address.of(address)
    system, base = _system(parts.root, parts.options)
    return system, f"{base}/{parts.key}".lstrip("/") if not base.startswith("/") else f"{base.rstrip('/')}/{parts.key}"


@functools.cache  # a client of S3 takes 40 ms to make
def _system(root: str, options: str) -> tuple[Any, str]:
    try:
        from pyarrow import fs
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", purpose=f"reading {root}") from error
    try:
        found: tuple[Any, str] = fs.FileSystem.from_uri(f"{root}/{options}")
        return found
    except (ValueError, NotImplementedError, OSError) as arrows:  # ArrowInvalid is a ValueError
        try:
            from fsspec.core import url_to_fs

            other, base = url_to_fs(f"{root}/")
        except (ImportError, ValueError) as error:
            scheme = urlsplit(root).scheme
            raise MisuseError(
                f"{root}: no file system for {scheme}:// addresses: Arrow says «{_line(arrows)}», fsspec says "
                f"«{_line(error)}»."
            ) from error
        return fs.PyFileSystem(fs.FSSpecHandler(other)), base


def read_remote(address: str) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    system, path = open_file_system(address)
    with system.open_input_stream(path) as stream:
        data: bytes = stream.read()
        return data


def find_remote(address: str) -> list[str]:
    """Addresses of the images that a file, a folder (searched recursively) or a pattern names, in natural order.

    Where a folder has no images, its Parquet files. `*` does not cross a `/`, `**` does. Hidden names are left out.

    Raises:
        MisuseError: there is no such file, or no images.
        DataError: the file system cannot be reached.
    """
    from pyarrow import fs

    parts = _Address.of(address)
    system, path = open_file_system(address)
    magic = _MAGIC.search(path)
    folder = path[: path.rfind("/", 0, magic.start())] if magic else path.rstrip("/")
    try:
        if not magic and (kind := system.get_file_info(folder).type) != fs.FileType.Directory:
            if kind == fs.FileType.NotFound:
                raise MisuseError(f"{address}: no such file or folder.")
            return [address]
        infos = system.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    except OSError as error:
        raise DataError(
            f"{address}: cannot be listed: {_line(error)}. Check the address, the network and your credentials."
        ) from error
    wanted = _pattern(path) if magic else re.compile("")
    files = sorted((i.path for i in infos if i.type == fs.FileType.File and wanted.match(i.path)), key=natural)
    files = [file for file in files if not _hidden(file[len(folder) :])]
    found = [file for file in files if is_image(file)] or [file for file in files if file.lower().endswith(TABLE)]
    if not found:
        raise MisuseError(f"{address}: no images and no Parquet files here: found {len(files)} other files.")
    skipped = len(path) - len(parts.key)  # the bucket, where paths have it
    return [parts.named(file[skipped:]) for file in found]


def _pattern(path: str) -> re.Pattern[str]:
    from fsspec.utils import glob_translate

    return re.compile(glob_translate(path))


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(". ")
