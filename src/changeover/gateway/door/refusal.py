"""A request the door itself refuses, with the status it is refused with."""

from __future__ import annotations

from changeover.errors import CallerError


class Refused(CallerError):
    """The bytes are no acceptable HTTP/1.1 request; the connection ends after the answer.

    Attributes:
        status: HTTP status of the answer (400, 408, 413, 417, 431, 501, 505).
    """

    default_reason = "malformed_request"
    status: int

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message, reason=reason)
        self.status = status


def malformed(message: str, reason: str = "malformed_request") -> Refused:
    """A refusal with status 400."""
    return Refused(400, reason, message)
