"""What a request is told when it cannot be answered: a status, a code for programs, words for people."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

CODES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported",
    422: "invalid",
    429: "busy",
    500: "internal",
    503: "unavailable",
}
"""Status -> the code of its errors, unless one has its own."""


class Problem(Exception):  # noqa: N818 - a request's, no failure of the program
    """Why a request is not answered.

    Attributes:
        status: of the response.
        message: what was got and what was expected.
        hint: what to do.
        code: for programs.
        headers: of the response, besides those that every one has.
    """

    def __init__(
        self, status: int, message: str, hint: str = "", *, code: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint
        self.code = code or CODES.get(status, "error")
        self.headers = headers or {}

    def response(self) -> Response:
        """The response that tells it."""
        told = {"error": {"code": self.code, "message": self.message, "hint": self.hint}}
        return json_response(told, self.status, self.headers)


def busy(message: str) -> Problem:
    """The server has as much to do as it may."""
    return Problem(429, message, "Try again after the seconds in Retry-After.", headers={"Retry-After": "1"})


def json_response(told: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Plain values as JSON. In ASCII: text of requests may hold halves of characters, which UTF-8 cannot write."""
    body = json.dumps(told, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, status, headers, "application/json")
