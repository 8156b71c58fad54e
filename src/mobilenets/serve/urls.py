"""Images from addresses that clients name: only from the public internet, whatever a name or a redirect leads to.

A name is resolved once, its addresses are checked, and the connection goes to the one that was checked: a name server
that answers differently the second time gains nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import SplitResult, quote, urljoin, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

REDIRECTS = 3
_CHUNK_BYTES = 1 << 16
_KEPT = "/%:=&?~+!$,;'@()*[]"
_TRANSLATED = tuple(ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
"""IPv6 addresses that lead to IPv4 ones."""


class FetchError(Exception):
    """An address from which no image can be had; says why."""


def public(address: Address) -> bool:
    """Whether an address is one of the internet's, not of this machine or its networks."""
    if isinstance(address, ipaddress.IPv6Address):
        if (mapped := address.ipv4_mapped) is not None:
            return public(mapped)
        if any(address in network for network in _TRANSLATED):
            return False
    return address.is_global and not address.is_multicast


def fetch(url: str, max_bytes: int, timeout_s: float, allowed: Callable[[Address], bool] = public) -> bytes:
    """The bytes at an http or https address.

    Args:
        url: the address; up to three redirects are followed, each checked like the first.
        max_bytes: more are refused.
        timeout_s: for all of it.
        allowed: which machines may be asked.

    Raises:
        FetchError: the address is refused, or gives nothing.
    """
    until = time.monotonic() + timeout_s
    try:
        for _ in range(REDIRECTS + 1):
            found = _once(urlsplit(url), max_bytes, until, allowed)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
    except (OSError, ValueError, http.client.HTTPException) as error:  # UnicodeError is a ValueError
        raise FetchError(f"the URL cannot be read: {error or type(error).__name__}.") from error
    raise FetchError(f"the URL redirects more than {REDIRECTS} times.")


def _once(parts: SplitResult, max_bytes: int, until: float, allowed: Callable[[Address], bool]) -> bytes | str:
    """The bytes, or where they lie instead."""
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise FetchError("the URL is not of the form http://host/path or https://host/path.")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _resolved(parts.hostname, port, allowed)
    connection = _Pinned(parts.scheme == "https", parts.hostname, port, address, until)
    path = quote(parts.path or "/", safe=_KEPT) + (f"?{quote(parts.query, safe=_KEPT)}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"User-Agent": "mobilenets", "Accept": "image/*"})
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308) and (place := response.getheader("Location")):
            return place
        if response.status != 200:
            raise FetchError(f"the URL answers with {response.status}.")
        return _read(response, max_bytes, until)
    finally:
        connection.close()


def _resolved(host: str, port: int, allowed: Callable[[Address], bool]) -> str:
    addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not all(allowed(ipaddress.ip_address(each)) for each in addresses):
        raise FetchError("the URL leads to a machine that is not on the public internet.")
    return addresses[0]


def _read(response: http.client.HTTPResponse, max_bytes: int, until: float) -> bytes:
    data = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:
            raise FetchError(f"the URL gives more than {max_bytes:,} bytes.")
        if time.monotonic() > until:
            raise TimeoutError("it takes too long")
    if response.length:
        raise FetchError(f"the connection broke {response.length:,} bytes before the end.")
    return bytes(data)


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, whatever the host's name leads to by now."""

    def __init__(self, secure: bool, host: str, port: int, address: str, until: float) -> None:
        super().__init__(host, port)
        self._secure, self._address, self._until = secure, address, until
        self.default_port = 443 if secure else 80

    def connect(self) -> None:
        """Connect to the address; a certificate must be the host's."""
        left_s = max(self._until - time.monotonic(), 0.001)
        self.sock = socket.create_connection((self._address, self.port), left_s)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
