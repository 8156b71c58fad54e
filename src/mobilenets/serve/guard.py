"""What surrounds every request: the token, headers that keep browsers safe, counting."""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilenets.serve.bodies import Body
from mobilenets.serve.problems import Problem
from mobilenets.serve.service import Service

MODEL = "mobilenets.model"
"""Where a request's scope holds the name of the model that it is counted for."""
LARGEST_HEAD_BYTES = 16_384
"""Of a request: its address and headers together."""

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
        body = Body(receive)
        status = 500

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
                if status >= 400 and not await self._drop(scope, body):
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            if (problem := self._refused(scope)) is None:
                await self.app(scope, body.receive, dressed)
            else:
                await problem.response()(scope, body.receive, dressed)
        finally:
            self.service.meters.count(scope.get(MODEL, ""), status)

    async def _drop(self, scope: Scope, body: Body) -> bool:
        """Read what is left of a refused body, unless it was not sent yet."""
        if any(name == b"expect" for name, _ in scope["headers"]):
            return body.ended
        return await body.drop(self.service.settings.max_body_bytes)

    def _refused(self, scope: Scope) -> Problem | None:
        size = len(scope["query_string"]) + len(scope["path"]) + sum(len(n) + len(v) for n, v in scope["headers"])
        if size > LARGEST_HEAD_BYTES:
            hint = "Send images in the body."
            return Problem(400, f"address and headers are longer than {LARGEST_HEAD_BYTES:,} bytes.", hint)
        if self._allowed(scope):
            return None
        return Problem(
            401, "this server asks for a token.", "Send the header Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip

    def _allowed(self, scope: MutableMapping[str, Any]) -> bool:
        path = scope["path"]
        if self._expected is None or path in _OPEN or path.startswith("/static/"):
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._expected)
