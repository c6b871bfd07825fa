"""The journal's events as they come, read once for all listeners; and the newest sample, which is kept nowhere.

A listener holds a place (the last event's number it was given) and no queue: it takes what is next when its reader has
taken the last. So a slow one costs nothing, and what it misses of the samples is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from changeover.errors import ChangeoverError
from changeover.records.events import Event
from changeover.records.journal import Journal

TYPES: Final = ("rollout", "version", "operator", "alert", "certificate", "proposal", "sample")
"""Words that `?types=` takes."""
_RECENT: Final = 1000
"""The newest events that are kept here: who asks for older ones waits for the journal."""
_AT_ONCE: Final = 200
_AGAIN: Final = 1.0
_GATHER: Final = 0.1
"""Seconds in which events gather before they are read: a rollout writes them in bursts, beside live traffic."""
log = logging.getLogger("changeover.controller")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a listener wants: of one model or all (None), of some types or all (empty)."""

    model: str | None = None
    types: frozenset[str] = frozenset()

    def takes(self, kind: str, model: str | None) -> bool:
        """Whether an event is wanted; what is about no model in particular is about all."""
        return (not self.types or kind in self.types) and (None in (self.model, model) or model == self.model)

    @property
    def samples(self) -> bool:
        """Whether samples are wanted."""
        return self.takes("sample", None)


@dataclass(frozen=True, slots=True)
class Sample:
    """What all models did in the last second; a higher `number` is newer."""

    number: int
    document: dict[str, Any]


class Feed:
    """What listeners are given.

    Attributes:
        sample: the newest, None before the first.
        listeners: how many there are, `sampled` of them with samples.
    """

    def __init__(self, journal: Journal) -> None:
        self.sample: Sample | None = None
        self.listeners = 0
        self.sampled = 0
        self._journal = journal
        self._added = asyncio.Event()
        self._turn = asyncio.Event()
        self._recent: deque[Event] = deque(maxlen=_RECENT)
        self._last = 0
        self._begun = asyncio.Event()

    async def run(self) -> None:
        """Read what the journal gets, as long as the controller lives."""
        loop = asyncio.get_running_loop()

        def heard() -> None:
            loop.call_soon_threadsafe(self._added.set)

        self._journal.events.heard = heard
        self._added.set()
        while True:
            await self._added.wait()
            self._added.clear()
            try:
                if not self._begun.is_set():
                    self._last = await asyncio.to_thread(self._journal.events.last)
                    self._begun.set()
                await self._read()
                await asyncio.sleep(_GATHER)
            except ChangeoverError as error:
                log.error("events cannot be read: %s", error.message)  # noqa: TRY400
                loop.call_later(_AGAIN, self._added.set)

    async def _read(self) -> None:
        more = True
        while more:
            found = await asyncio.to_thread(self._journal.events.after, self._last, limit=_AT_ONCE)
            more = len(found) == _AT_ONCE
            if found:
                self._recent.extend(found)
                self._last = found[-1].id
                self._wake()

    def show(self, document: dict[str, Any]) -> None:
        """A new sample for all who listen."""
        self.sample = Sample(self.sample.number + 1 if self.sample else 1, document)
        self._wake()

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    async def place(self, after: int | None, newest: int = 0) -> tuple[int, dict[str, Any] | None]:
        """Where a listener begins, and the `reset` it is told when that is not where it wanted to.

        Args:
            after: number of the last event that it has seen, 0 for all there are; None for those to come,
            newest: and so many of those that are there.
        """
        await self._begun.wait()
        if after is None and not newest:
            return self._last, None
        first, last = await asyncio.to_thread(self._bounds)
        if after is None:
            return max(self._last - newest, first - 1), None
        if after and not first - 1 <= after <= last:
            begin = max(first - 1, 0)
            return begin, {"type": "reset", "model": None, "asked": after, "first": first, "last": last}
        return max(after, first - 1), None

    def _bounds(self) -> tuple[int, int]:
        return self._journal.events.first(), self._journal.events.last()

    async def next(self, place: int) -> list[Event]:
        """Up to some hundred events after a place; none when there is nothing new."""
        if place >= self._last:
            return []
        if self._recent and place >= self._recent[0].id - 1:
            return _after(self._recent, place)
        found = await asyncio.to_thread(self._journal.events.after, place, limit=_AT_ONCE)
        return [event for event in found if event.id <= self._last]

    @property
    def newest(self) -> int:
        """Number of the newest sample, 0 before the first."""
        return self.sample.number if self.sample else 0

    async def news(self, place: int, sample: int | None, patience: float) -> None:
        """Wait until there is an event after a place, or (where a number is given) a newer sample; at most so long."""
        end = asyncio.get_running_loop().time() + patience
        try:
            async with asyncio.timeout_at(end):
                while place >= self._last and (sample is None or self.newest <= sample):
                    await self._turn.wait()
        except TimeoutError:
            pass


def _after(events: Iterable[Event], place: int) -> list[Event]:
    found = []
    for event in events:
        if event.id > place:
            found.append(event)
            if len(found) == _AT_ONCE:
                break
    return found


def document(event: Event) -> dict[str, Any]:
    """An event as listeners get it; `at` in seconds since 1970."""
    at = round(datetime.fromisoformat(event.time).timestamp(), 6)
    return {"type": event.kind, "id": event.id, "at": at, "time": event.time, "model": event.model, **event.body}


def lines(told: dict[str, Any], number: int | None = None) -> bytes:
    """An event as the stream has it (HTML standard, section 9.2)."""
    name = b"" if number is None else b"id: %d\n" % number
    return name + b"data: " + msgspec.json.encode(told) + b"\n\n"
