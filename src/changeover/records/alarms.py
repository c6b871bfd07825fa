"""The journal's alarms: those that fire, so that a next controller neither repeats nor forgets one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from changeover.records.database import Database
from changeover.records.events import Events

_TOLD: Final = "alerts_told"
log = logging.getLogger("changeover.controller")


class AlarmRecords:
    """Rows of `alarms`. That one begins or ends is an event `alert`, in the same commit."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    def record(self, key: str, model: str | None, body: Mapping[str, Any]) -> None:
        """An alarm begins, or ends (`state` is `resolved`)."""
        with self._database.transaction():
            if body["state"] == "resolved":
                self._database.write("DELETE FROM alarms WHERE key = ?", (key,))
            else:
                self._database.write(
                    "INSERT OR REPLACE INTO alarms (key, model, body) VALUES (?, ?, ?)",
                    (key, model, msgspec.json.encode(body)),
                )
            self._events.add("alert", model, body)

    def firing(self) -> list[tuple[str | None, dict[str, Any]]]:
        """Model and body of each that fires."""
        found: list[tuple[str | None, dict[str, Any]]] = []
        for key, model, body in self._database.read("SELECT key, model, body FROM alarms ORDER BY key"):
            try:
                found.append((model, msgspec.json.decode(body, type=dict[str, Any])))
            except (msgspec.MsgspecError, TypeError) as error:  # the others are known all the same
                log.error("the alarm %s on record cannot be read and is left out: %s", key, error)  # noqa: TRY400
        return found

    @property
    def told(self) -> int | None:
        """Number of the last event that the webhook has taken; None before the first."""
        rows = self._database.read("SELECT value FROM counters WHERE name = ?", (_TOLD,))
        return int(rows[0][0]) if rows else None

    def tell(self, event: int) -> None:
        """The webhook has taken everything up to this event."""
        self._database.write("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", (_TOLD, event))
