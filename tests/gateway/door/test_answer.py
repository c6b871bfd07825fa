"""Status lines and the door's own errors."""

from __future__ import annotations

import json

from changeover.gateway.door.answer import Stamp, error_answer, has_no_body


def test_date_follows_the_second() -> None:
    """Lines are kept within a second and made anew in the next."""
    stamp = Stamp()
    stamp.refresh(0.0)
    line = stamp.line(200)
    assert line == b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    stamp.refresh(0.9)
    assert stamp.lines[200] is line
    stamp.refresh(1.0)
    assert 200 not in stamp.lines
    assert b"00:00:01" in stamp.line(200)


def test_unnamed_status() -> None:
    """A status without a registered phrase still has a line."""
    assert Stamp().line(299).startswith(b"HTTP/1.1 299 Other\r\n")


def test_errors_are_json() -> None:
    """An error says what and why; only 503 asks to come back."""
    head, (body,) = error_answer(400, "malformed_request", 'a "quoted" sentence')
    assert json.loads(body) == {"error": 'a "quoted" sentence', "reason": "malformed_request"}
    assert b"retry-after" not in head
    assert b"retry-after: 1\r\n" in error_answer(503, "overloaded", "later")[0]


def test_statuses_without_a_body() -> None:
    """204 and 304 have neither body nor length."""
    assert [status for status in (200, 204, 304, 404) if has_no_body(status)] == [204, 304]
