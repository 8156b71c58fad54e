"""What surrounds every request: the token, headers that keep browsers safe, counting."""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilenets.serve.bodies import discard
from mobilenets.serve.problems import Problem
from mobilenets.serve.service import Service

MODEL = "mobilenets.model"
"""Where a request's scope holds the name of the model that it is counted for."""

_OPEN = ("/", "/healthz", "/readyz")
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    # wasm threads are for pages that share nothing with others
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
]


class Guard:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service
        token = service.settings.token
        self._expected = None if token is None else token.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            if self._allowed(scope):
                await self.app(scope, receive, dressed)
            else:
                await discard(Request(scope, receive), self.service.settings.max_body_bytes)
                await _unauthorized().response()(scope, receive, dressed)
        finally:
            self.service.meters.count(scope.get(MODEL, ""), status)

    def _allowed(self, scope: MutableMapping[str, Any]) -> bool:
        path = scope["path"]
        if self._expected is None or path in _OPEN or path.startswith("/static/"):
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._expected)


def _unauthorized() -> Problem:
    return Problem(
        401, "this server asks for a token.", "Send the header Authorization: Bearer TOKEN.",
        headers={"WWW-Authenticate": "Bearer"},
    )  # fmt: skip
