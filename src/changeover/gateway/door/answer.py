"""Answer bytes: status lines, the date, framing fields, the door's own errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

KEEP: Final = b""
CLOSE: Final = b"connection: close\r\n"
KEEP_LEGACY: Final = b"connection: keep-alive\r\n"
"""What an HTTP/1.0 client that asked to keep the connection must be told."""

_JSON: Final = b"content-type: application/json\r\n"
_RETRY: Final = _JSON + b"retry-after: 1\r\n"


class Stamp:
    """Status lines with the date of the current second.

    Attributes:
        lines: by status, the status line and the date field; emptied when the second changes.
    """

    __slots__ = ("_date", "_second", "lines")

    def __init__(self) -> None:
        self.lines: dict[int, bytes] = {}
        self._second = -1
        self._date = b""

    def refresh(self, now: float) -> None:
        """Take over the wall clock `now` (seconds since 1970)."""
        if int(now) != self._second:
            self._second = int(now)
            self._date = formatdate(self._second, usegmt=True).encode("ascii")
            self.lines.clear()

    def line(self, status: int) -> bytes:
        """Status line and date for `status`, remembered for this second."""
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Other"
        line = b"HTTP/1.1 %d %b\r\ndate: %b\r\n" % (status, phrase.encode("ascii"), self._date)
        self.lines[status] = line
        return line


def has_no_body(status: int) -> bool:
    """Whether HTTP forbids a body and its length with this status."""
    return status in (204, 304)


def error_answer(status: int, reason: str, message: str) -> tuple[bytes, Sequence[bytes]]:
    """Head fields and body of an error made by the door."""
    body = json.dumps({"error": message, "reason": reason}).encode("utf-8")
    return (_RETRY if status == 503 else _JSON), (body,)
