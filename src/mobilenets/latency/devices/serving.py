"""The loopback server between a page and the one that asks: commands out, files out, answers in."""

from __future__ import annotations

import json
import queue
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TYPES = {".html": "text/html; charset=utf-8", ".mjs": "text/javascript", ".js": "text/javascript"} | {
    ".wasm": "application/wasm"
}
POLL_S = 10.0


class Server(ThreadingHTTPServer):
    """Serves the page and onnxruntime-web on loopback, under a path that only the page is told.

    Attributes:
        commands: what the page shall do next.
        replies: what it answered.
        files: bytes by `model/name`.
    """

    daemon_threads = True

    def __init__(self, page: Path, ort: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page, self.ort = page, ort
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self.commands: queue.Queue[Mapping[str, Any]] = queue.Queue()
        self.replies: queue.Queue[dict[str, Any]] = queue.Queue()
        self.files: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.server_address[1]}{self.path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that is closed drops its connections: nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        own = path.removeprefix(self.server.path) if path.startswith(self.server.path) else None
        if own == "":
            self._send(self.server.page.read_bytes(), ".html")
        elif own == "next":
            self._next()
        elif own is not None and (data := self.server.files.get(own.removeprefix("files/"))) is not None:
            self._send(data, "")
        elif path.startswith("/ort/") and (file := self.server.ort / Path(path).name).is_file():
            self._send(file.read_bytes(), file.suffix)
        else:
            self._send(b"", "", 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == f"{self.server.path}reply":
            self.server.replies.put(json.loads(body))
        self._send(b"", "", 200)

    def _next(self) -> None:
        try:
            self._send(json.dumps(dict(self.server.commands.get(timeout=POLL_S))).encode(), ".json")
        except queue.Empty:
            self._send(b"", "", 204)

    def _send(self, data: bytes, suffix: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", TYPES.get(suffix, "application/octet-stream"))
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        # wasm threads and fine clocks are for pages that share nothing with others
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: results are what is printed."""


@contextmanager
def serving(page: Path, ort: Path) -> Iterator[Server]:
    """A running server, stopped when the block ends."""
    server = Server(page, ort)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
