"""What the rollout machine commands, done with workers and tables; each command may bring about the next event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from msgspec.structs import replace

from changeover.errors import ChangeoverError, Conflict, Internal
from changeover.records.journal import Journal
from changeover.rollout.current import Current
from changeover.rollout.fleet import Fleet
from changeover.rollout.loading import Loader, Loading
from changeover.rollout.machine import Command, Event
from changeover.rollout.switch import Prepared, Switch
from changeover.rollout.tables import all_to
from changeover.transport.control import LoadingEntry, RoutingTable

log = logging.getLogger("changeover.controller")


@dataclass(frozen=True, slots=True)
class Happened:
    """What a command brought about, and why."""

    event: Event
    error: ChangeoverError | None = None


class Commands:
    """Executes commands for one model.

    Args:
        later: calls back after some seconds: the end of an undo window.
        again: has a call made once more after a pause, between the driver's other calls.
        background: runs a coroutine beside the driver: a certificate that waits for its numbers.
    """

    def __init__(
        self,
        loader: Loader,
        switch: Switch,
        fleet: Fleet,
        journal: Journal,
        *,
        drain_deadline: float,
        later: Callable[[Current], None],
        again: Callable[[Callable[[], Awaitable[object]]], None],
        background: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self.active: Loading | None = None
        self.standby: Loading | None = None
        self._loader = loader
        self._switch = switch
        self._fleet = fleet
        self._journal = journal
        self._drain_deadline = drain_deadline
        self._later = later
        self._again = again
        self._background = background
        self._table: dict[Command, Callable[[Current], Awaitable[Happened | None]]] = {
            Command.LOAD: self._load,
            Command.PROMOTE: self._promote,
            Command.OPEN_WINDOW: self._open_window,
            Command.MOVE_BACK: self._move_back,
            Command.RELEASE_SOURCE: self._release_standby,
            Command.RELEASE_CANDIDATE: self._release_candidate,
            Command.CERTIFY: self._certify,
        }

    async def execute(self, command: Command, current: Current) -> Happened | None:
        """Do one thing; what it brought about, when the machine is to hear of it."""
        return await self._table[command](current)

    async def serve(self, loading: Loading) -> None:
        """All traffic to a proven version without a rollout: what was decided before a restart.

        Raises:
            Internal: the table cannot be prepared or recorded.
        """
        entry = _entry(loading)
        prepared = await self._switch.prepare(lambda epoch: self._all_to(epoch, entry), None)
        await self._switch.forward(prepared)
        self.active = loading

    # -- one method a command ------------------------------------------------------------------------------

    async def _load(self, current: Current) -> Happened:
        candidate = current.candidate
        if candidate is None:
            raise Internal(f"{current.rollout!r} has no loading on record", reason="rollout_transition")
        try:
            self._loader.start(candidate)
            current.receipt.loading(candidate)
            await self._loader.proven(candidate, self.active)
        except ChangeoverError as error:
            return Happened(Event.REFUSED, error)
        finally:
            current.receipt.gates(candidate)
        return Happened(Event.PROVEN)

    async def _promote(self, current: Current) -> Happened:
        candidate, source = current.candidate, self.active
        try:
            prepared = await self._prepare(candidate, source)
            switched = await self._switch.forward(prepared)
        except ChangeoverError as error:
            return Happened(Event.NOT_SWITCHED, error)
        left = self.standby
        self.active, self.standby = candidate, source
        if left is not None:  # its release failed until now; the new table does not name it
            self._background(self._drain_and_release(left))
        current.way_back = prepared.back
        current.receipt.switched(switched)
        if source is not None:
            current.receipt.window(current.window)
        return Happened(Event.SWITCHED)

    async def _open_window(self, current: Current) -> None:
        """Start the clock. After a restart the way back is prepared anew first, so that undo is one store again."""
        if current.way_back is None and self.standby is not None:
            try:
                prepared = await self._prepare(self.active, self.standby)
                await self._switch.forward(prepared)
            except ChangeoverError as error:
                log.error("%s: an undo will have to prepare its way back: %s", current.id, error.message)  # noqa: TRY400
            else:
                current.way_back = prepared.back
        self._later(current)

    async def _move_back(self, current: Current) -> Happened:
        """One store. Only after a restart the way back may have to be prepared now."""
        try:
            way_back = current.way_back or (await self._prepare(self.standby, self.active)).forward
        except ChangeoverError as error:
            return Happened(Event.NOT_SWITCHED, error)
        switched = await self._switch.back(way_back)
        self.active, self.standby = self.standby, self.active
        current.receipt.switched(switched)
        return Happened(Event.SWITCHED)

    async def _release_standby(self, current: Current) -> None:
        """Drain with a table that does not name it, then end its worker; it is decided, so it is tried until done."""
        standby = self.standby
        if standby is None:
            return
        try:
            active = _entry(self.active)
            prepared = await self._switch.prepare(lambda epoch: self._all_to(epoch, active), None)
            await self._switch.forward(prepared)
        except ChangeoverError as error:
            log.error("%r cannot be released yet: %s", standby, error.message)  # noqa: TRY400
            self._again(lambda: self._release_left(current, standby))
            return
        self.standby = None
        held = self._fleet.memory(standby.number)
        await self._drain_and_release(standby)
        current.receipt.released(held)

    async def _release_left(self, current: Current, standby: Loading) -> None:
        """Another try, unless a later rollout has released it or keeps it."""
        if self.standby is standby and current.rollout.phase.terminal:
            await self._release_standby(current)

    async def _release_candidate(self, current: Current) -> None:
        """The candidate is standby after a rollback, and named by no table when it never served."""
        if current.candidate is None or current.candidate is self.standby:
            await self._release_standby(current)
        else:
            await self._drain_and_release(current.candidate)

    async def _certify(self, current: Current) -> None:
        """Certificates need the seconds after the switch, so they are written a little later.

        One that still waits will tell what came meanwhile.
        """
        if not current.certifying:
            current.certifying = True
            self._background(self._write_certificate(current))

    # -- parts ---------------------------------------------------------------------------------------------

    async def _prepare(self, candidate: Loading | None, source: Loading | None) -> Prepared:
        """The forward table and, when there is a source, its way back."""
        to = _entry(candidate)
        if source is None:
            return await self._switch.prepare(lambda epoch: self._all_to(epoch, to), None)
        before = _entry(source)
        return await self._switch.prepare(
            lambda epoch: self._all_to(epoch, to, before), lambda epoch: self._all_to(epoch, before, to)
        )

    def _all_to(self, epoch: int, active: LoadingEntry, standby: LoadingEntry | None = None) -> RoutingTable:
        return all_to(self._switch.model, self._switch.word, epoch, active, standby=standby)

    async def _drain_and_release(self, loading: Loading) -> None:
        """Wait for the last lease, then end the worker; past the deadline its requests run on the active version."""
        if not await self._fleet.drained(loading.number, self._drain_deadline):
            log.error("%r still has leases at the drain deadline; they are run again elsewhere", loading)
        if not await self._loader.release(loading):
            log.error("the worker of %r had to be killed", loading)

    async def _write_certificate(self, current: Current) -> None:
        await current.receipt.reported()
        current.certifying = False
        certificate = current.receipt.certificate(current.rollout)
        if current.certificate is not None:
            new = certificate
            certificate = replace(current.certificate, outcome=new.outcome, decided_by=new.decided_by, ended=new.ended)
        try:
            await asyncio.to_thread(self._journal.rollouts.certify, current.id, certificate)
        except ChangeoverError as error:
            log.error("the certificate of %s cannot be written: %s", current.id, error.message)  # noqa: TRY400


def _entry(loading: Loading | None) -> LoadingEntry:
    if loading is None or loading.entry is None:
        raise Conflict("the version has no proven worker", reason="not_proven")
    return loading.entry
