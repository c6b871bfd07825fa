"""Answers of the HTTP door: heads, JSON bodies, and the error tree as status codes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import orjson

from changeover.errors import (
    ChangeoverError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    ModelNotReady,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from changeover.gateway.door.request import HttpRequest
from changeover.protocol.trace_context import passed_on

JSON: Final = b"content-type: application/json\r\n"
_MOST_SETTINGS: Final = 64 << 10
_STATUS: Final = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (TooLarge, 413),
    (Conflict, 409),
    (Overloaded, 503),
    (ModelNotReady, 503),
    (Unavailable, 503),
    (DeadlineExceeded, 504),
)


def status_of(error: ChangeoverError) -> int:
    """HTTP status of an error: 4xx the caller's fault, 503 and 504 the server's state, 500 the rest."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 400 if error.fault == "caller" else 500


def error_answer(
    request: HttpRequest, error: ChangeoverError, epoch: int | None = None, trace: bytes | None = None
) -> None:
    """Answer with `{"error": …, "reason": …}`; 503 says when to come again, `trace` is the request's `traceparent`."""
    head = JSON
    if epoch is not None:
        head += b"changeover-epoch: %d\r\n" % epoch
    if isinstance(error, Overloaded | ModelNotReady):
        head += b"retry-after: %d\r\n" % error.retry_after
    elif isinstance(error, Unauthenticated):
        head += b"www-authenticate: Bearer\r\n"
    if trace is not None:
        head += traced(trace)
    request.respond(status_of(error), head, [orjson.dumps({"error": error.message, "reason": error.reason})])


def json_body(request: HttpRequest) -> dict[str, Any]:
    """The JSON object that a request brings; an empty body is an empty object.

    Raises:
        InvalidRequest: it is no JSON object (`malformed_json`).
        TooLarge: it is over 64 KiB (`json_too_large`).
    """
    if len(request.body) > _MOST_SETTINGS:
        raise TooLarge(f"the body may have {_MOST_SETTINGS} bytes", reason="json_too_large")
    try:
        body = orjson.loads(request.body) if len(request.body) else {}
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is no JSON: {error}", reason="malformed_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("the body is no JSON object", reason="malformed_json")
    return body


def json_answer(request: HttpRequest, value: object, status: int = 200, head: bytes = b"") -> None:
    """Answer with a JSON document."""
    request.respond(status, JSON + head, [orjson.dumps(value)])


def warnings(sentences: Iterable[str]) -> bytes:
    """Field lines that name what of a request has no effect, where its answer has no place for that."""
    printable = (re.sub(r"[^ -~]", "?", sentence) for sentence in sentences)
    return b"".join(b"changeover-warning: %s\r\n" % sentence.encode() for sentence in printable)


def traced(trace: bytes) -> bytes:
    """The field line that passes a request's `traceparent` on; none for what is none."""
    passed = passed_on(trace)
    return b"" if passed is None else b"traceparent: %b\r\n" % passed


@lru_cache(256)
def infer_head(header_length: int | None, epoch: int) -> bytes:
    """Field lines of an inference answer."""
    if header_length is None:
        return JSON + b"changeover-epoch: %d\r\n" % epoch
    binary = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % header_length
    return binary + b"changeover-epoch: %d\r\n" % epoch
