"""Requests that failed by the model's or the server's fault, in the log: each with its model, version and ids."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from changeover.errors import ChangeoverError
from changeover.protocol.trace_context import NAME, parsed

if TYPE_CHECKING:
    from changeover.gateway.ticket import Ticket

MOST: Final = 10
"""Lines a second: a model that fails every request would fill a disk."""
_LONGEST: Final = 200
"""Characters of what clients or models wrote."""
log = logging.getLogger("changeover.requests")


class Failures:
    """Says so many a second, and how many it did not say."""

    def __init__(self) -> None:
        self._second = 0.0
        self._said = 0
        self._left_out = 0

    def tell(self, ticket: Ticket, error: ChangeoverError) -> None:
        """A request failed."""
        now = monotonic()
        if now - self._second >= 1:
            if self._left_out:
                log.warning("%d more requests failed and are not in the log", self._left_out)
            self._second, self._said, self._left_out = now, 0, 0
        if self._said >= MOST:
            self._left_out += 1
            return
        self._said += 1
        trace = parsed(ticket.asker.headers.get(NAME))
        asked = getattr(getattr(ticket, "asked", None), "id", None)
        known = {
            "model": ticket.model.name,
            "version": ticket.target.version,
            "request_id": None if asked is None else _short(asked),
            "traceparent": None if trace is None else str(trace),
        }
        log.warning("a request failed: %s [%s]", _short(error.message), error.reason, extra=known)


def _short(text: str) -> str:
    """What clients and models write has any length; a line of the log has not."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


FAILURES: Final = Failures()
"""Of this process."""
