"""Files from the web, kept in the cache folder; a broken download goes on where it stopped."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mobilenets.errors import DataError
from mobilenets.files import cache_folder, write_text

__all__ = ["Address", "downloaded"]

_TIMEOUT_S = 60.0
_NOTHING_LEFT = 416  # Requested Range Not Satisfiable


_MOST_BYTES = 1 << 28
"""Largest image that is taken from the web: nothing of it is decoded before it is there."""


@dataclass(frozen=True, slots=True)
class Address:
    """An image on the web: a source that is read each time it is asked for, and not kept."""

    url: str

    @property
    def name(self) -> str:
        """Last part of the address."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    @property
    def suffix(self) -> str:
        """Extension with its dot."""
        return PurePosixPath(self.name).suffix

    def read_bytes(self) -> bytes:
        """The encoded image.

        Raises:
            DataError: the server cannot be reached or refuses, or the image is not whole or too large.
        """
        try:
            request = urllib.request.Request(self.url, headers={"User-Agent": "mobilenets"})
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                data: bytes = response.read(_MOST_BYTES + 1)
                left = response.length or 0
        except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise DataError(f"{self.url}: cannot be downloaded: {reason}.") from error
        if len(data) > _MOST_BYTES:
            raise DataError(f"{self.url}: more than {_MOST_BYTES:,} bytes, which is no photo.")
        if left:
            raise DataError(f"{self.url}: the connection broke {left:,} bytes before the end.")
        return data

    def __str__(self) -> str:
        return self.url


def downloaded(url: str) -> Path:
    """The file of an http(s) address: from `downloads` in the cache folder, else downloaded to it.

    Raises:
        DataError: the server cannot be reached or refuses, or the file is not as long as the server says.
    """
    address = urlsplit(url)
    inside = [part for part in unquote(address.path).split("/") if part not in ("", ".", "..")]
    file = cache_folder().joinpath("downloads", address.netloc.replace(":", "_"), *inside)
    if file.is_file():
        return file
    part = file.with_name(f"{file.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        expected = _fetch(url, part)
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DataError(
            f"{url}: cannot be downloaded: {reason}. Check the address and the network, or give a file or folder."
        ) from error
    size = part.stat().st_size
    if expected is not None and size != expected:
        if size > expected:
            part.unlink()
        raise DataError(
            f"{url}: got {size:,} of {expected:,} bytes: the connection broke. Run the same again to go on."
        )
    part.replace(file)
    _tag(part).unlink(missing_ok=True)
    return file


def _fetch(url: str, part: Path) -> int | None:
    """Add what is missing to `part`; gives the length of the whole file where the server tells it."""
    begun = part.stat().st_size if part.is_file() and _tag(part).is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "mobilenets"})
    if begun:  # the server sends the rest only where the file is still the same
        request.add_header("Range", f"bytes={begun}-")
        request.add_header("If-Range", _tag(part).read_text(encoding="utf-8"))
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != _NOTHING_LEFT or not begun:
            raise
        part.unlink()
        return _fetch(url, part)
    with response:
        kept = begun if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        if not kept:
            _tag(part).unlink(missing_ok=True)
        length = response.headers.get("Content-Length")
        with part.open("ab" if kept else "wb") as file:
            if not kept and (tag := response.headers.get("ETag") or response.headers.get("Last-Modified")):
                write_text(_tag(part), tag)
            shutil.copyfileobj(response, file, 1 << 20)
    return kept + int(length) if length is not None else None


def _tag(part: Path) -> Path:
    """Where the server's mark of the version lies that `part` is a part of."""
    return part.with_name(f"{part.name}.tag")
