"""A switch with its loader and what carries out commands, without a driver."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from changeover.rollout.commands import Around, Commands
from changeover.rollout.current import Current
from changeover.rollout.loading import Loader
from changeover.rollout.machine import Command, Event, Rollout
from changeover.rollout.receipt import Receipt
from changeover.rollout.switch import Switch
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, WORD, ScriptedJournal, Stage


class Room:
    """Commands with the parts they act on; what they leave for later is kept."""

    def __init__(self, stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
        self.stage, self.fleet, self.journal = stage, fleet, journal
        self.loader = Loader(MODEL, fleet, journal, stage.settings)
        self.switch = Switch(MODEL, WORD, fleet, journal, journal.next_term(), beside=asyncio.create_task)
        self.clocks: list[Current] = []
        self.again: list[Callable[[], Awaitable[object]]] = []
        self.beside: list[asyncio.Task[None]] = []
        self.fed: list[Event] = []
        self.stood: list[int] = []
        around = Around(
            later=self.clocks.append,
            stands=lambda _, switched: self.stood.append(switched.table.epoch),
            again=self.again.append,
            feed=self.feed,
            beside=self.background,
        )
        self.commands = Commands(self.loader, self.switch, fleet, journal, drain_deadline=0.01, around=around)

    async def feed(self, _: Current, event: Event) -> None:
        self.fed.append(event)

    def background(self, coroutine: Coroutine[None, None, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine)
        self.beside.append(task)
        return task

    def current(self, version: int, window: float = 60) -> Current:
        """A rollout that has just begun."""
        offer, source = self.stage.offer(version, window), self.commands.active
        record = self.journal.rollouts.open(MODEL, None, offer.ref, {})
        rollout = Rollout(MODEL, str(source.version) if source else None, str(version))
        receipt = Receipt(MODEL, record.id, offer, source, self.fleet)
        candidate = self.loader.record_new(version, offer.artifact, offer.plan)
        return Current(record.id, offer, rollout, receipt, window, candidate)

    async def promoted(self, version: int) -> Current:
        """Loaded and made active."""
        current = self.current(version)
        for command, event in ((Command.LOAD, Event.PROVEN), (Command.PROMOTE, Event.SWITCHED)):
            happened = await self.commands.execute(command, current)
            assert happened is not None
            assert happened.event is event
        return current

    def serving(self) -> tuple[int, int | None]:
        """Active and standby of the page."""
        table = self.fleet.in_force(WORD)
        assert table is not None
        return table.active, table.standby
