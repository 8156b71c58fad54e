"""A server from its first connection to its last answer."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import uvicorn

from mobilenets.errors import MisuseError
from mobilenets.serve.app import create_app
from mobilenets.serve.guard import LARGEST_HEAD_BYTES
from mobilenets.serve.models import Model
from mobilenets.serve.service import Service
from mobilenets.serve.settings import Settings

KEEP_ALIVE_S = 10
_POLL_S = 0.05


class Server(uvicorn.Server):
    """uvicorn's, which drains before it stops.

    On SIGTERM or SIGINT it answers what is under way, and meanwhile tells others that it is not ready; then it ends. A
    second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._draining: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Both signals end the server well, so they are not raised again afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def drain(self) -> None:
        """Begin to stop; from the server's event loop."""
        if self._service.draining:
            self.should_exit = self.force_exit = True
            return
        self._service.draining = True
        self._draining = asyncio.get_running_loop().create_task(self._drained())

    async def _drained(self) -> None:
        while self._service.under_way:
            await asyncio.sleep(_POLL_S)
        self.should_exit = True


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        MisuseError: it cannot.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.create_server((host, port), family=family, backlog=2048)
        # asyncio does so only where a socket was made for TCP by name; without it an answer waits 40 ms for an ACK
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MisuseError(f"cannot listen on {host}:{port}: {reason}. Choose another --port or --host.") from error


def serve(
    models: Mapping[str, Model], settings: Settings, where: socket.socket, *, on_ready: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        models: see `open_models`.
        settings: limits.
        where: see `listening`.
        on_ready: told the address.
    """
    app = create_app(models, settings)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none", http="h11",
        h11_max_incomplete_event_size=LARGEST_HEAD_BYTES, timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.timeout_s) + 1, lifespan="on",
    )  # fmt: skip
    host, port = where.getsockname()[:2]
    on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    server = Server(config, app.state.service)
    with asyncio.Runner() as runner:
        runner.run(server.serve(sockets=[where]))
    sys.stdout.flush()
