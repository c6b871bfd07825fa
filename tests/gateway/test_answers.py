"""Heads and bodies of the HTTP port's answers."""

from __future__ import annotations

import pytest

from changeover.errors import (
    ChangeoverError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Internal,
    InvalidRequest,
    ModelNotReady,
    ModelRunFailed,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from changeover.gateway.answers import error_answer, infer_head, json_answer, status_of, warnings
from tests.gateway.stage import Request


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest("x"), 400),
        (Unauthenticated("x"), 401),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (TooLarge("x"), 413),
        (ModelRunFailed("x"), 500),
        (Internal("x"), 500),
        (Overloaded("x"), 503),
        (Unavailable("x"), 503),
        (ModelNotReady("x"), 503),
        (DeadlineExceeded("x"), 504),
    ],
)
def test_the_error_tree_has_its_status_codes(error: ChangeoverError, status: int) -> None:
    """And every answer carries sentence, reason, and for 503 a time."""
    request = Request(b"")
    error_answer(request, error, epoch=3)  # type: ignore[arg-type]
    assert status_of(error) == request.status == status
    assert request.json() == {"error": "x", "reason": error.reason}
    assert (b"retry-after: 1\r\n" in request.head) == isinstance(error, Overloaded | ModelNotReady)
    assert b"changeover-epoch: 3\r\n" in request.head


def test_the_head_tells_json_from_binary() -> None:
    """By content type and the length of the JSON part."""
    assert infer_head(None, 4) == b"content-type: application/json\r\nchangeover-epoch: 4\r\n"
    assert b"application/octet-stream\r\ninference-header-content-length: 77\r\n" in infer_head(77, 4)


def test_warnings_are_fields_that_break_no_head() -> None:
    """One a sentence, in printable ASCII; none without a sentence."""
    request = Request(b"")
    json_answer(request, {}, head=warnings(["no 'ü'\r\nevil: 1", "b"]))  # type: ignore[arg-type]
    assert request.head == (
        b"content-type: application/json\r\nchangeover-warning: no '?'??evil: 1\r\nchangeover-warning: b\r\n"
    )
    assert warnings([]) == b""
