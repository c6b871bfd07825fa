"""Answers of the HTTP door: heads, JSON bodies, and the error tree as status codes."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import orjson

from changeover.errors import (
    ChangeoverError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    ModelNotReady,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
)
from changeover.gateway.door.request import HttpRequest

JSON: Final = b"content-type: application/json\r\n"
_STATUS: Final = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (TooLarge, 413),
    (Conflict, 409),
    (Overloaded, 503),
    (ModelNotReady, 503),
    (DeadlineExceeded, 504),
)


def status_of(error: ChangeoverError) -> int:
    """HTTP status of an error: 4xx the caller's fault, 503 and 504 the server's state, 500 the rest."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 400 if error.fault == "caller" else 500


def error_answer(request: HttpRequest, error: ChangeoverError, epoch: int | None = None) -> None:
    """Answer with `{"error": …, "reason": …}`; 503 says when to come again."""
    head = JSON
    if epoch is not None:
        head += b"changeover-epoch: %d\r\n" % epoch
    if isinstance(error, Overloaded | ModelNotReady):
        head += b"retry-after: %d\r\n" % error.retry_after
    elif isinstance(error, Unauthenticated):
        head += b"www-authenticate: Bearer\r\n"
    request.respond(status_of(error), head, [orjson.dumps({"error": error.message, "reason": error.reason})])


def json_answer(request: HttpRequest, value: object, status: int = 200) -> None:
    """Answer with a JSON document."""
    request.respond(status, JSON, [orjson.dumps(value)])


@lru_cache(256)
def infer_head(header_length: int | None, epoch: int) -> bytes:
    """Field lines of an inference answer."""
    if header_length is None:
        return JSON + b"changeover-epoch: %d\r\n" % epoch
    binary = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % header_length
    return binary + b"changeover-epoch: %d\r\n" % epoch
