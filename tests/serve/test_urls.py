"""Addresses that clients name: fetched from the public internet only, within limits."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from serving import running

from mobilenets.serve.settings import Settings
from mobilenets.serve.urls import FetchError, fetch, public


@pytest.mark.parametrize(
    ("address", "open_to_all"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True),
        ("127.0.0.1", False), ("127.8.9.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False),
        ("255.255.255.255", False), ("::1", False), ("::", False), ("fe80::1", False), ("fc00::1", False),
        ("ff02::1", False), ("::ffff:127.0.0.1", False), ("::ffff:10.0.0.1", False), ("64:ff9b::a00:1", False),
        ("2002:7f00:1::", False), ("2001:0:1::1", False),
    ],
)  # fmt: skip
def test_which_machines_may_be_asked(address: str, open_to_all: bool) -> None:
    assert public(ipaddress.ip_address(address)) is open_to_all


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        place = {"/moved": "/image", "/loop": "/loop", "/inside": "http://10.0.0.1/", "/file": "file:///etc/passwd"}
        if self.path in place:
            self.send_response(302)
            self.send_header("Location", place[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"abc")
            self.close_connection = True
        elif self.path in ("/image", "/%C3%A9?a=%20"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 1000)
        else:
            self.send_error(404)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_loopback


def test_images_are_fetched(address: str) -> None:
    for path in ("/image", "/moved", "/é?a= "):
        assert fetch(address + path, 1000, 10, loopback) == b"x" * 1000


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/gone", "the URL answers with 404"),
        ("/loop", "redirects more than 3 times"),
        ("/inside", "not on the public internet"),
        ("/file", "not of the form http"),
        ("/cut", "cannot be read|the connection broke"),
    ],
)
def test_what_is_refused(address: str, path: str, text: str) -> None:
    with pytest.raises(FetchError, match=text):
        fetch(address + path, 1000, 10, loopback)


def test_too_many_bytes(address: str) -> None:
    with pytest.raises(FetchError, match="more than 999 bytes"):
        fetch(f"{address}/image", 999, 10, loopback)


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "http://", "http:///a", "ftp://example.com/a", "file:///etc/passwd", "http://user@example.com/",
        "http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://2130706433/",
        "http://0x7f.1/", "http://0/", "http://127.0.0.1:99999/", "http://[bad/", "http://a\nb/", "http://a b/",
        "http://" + "a" * 300 + "/", "http://\u2488\u2488/", "gopher://127.0.0.1/", "http://169.254.169.254/latest",
    ],
)  # fmt: skip
def test_addresses_that_lead_inside_or_nowhere(url: str) -> None:
    with pytest.raises(FetchError):
        fetch(url, 1000, 2)


def test_a_server_that_may_fetch_still_refuses_itself(files: Any) -> None:
    with running({"labels": files["labels"]}, Settings(threads=1, allow_urls=True)) as server:
        url = f"http://{server.client.host}/v1/models"
        answer = server.client.post_json("/v1/models/labels:predict", {"images": [{"url": url}]})
        assert (answer.status, answer.code) == (422, "url")
        assert (
            "image 1: the URL leads to a machine that is not on the public internet"
            in answer.json()["error"]["message"]
        )
