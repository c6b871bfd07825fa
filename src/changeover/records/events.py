"""The journal's events: what happened, in order, for people and for `GET /v1/events`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from changeover.clock import utc_now
from changeover.records.database import Database

KEPT: Final = 10_000
"""The newest events that are kept, and up to `_ROUND` more."""
_ROUND: Final = 1000
UNREADABLE: Final = "unreadable"
"""Kind that a damaged row is given: its number is there, so that readers pass over it."""
log = logging.getLogger("changeover.controller")


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        id: rises by time, never reused: a reader goes on after the last one it has seen.
        kind: stable word (`rollout`, `version`, `operator`, `alert`, `certificate`).
        model: it concerns, or `None`.
    """

    id: int
    time: str
    kind: str
    model: str | None
    body: dict[str, object] = field(hash=False)


class Events:
    """Rows of `events`.

    Attributes:
        heard: called when one was added, in the thread that did it. It may not be committed yet: who reads then waits
            for the end of that transaction, as every reader does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.heard: Callable[[], None] = lambda: None

    def add(self, kind: str, model: str | None = None, body: Mapping[str, object] | None = None) -> Event:
        """Append an event; now and then the oldest ones make room."""
        now, kept = utc_now(), dict(body or {})
        number = self._database.insert(
            "INSERT INTO events (time, kind, model, body) VALUES (?, ?, ?, ?)",
            (now, kind, model, msgspec.json.encode(kept)),
        )
        if number % _ROUND == 0:
            self.prune(KEPT)
        self.heard()
        return Event(number, now, kind, model, kept)

    def after(self, event: int = 0, *, model: str | None = None, limit: int = 1000) -> list[Event]:
        """Up to `limit` events with a higher id than `event`, oldest first.

        Args:
            event: id of the last one already seen.
            model: only its events, when named.
            limit: most events at once.
        """
        rows = self._database.read(
            "SELECT id, time, kind, model, body FROM events WHERE id > ? AND (? IS NULL OR model = ?) "
            "ORDER BY id LIMIT ?",
            (event, model, model, limit),
        )
        return [_event(row) for row in rows]

    def last(self) -> int:
        """The newest event's id; 0 when there is none."""
        return int(self._database.read("SELECT coalesce(max(id), 0) FROM events")[0][0])

    def first(self) -> int:
        """The oldest event's id that is kept; 0 when there is none."""
        return int(self._database.read("SELECT coalesce(min(id), 0) FROM events")[0][0])

    def prune(self, keep: int) -> int:
        """Drop all but the newest `keep` events; how many were dropped."""
        return self._database.write("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (keep,))


def _event(row: tuple[Any, ...]) -> Event:
    """One damaged row must not keep all that came after it from being read."""
    number, time, kind, model, body = row
    try:
        datetime.fromisoformat(time)
        return Event(number, time, kind, model, msgspec.json.decode(body, type=dict[str, object]))
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        log.error("event %d of the journal cannot be read and is passed over: %s", number, error)  # noqa: TRY400
        return Event(number, utc_now(), UNREADABLE, None, {})
