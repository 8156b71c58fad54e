"""Requests to encoded images, whatever the form: raw bytes, a multipart form, JSON with base64 or addresses."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Message, Receive

from mobilenets.serve.problems import Problem, busy

LARGEST_TOP = 1000
DROPPING_S = 1.0
_FORMS = "multipart/form-data with parts named `image`, image/* or application/octet-stream, or application/json"


class JsonImage(BaseModel):
    """An image in a JSON request: its bytes in base64, or where it lies."""

    model_config = ConfigDict(extra="forbid", strict=True)
    base64: str | None = None
    url: Annotated[str, Field(max_length=4096)] | None = None


class JsonRequest(BaseModel):
    """A JSON request."""

    model_config = ConfigDict(extra="forbid", strict=True)
    images: Annotated[list[JsonImage], Field(min_length=1)]
    top: Annotated[int, Field(ge=1, le=LARGEST_TOP)] | None = None
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


class Held:
    """Bytes of all requests under way: memory they may take together."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0

    @contextmanager
    def room(self) -> Iterator[Room]:
        """A request's part, given back when the block ends."""
        room = Room(self)
        try:
            yield room
        finally:
            self.bytes -= room.bytes


class Room:
    """A request's part of `Held`."""

    def __init__(self, held: Held) -> None:
        self._held, self.bytes = held, 0

    def take(self, size: int) -> None:
        """Hold so many bytes more.

        Raises:
            Problem: 429: there is no room.
        """
        if self._held.bytes + size > self._held.most_bytes:
            raise busy(f"requests under way hold {self._held.bytes:,} bytes, as many as they may.")
        self._held.bytes += size
        self.bytes += size


async def limited(request: Request, max_bytes: int, room: Room) -> AsyncGenerator[bytes, None]:
    """A request's body, chunk by chunk.

    Raises:
        Problem: 413 it is longer than it may be, or says so; 429 other requests hold all memory.
    """
    _check_length(request, max_bytes)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_long(max_bytes)
        room.take(len(chunk))
        yield chunk


def _check_length(request: Request, max_bytes: int) -> None:
    said = request.headers.get("content-length", "0")
    if said.isascii() and said.isdigit() and int(said[:20]) > max_bytes:
        raise _too_long(max_bytes)


def _too_long(max_bytes: int) -> Problem:
    return Problem(413, f"the request is longer than {max_bytes:,} bytes.", "Send fewer images, or smaller ones.")


class Body:
    """What a client still sends of a request's body."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self.ended = receive, False

    async def receive(self) -> Message:
        """The next message of the connection."""
        message = await self._receive()
        self.ended = self.ended or message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def drop(self, most_bytes: int) -> bool:
        """Read what is left and forget it, so that the client reads the answer before the connection breaks.

        True where the body ended: the connection may be used again.
        """
        left = most_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(DROPPING_S):
                while left > 0 and not self.ended:
                    left -= len((await self.receive()).get("body", b""))
        return self.ended


async def images_in_form(request: Request, stream: AsyncGenerator[bytes, None], max_images: int) -> list[bytes]:
    """The parts named `image` of a multipart form.

    Raises:
        Problem: 400 not a form, 422 no such part.
    """
    parser = _InMemory(request.headers, stream, max_files=max_images + 1, max_fields=100, max_part_size=65536)
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError, LookupError) as error:  # the last two: a charset that nobody has
        why = getattr(error, "message", error)
        raise Problem(400, f"the form cannot be read: {why}", f"Send {_FORMS}.") from error
    parts = form.getlist("image")
    files = [each.file.read() for each in parts if not isinstance(each, str)]
    await form.close()
    if len(files) < len(parts):
        raise Problem(
            422, f"{len(parts) - len(files)} of the {len(parts)} parts named `image` are texts, not files.",
            "Give each a file name: curl -F image=@photo.jpg.",
        )  # fmt: skip
    return files


class _InMemory(MultiPartParser):
    """Bodies are bounded, so no part goes to a file on disk."""

    spool_max_size = 1 << 40


def json_request(body: bytes) -> JsonRequest:
    """A JSON request, checked.

    Raises:
        Problem: 400 no JSON, 422 JSON of another form.
    """
    try:
        return JsonRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Problem(400, f"the body is not JSON: {first['msg']}", "Send a JSON object in UTF-8.") from error
        where = ".".join(str(part) for part in first["loc"])[:200] or "the body"
        raise Problem(
            422, f"{where}: {first['msg']}",
            'Expected {"images": [{"base64": "..."}], "top": 5}; top and score may be left out.',
        ) from error  # fmt: skip


def from_base64(text: str, name: str) -> bytes:
    """The bytes of a base64 text; a `data:` address's are taken, too.

    Raises:
        Problem: 422: no base64.
    """
    encoded = text.partition(",")[2] if text[:5] == "data:" else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        hint = "Encode the image file's bytes as standard base64 without line breaks."
        raise Problem(422, f"{name}: its base64 cannot be read: {error}.", hint) from error


def form_of(request: Request) -> str:
    """Which form a body has: form, json or raw.

    Raises:
        Problem: 415: another one.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "the body is compressed (Content-Encoding).", "Send it as it is: photos are compressed.")
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    match kind:
        case "multipart/form-data":
            return "form"
        case "application/json":
            return "json"
        case "application/octet-stream":
            return "raw"
        case _ if kind.startswith("image/"):
            return "raw"
        case _:
            raise Problem(415, f"a body of type {kind[:100]!r} cannot be read.", f"Send {_FORMS}.")
