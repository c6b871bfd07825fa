"""The switch: from a decision to a store in the route page, in the order that survives every crash (DESIGN §5).

forward:  allocate → publish tables → intend → prepare → commit (journal) → store → acknowledged
back:     the table is prepared already; the store never waits longer than 50 ms for the journal, the record is owed
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from time import monotonic_ns

from changeover.errors import ChangeoverError, Internal
from changeover.records.journal import Journal
from changeover.rollout.fleet import Fleet, StoreTimes
from changeover.rollout.tables import with_draining
from changeover.transport.control import Acknowledged, RoutingTable, encode
from changeover.transport.page import TableRecord

_JOURNAL_PATIENCE = 0.05
_DEBT_PAUSE = 1.0
log = logging.getLogger("changeover.controller")

Beside = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
"""Starts a coroutine among the driver's tasks, whose failure ends the controller: nothing may be owed unseen."""

Draw = Callable[[int], RoutingTable]
"""Makes the table of an epoch."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A forward table and its way back, known to every gateway and intended in the journal."""

    forward: RoutingTable
    back: RoutingTable | None
    prepare_ns: int


@dataclass(frozen=True, slots=True)
class Switched:
    """A table in force, with what it took.

    Attributes:
        journal_ns: writing the commit, 0 when it is owed.
        acknowledged: each gateway's answer and when it came (monotonic ns), empty when one never answered.
    """

    table: RoutingTable
    times: StoreTimes
    journal_ns: int
    prepare_ns: int
    acknowledged: list[tuple[Acknowledged, int]]

    @property
    def stale_picks(self) -> int:
        """Gateways whose last pick from an older table began after the store."""
        return sum(a.last_old_pick_ns > self.times.after_ns for a, _ in self.acknowledged)


class Switch:
    """Moves one model's traffic. Only one switch of a model runs at a time (its driver sees to that).

    Args:
        beside: runs a coroutine beside the driver: the writing of an owed record.
    """

    def __init__(self, model: str, word: int, fleet: Fleet, journal: Journal, term: int, *, beside: Beside) -> None:
        self.model = model
        self.word = word
        self.table: RoutingTable | None = None
        self._fleet = fleet
        self._journal = journal
        self.term = term
        self._beside = beside
        self._debts: set[asyncio.Task[None]] = set()

    @property
    def owes(self) -> bool:
        """Whether a stored epoch is not in the journal yet: no forward move until it is."""
        return bool(self._debts)

    async def prepare(self, forward: Draw, back: Draw | None) -> Prepared:
        """Allocate epochs and bring their tables to all gateways.

        Raises:
            Internal: the journal cannot be written, a gateway cannot, or a record is owed (`record_owed`).
        """
        if self.owes:
            raise Internal(
                f"{self.model}: a rollback is not in the journal yet, because it cannot be written; "
                "free space on the state folder's disk",
                reason="record_owed",
            )
        started = monotonic_ns()
        living = self._fleet.loadings_of(self.model)
        records = await asyncio.to_thread(self._intend, [forward] if back is None else [forward, back], living)
        for table, data in records:
            self._fleet.publish(TableRecord(self.word, table.epoch, self.term, data))
        tables = [table for table, _ in records]
        await self._fleet.prepare(self.word, [table.epoch for table in tables])
        return Prepared(tables[0], tables[1] if back else None, monotonic_ns() - started)

    def _intend(self, draws: list[Draw], living: set[int]) -> list[tuple[RoutingTable, bytes]]:
        """Take the epochs and record what is meant with them, in one commit: nobody has heard of them before it."""
        epochs = self._journal.epochs
        with self._journal.together():
            drawn = [draw(epoch) for draw, epoch in zip(draws, epochs.allocate(self.model, len(draws)), strict=True)]
            tables = with_draining(self.table, drawn, living)
            records = [(table, encode(table)) for table in tables]
            for table, data in records:
                epochs.intend(self.model, table.epoch, data, term=self.term)
        return records

    async def forward(self, prepared: Prepared) -> Switched:
        """Commit, store, and wait for the gateways.

        Raises:
            Internal: the journal cannot be written; nothing has changed then.
        """
        started = monotonic_ns()
        await asyncio.to_thread(self._journal.epochs.commit, self.model, prepared.forward.epoch)
        journal_ns = monotonic_ns() - started
        return await self._store(prepared.forward, journal_ns, prepared.prepare_ns)

    async def back(self, table: RoutingTable) -> Switched:
        """Store a prepared table that moves towards the active version: never held up by a sick disk."""
        started = monotonic_ns()
        commit = asyncio.ensure_future(asyncio.to_thread(self._journal.epochs.commit, self.model, table.epoch))
        try:
            await asyncio.wait_for(asyncio.shield(commit), _JOURNAL_PATIENCE)
            journal_ns = monotonic_ns() - started
        except (TimeoutError, ChangeoverError) as error:
            why = error.message if isinstance(error, ChangeoverError) else "its disk is slow"
            log.error("%s: epoch %d is stored before the journal has it: %s", self.model, table.epoch, why)  # noqa: TRY400
            journal_ns = 0
            self.owe(table, commit)
        return await self._store(table, journal_ns, 0)

    async def _store(self, table: RoutingTable, journal_ns: int, prepare_ns: int) -> Switched:
        times = self._fleet.store(self.word, table.epoch)
        self.table = table
        try:
            acknowledged = await self._fleet.acknowledged(self.word, table.epoch)
        except ChangeoverError as error:
            # The table is in force whoever answers: a failure here would read as "nothing has changed".
            log.error("%s: epoch %d is stored, and not acknowledged: %s", self.model, table.epoch, error.message)  # noqa: TRY400
            acknowledged = []
        return Switched(table, times, journal_ns, prepare_ns, acknowledged)

    def owe(self, table: RoutingTable, commit: Awaitable[None] | None = None) -> None:
        """A stored epoch is not in the journal: its record is written as soon as that takes it.

        Args:
            table: of the epoch.
            commit: a write that is under way.
        """
        task = self._beside(self._pay(table, commit))
        self._debts.add(task)
        task.add_done_callback(self._debts.discard)

    async def _pay(self, table: RoutingTable, commit: Awaitable[None] | None) -> None:
        owed = self._journal.epochs.record_owed
        attempt = commit or asyncio.to_thread(owed, self.model, table.epoch, encode(table), term=self.term)
        while True:
            try:
                await attempt
            except ChangeoverError:
                await asyncio.sleep(_DEBT_PAUSE)
                attempt = asyncio.to_thread(owed, self.model, table.epoch, encode(table), term=self.term)
            else:
                log.info("%s: the record of epoch %d is written", self.model, table.epoch)
                return
