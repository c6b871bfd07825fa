"""Refusals."""

from __future__ import annotations

from changeover.errors import CallerError
from changeover.gateway.door.refusal import Refused, malformed


def test_a_refusal_is_the_callers_fault() -> None:
    """A refusal carries status and reason, and its fault is the caller's."""
    refused = Refused(413, "too_large", "too much")
    assert isinstance(refused, CallerError)
    assert (refused.status, refused.reason, refused.message, refused.fault) == (413, "too_large", "too much", "caller")
    assert malformed("wrong").status == 400
    assert malformed("wrong").reason == "malformed_request"
