"""What a server refuses, each with its status and a body that says why; nothing is answered with 500."""

from __future__ import annotations

import base64
import io
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from serving import Client, form, running

from mobilenets.serve.settings import Settings

PREDICT = "/v1/models/labels:predict"


def png(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header promises another size than it has."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    data = file.getvalue()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def noisy() -> bytes:
    """A JPEG of some kilobytes."""
    file = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "text"),
    [
        (b"", 422, "no image"),
        (b"hello, this is text", 415, "image 1: not an image: begins with"),
        (b"\xff\xd8\xff\xe0", 415, "image 1"),
        (b"\x89PNG\r\n\x1a\n", 415, "image 1: damaged PNG"),
        (png(50_000, 50_000), 413, "decompression bomb"),
        (png(2000, 1000), 413, "image 1: 2000x1000 pixels, limit 1,000,000 pixels"),
        (jpeg(65_000, 65_000), 413, "decompression bomb"),
        (jpeg(5000, 5000), 413, "image 1: 5000x5000 pixels"),
        (png(100, 100), 422, "image 1: "),
        (noisy()[:-900], 422, "image 1: truncated JPEG"),
        (b"x" * 200_001, 413, "longer than 200,000 bytes"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_image(client: Client, data: bytes, status: int, text: str) -> None:
    answer = client.post(PREDICT, data)
    assert answer.status == status, answer.body
    assert text in answer.json()["error"]["message"] and answer.code
    alone = client.post_form(PREDICT, data)
    assert alone.status == status, alone.body


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"images":' + b"[" * 50_000, 400, "not JSON"),
        (b'{"images": [{"base64": "\\ud800"}]}', 400, "not JSON"),
        (b"[]", 422, "the body"),
        (b'"images"', 422, "the body"),
        (b"{}", 422, "images: Field required"),
        (b'{"images": []}', 422, "images: List should have at least 1 item"),
        (b'{"images": [3]}', 422, "images.0"),
        (b'{"images": [{}]}', 422, "image 1 has not one of `base64` and `url`"),
        (b'{"images": [{"base64": 7}]}', 422, "images.0.base64: Input should be a valid string"),
        (b'{"images": [{"base64": "%%%"}]}', 422, "image 1: its base64 cannot be read"),
        (b'{"images": [{"base64": ""}]}', 422, "no image"),
        ('{"images": [{"base64": "\u00e9"}]}'.encode(), 422, "image 1: its base64 cannot be read"),
        (b'{"images": [{"base64": "aGVsbG8="}]}', 415, "image 1: not an image"),
        (b'{"images": [{"url": "http://127.0.0.1/a.jpg"}]}', 422, "image 1 is a URL, which this server does not fetch"),
        (b'{"images": [{"base64": "aGVsbG8="}], "top": 0}', 422, "top"),
        (b'{"images": [{"base64": "aGVsbG8="}], "top": 1e99}', 422, "top"),
        (b'{"images": [{"base64": "aGVsbG8="}], "top": true}', 422, "top"),
        (b'{"images": [{"base64": "aGVsbG8="}], "score": NaN}', 422, "score"),
        (b'{"images": [{"base64": "aGVsbG8="}], "score": 0.5}', 422, "`score` (=0.5) is the least score of a box"),
        (b'{"images": [{"base64": "aGVsbG8="}], "model": "x"}', 422, "model: Extra inputs"),
        (b'{"images": [' + b",".join([b'{"base64": "aGVsbG8="}'] * 17) + b"]}", 413, "more than 16 images"),
    ],
)  # fmt: skip
def test_json_of_another_form(client: Client, body: bytes, status: int, text: str) -> None:
    answer = client.post(PREDICT, body, "application/json")
    assert answer.status == status, answer.body
    assert text in answer.json()["error"]["message"], answer.body


@pytest.mark.parametrize(
    ("body", "kind", "status", "text"),
    [
        (b"--xyz--\r\n", "multipart/form-data; boundary=xyz", 422, "no image"),
        (b"", "multipart/form-data; boundary=xyz", 422, "no image"),
        (form(b""), "multipart/form-data; boundary=xyz", 422, "no image"),
        (form(b"a", name="photo"), "multipart/form-data; boundary=xyz", 422, "no image"),
        (form(b"a"), "multipart/form-data", 400, "Missing boundary"),
        (form(b"a"), "multipart/form-data; boundary=", 400, "form cannot be read"),
        (b"garbage", "multipart/form-data; boundary=xyz", 400, "form cannot be read"),
        (form(b"a"), "multipart/form-data; boundary=xyz; charset=undefined", 400, "form cannot be read"),
        (form(*[b"a"] * 17), "multipart/form-data; boundary=xyz", 413, "more than 16 images"),
        (form(*[b"a"] * 40), "multipart/form-data; boundary=xyz", 400, "Too many files"),
        (
            b'--xyz\r\nContent-Disposition: form-data; name="image"\r\n\r\nhello\r\n--xyz--\r\n',
            "multipart/form-data; boundary=xyz", 422, "are texts, not files",
        ),
        (
            b"--xyz\r\nContent-Disposition: form-data\r\n\r\na\r\n--xyz--\r\n",
            "multipart/form-data; boundary=xyz", 400, '"name" must be provided',
        ),
        (b"a=b", "application/x-www-form-urlencoded", 415, "cannot be read"),
        (b"hello", "text/plain", 415, "a body of type 'text/plain' cannot be read"),
    ],
)  # fmt: skip
def test_forms_and_types(client: Client, body: bytes, kind: str, status: int, text: str) -> None:
    answer = client.post(PREDICT, body, kind)
    assert answer.status == status, answer.body
    assert text in answer.json()["error"]["message"], answer.body


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nothing", 404, "Not Found"),
        ("GET", "/v1/models/label", 404, "no model is named 'label'. Did you mean labels"),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 404, ""),
        ("GET", "/v1/models/..%2flabels/model.onnx", 404, ""),
        ("GET", "/static/..%2f..%2fapp.py", 404, ""),
        ("GET", "/static/../app.py", 404, ""),
        ("GET", "/static/%00", 404, ""),
        ("GET", "/docs", 404, ""),
        ("GET", "/v1/models/%ff%fe:predict", 404, "no model is named"),
        ("POST", "/v1/models/%ED%A0%80:predict", 404, "no model is named"),
        ("DELETE", "/v1/models/labels", 405, "Method Not Allowed"),
        ("GET", PREDICT, 404, "no model is named 'labels:predict'"),
        ("PUT", "/healthz", 405, ""),
        ("POST", "/v1/models/boxes:predict?score=2", 422, "query.score"),
        ("POST", "/v1/models/boxes:predict?score=nan", 422, "query.score"),
        ("POST", "/v1/models/boxes:predict?top=0", 422, "query.top"),
        ("POST", "/v1/models/boxes:predict?top=1001", 422, "query.top"),
        ("POST", "/v1/models/boxes:predict?top=%ff", 422, "query.top"),
        ("POST", "/v1/models/masks:predict?top=3", 422, "this model gives a mask"),
        ("POST", PREDICT + "?score=0.5", 422, "this model gives no boxes"),
    ],
)  # fmt: skip
def test_places_and_values(client: Client, method: str, path: str, status: int, text: str) -> None:
    answer = client.ask(method, path, b"x" if method == "POST" else None)
    assert answer.status == status, answer.body
    assert text in answer.json()["error"]["message"] and answer.code


def raw(client: Client, request: bytes, *, end: bool = False) -> bytes:
    """What comes back for bytes sent as they are."""
    host, port = client.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        try:
            connection.sendall(request)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return b""


POST = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\n".encode()
CLOSE = b"Connection: close\r\n"
CHUNK = b"10000\r\n" + b"x" * 65_536 + b"\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "wanted"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + CLOSE + (b"X-Long: %s\r\n" % (b"a" * 5000)) * 4 + b"\r\n", b" 400 "),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n", b" 400 "),
        (b"\x16\x03\x01\x02\x00\x01\x00", b" 400 "),
        (POST + b"Content-Length: -5\r\n\r\n", b" 400 "),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b" 400 "),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\n", b" 413 "),
        (POST + CLOSE + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000, b" 413 "),
        (POST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * 4 + b"0\r\n\r\n", b" 413 "),
        (POST + CLOSE + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", b" 415 "),
    ],
)  # fmt: skip
def test_http_that_is_none(client: Client, request_bytes: bytes, wanted: bytes) -> None:
    assert wanted in raw(client, request_bytes).split(b"\r\n")[0]
    assert client.get("/readyz").status == 200


def test_a_body_that_ends_too_early_leaves_nothing_behind(served: Any) -> None:
    raw(
        served.client, b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", end=True
    )
    assert served.client.get("/readyz").status == 200


def test_a_token_is_asked_for(files: dict[str, Path], pictures: list[Path]) -> None:
    with running({"labels": files["labels"]}, Settings(token="s3cret", threads=1)) as server:
        known, stranger = server.client, Client(server.client.host)
        for path in ("/v1/models", "/v1/models/labels/model.onnx", "/metrics", "/openapi.json", "/nothing", PREDICT):
            refused = stranger.get(path)
            assert (refused.status, refused.code) == (401, "unauthorized")
            assert refused.headers["www-authenticate"] == "Bearer"
        for given in ("Bearer", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret", "Bearer \xe9"):
            assert stranger.ask("POST", PREDICT, b"x", Authorization=given.encode("latin-1")).status == 401
        for path in ("/healthz", "/readyz"):
            assert stranger.get(path).status == 200
        assert stranger.get("/static/nothing.js").status == 404
        assert stranger.get("/").status in (200, 404)
        assert known.get("/v1/models").status == 200
        assert known.post(PREDICT, pictures[0].read_bytes()).status == 200


def test_base64_of_an_image_too_large_for_the_limit(client: Client) -> None:
    text = base64.b64encode(png(3000, 3000)).decode()
    assert client.post_json(PREDICT, {"images": [{"base64": text}]}).status == 413
