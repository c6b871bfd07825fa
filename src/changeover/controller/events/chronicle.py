"""Events that belong to no other record: written one after the other, and nobody who tells one waits for the disk."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Final

from changeover.errors import ChangeoverError
from changeover.records.journal import Journal

_MOST: Final = 1000
_AGAIN: Final = 1.0
Note = tuple[str, str | None, Mapping[str, object]]
log = logging.getLogger("changeover.controller")


class Chronicle:
    """What is told is in the journal a moment later; a journal that cannot be written gets it when it can again."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: deque[Note] = deque(maxlen=_MOST)
        self._told = asyncio.Event()

    def note(self, kind: str, model: str | None, body: Mapping[str, object]) -> None:
        """Have an event written."""
        self._waiting.append((kind, model, body))
        self._told.set()

    async def run(self) -> None:
        """Write, as long as the controller lives."""
        while True:
            await self._told.wait()
            self._told.clear()
            notes = list(self._waiting)
            self._waiting.clear()
            try:
                await asyncio.to_thread(self._write, notes)
            except ChangeoverError as error:
                log.error("%d events are not on record yet: %s", len(notes), error.message)  # noqa: TRY400
                self._waiting.extendleft(reversed(notes[: _MOST - len(self._waiting)]))
                await asyncio.sleep(_AGAIN)
                self._told.set()

    def _write(self, notes: list[Note]) -> None:
        with self._journal.together():
            for kind, model, body in notes:
                self._journal.events.add(kind, model, body)
