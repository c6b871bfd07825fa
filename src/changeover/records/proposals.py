"""The journal's proposals: what was known of a model's traffic and hardware, so that no restart proposes again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from changeover.records.database import Database
from changeover.records.events import Events

KIND: Final = "proposal"


class Proposals:
    """Rows of `adaptive`. That something is proposed, or what became of it, is an event in the same commit."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    def record(self, model: str, known: bytes, event: Mapping[str, object] | None = None) -> None:
        """Keep what is known of a model, as it was encoded, in the place of what was known before."""
        with self._database.transaction():
            self._database.write("INSERT OR REPLACE INTO adaptive (model, body) VALUES (?, ?)", (model, known))
            if event is not None:
                self._events.add(KIND, model, event)

    def known(self, model: str) -> bytes | None:
        """What is known of a model."""
        rows = self._database.read("SELECT body FROM adaptive WHERE model = ?", (model,))
        return bytes(rows[0][0]) if rows else None
