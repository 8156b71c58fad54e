"""What a server may be told, and its limits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mobilenets.errors import MisuseError
from mobilenets.processors import processors

TOKEN = "MOBILENETS_TOKEN"


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of a server.

    Attributes:
        max_batch: images that the network sees at once, at most.
        max_wait_ms: how long the first image of a batch waits for more, at most. It waits only while others are
            being read.
        queue: requests of a model that may be under way, and images of it that may wait for the network.
        max_body_bytes: of a request.
        max_pixels: of an image, as its header says.
        max_images: of a request.
        timeout_s: from a request's first byte to its answer.
        allow_urls: whether images may be fetched from addresses on the public internet.
        token: what requests must carry; None asks for none.
        threads: processors to use; None takes all that are allowed.

    Raises:
        MisuseError: a limit that allows nothing.
    """

    max_batch: int = 16
    max_wait_ms: float = 2.0
    queue: int = 256
    max_body_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_images: int = 32
    timeout_s: float = 30.0
    allow_urls: bool = False
    token: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_batch", "queue", "max_body_bytes", "max_pixels", "max_images"):
            if getattr(self, name) < 1:
                raise MisuseError(f"`{name}` (={getattr(self, name)}) must be at least 1.")
        if not self.max_wait_ms >= 0.0:
            raise MisuseError(f"`max_wait_ms` (={self.max_wait_ms}) must not be negative.")
        if not self.timeout_s > 0.0:
            raise MisuseError(f"`timeout_s` (={self.timeout_s}) must be above 0.")
        if self.threads is not None and self.threads < 1:
            raise MisuseError(f"`threads` (={self.threads}) must be at least 1.")

    @property
    def processors(self) -> int:
        """Processors to use: those that were asked for, or all that this process may run on."""
        if self.threads is not None:
            return self.threads
        return processors()

    @property
    def held_bytes(self) -> int:
        """Of all requests under way together: so much memory they may take before they are decoded."""
        return max(16 * self.max_body_bytes, 256_000_000)


def token_from(file: str | Path | None) -> str | None:
    """The token in a file, else in the environment; None where there is none.

    Raises:
        MisuseError: no such file, or a token that no header can carry.
    """
    if file is None:
        where, text = TOKEN, os.environ.get(TOKEN, "")
    else:
        where = str(file)
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MisuseError(f"the token file {file} cannot be read: {error}.") from error
    token = text.strip()
    if file is not None and not token:
        raise MisuseError(f"the token file {file} is empty: put one line of printable characters in it.")
    if not all("!" <= c <= "~" for c in token):
        raise MisuseError(f"the token in {where} must be one word of printable ASCII characters.")
    return token or None
