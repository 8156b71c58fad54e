"""Real servers on loopback, in this process or as processes of their own, and a client."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn

from mobilenets.serve.app import create_app
from mobilenets.serve.models import open_models
from mobilenets.serve.running import Server, listening
from mobilenets.serve.service import Service
from mobilenets.serve.settings import Settings


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of an error, whose form is checked."""
        error = self.json()["error"]
        assert set(error) == {"code", "message", "hint"} and error["message"]
        return str(error["code"])


class Client:
    """Asks a server, each time on a connection of its own."""

    def __init__(self, address: str, token: str = "") -> None:
        self.host = address.removeprefix("http://")
        self.token = token

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Names of headers are written with underscores."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            named["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: Any, kind: str = "application/octet-stream") -> Answer:
        return self.ask("POST", path, body, Content_Type=kind)

    def post_json(self, path: str, value: Any) -> Answer:
        return self.post(path, json.dumps(value).encode(), "application/json")

    def post_form(self, path: str, *files: bytes) -> Answer:
        return self.post(path, form(*files), "multipart/form-data; boundary=xyz")


def form(*files: bytes, name: str = "image") -> bytes:
    """A multipart form with boundary `xyz`."""
    head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode()
    return b"".join(head + file + b"\r\n" for file in files) + b"--xyz--\r\n"


class Running(NamedTuple):
    """A server in this process."""

    client: Client
    service: Service
    server: Server
    call: Callable[[Callable[[], None]], object]


@contextmanager
def running(files: Mapping[str, Path], settings: Settings) -> Iterator[Running]:
    """A real server on loopback, in a thread; `call` runs something in its event loop."""
    models = open_models([f"{name}={path}" for name, path in files.items()], settings)
    app = create_app(models, settings)
    loop = asyncio.new_event_loop()
    with listening("127.0.0.1", 0) as where:
        config = uvicorn.Config(app, log_level="critical", ws="none", http="h11", lifespan="on")
        server = Server(config, app.state.service)
        address = f"http://127.0.0.1:{where.getsockname()[1]}"

        def work() -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(server._serve([where]))

        thread = threading.Thread(target=work)
        thread.start()
        try:
            token = settings.token or ""
            yield Running(Client(address, token), app.state.service, server, loop.call_soon_threadsafe)
        finally:
            server.should_exit = True
            thread.join()
            loop.close()


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`mobilenets serve` as a process, and its address."""
    command = [sys.executable, "-m", "mobilenets", "serve", "--port", "0", *arguments]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=os.environ | environment
    ) as child:
        try:
            assert child.stderr is not None
            line = child.stderr.readline()
            assert " at http://" in line, line + child.stderr.read()
            yield child, line.rsplit(" at ", 1)[1].strip()
        finally:
            child.kill()
