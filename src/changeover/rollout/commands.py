"""What the rollout machine commands, done with workers and tables; each command may bring about the next event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from changeover.errors import ChangeoverError, Conflict, Internal
from changeover.records.journal import Journal
from changeover.rollout.current import Current
from changeover.rollout.fleet import Fleet
from changeover.rollout.loading import Loader, Loading
from changeover.rollout.machine import NOTHING, Command, Event, Phase, Told
from changeover.rollout.releases import Releases
from changeover.rollout.switch import Draw, Prepared, Switch, Switched
from changeover.rollout.tables import UNWATCHED, Draft, Watch, all_to, split
from changeover.transport.control import LoadingEntry, RoutingTable

log = logging.getLogger("changeover.controller")


@dataclass(frozen=True, slots=True)
class Happened:
    """What a command brought about, and why."""

    event: Event
    error: ChangeoverError | None = None
    told: Told = NOTHING


@dataclass(frozen=True, slots=True)
class Around:
    """What commands leave to the driver.

    Attributes:
        later: calls back after some seconds: the end of an undo window.
        stands: hears of each table of a rollout that is in force.
        again: has a call made once more after a pause, between the driver's other calls.
        feed: tells the machine what happened.
        beside: runs a coroutine beside the driver: a certificate that waits for its numbers.
    """

    later: Callable[[Current], None]
    stands: Callable[[Current, Switched], None]
    again: Callable[[Callable[[], Awaitable[object]]], None]
    feed: Callable[[Current, Event], Awaitable[None]]
    beside: Callable[[Coroutine[None, None, Any]], asyncio.Task[Any]]


class Commands:
    """Executes commands for one model.

    Args:
        drain_deadline: seconds after which what still holds a version is run again elsewhere.
        around: what is left to the driver.
    """

    def __init__(
        self, loader: Loader, switch: Switch, fleet: Fleet, journal: Journal, *, drain_deadline: float, around: Around
    ) -> None:
        self.active: Loading | None = None
        self.standby: Loading | None = None
        self._loader = loader
        self._switch = switch
        self._fleet = fleet
        self._journal = journal
        self.releases = Releases(loader, fleet, drain_deadline, around.beside)
        self._around = around
        self._table: dict[Command, Callable[[Current], Awaitable[Happened | None]]] = {
            Command.LOAD: self._load,
            Command.SPLIT: self._split,
            Command.WAIT: self._wait,
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
        prepared = await self._switch.prepare(lambda epoch: all_to(self._draft(epoch), entry), None)
        await self._switch.forward(prepared)
        self.active = loading

    async def let_go(self) -> None:
        """End what the table in force names beside the active version: the last term did not come to it."""
        named = {entry.loading for entry in self._switch.table.loadings} if self._switch.table else set()
        for loading in list(self._loader.live.values()):
            if loading is not self.active and loading.number in named:
                active = _entry(self.active)
                prepared = await self._switch.prepare(lambda epoch: all_to(self._draft(epoch), active), None)  # noqa: B023
                await self._switch.forward(prepared)
                self.standby = None
                await self.releases.go(loading)

    # -- one method a command ------------------------------------------------------------------------------

    async def _load(self, current: Current) -> Happened:
        """Until the candidate is proven, is refused, or somebody wants the rollout to end."""
        candidate = current.candidate
        if candidate is None:
            raise Internal(f"{current.rollout!r} has no loading on record", reason="rollout_transition")
        proving = self._around.beside(self._proven(current, candidate))
        await asyncio.wait({proving, current.stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not current.stopped.done():
            happened: Happened = proving.result()
            return happened
        event, told = current.stopped.result()
        proving.cancel()
        await asyncio.wait({proving})
        await self._loader.give_up(candidate, Conflict(told.detail or str(event), reason=told.reason or str(event)))
        return Happened(event, told=told)

    async def _proven(self, current: Current, candidate: Loading) -> Happened:
        try:
            self._loader.start(candidate)
            current.receipt.loading(candidate)
            await self.releases.over()
            await self._loader.proven(candidate, self.active)
        except ChangeoverError as error:
            return Happened(Event.REFUSED, error)
        finally:
            current.receipt.gates(candidate)
        return Happened(Event.PROVEN)

    async def _split(self, current: Current) -> Happened:
        """The candidate gets the share of its place; the way back is prepared with it."""
        share = current.share
        try:
            active, candidate = _entry(self.active), _entry(current.candidate)
            prepared = await self._switch.prepare(
                lambda epoch: split(self._draft(epoch), active, candidate, share),
                lambda epoch: all_to(self._draft(epoch), active, candidate=candidate),
            )
            switched = await self._switch.forward(prepared)
        except ChangeoverError as error:
            return Happened(Event.NOT_SWITCHED, error)
        current.way_back = prepared.back
        self._let_go_left(None)
        self._around.stands(current, switched)
        return Happened(Event.SWITCHED)

    def _let_go_left(self, standby: Loading | None) -> None:
        """A standby whose release failed until now: the table in force does not name it any more."""
        left, self.standby = self.standby, standby
        if left is not None:
            self.releases.beside(left)

    async def _promote(self, current: Current) -> Happened:
        candidate, source = current.candidate, self.active
        try:
            prepared = await self._prepare(candidate, source, current.watch)
            switched = await self._switch.forward(prepared)
        except ChangeoverError as error:
            return Happened(Event.NOT_SWITCHED, error)
        self.active = candidate
        self._let_go_left(source)
        current.way_back = prepared.back
        current.receipt.switched(switched)
        if source is not None:
            current.receipt.window(current.window)
            self._around.stands(current, switched)
        return Happened(Event.SWITCHED)

    async def _open_window(self, current: Current) -> None:
        """Start the clock. After a restart the way back is prepared anew first, so that undo is one store again."""
        if current.way_back is None and self.standby is not None:
            try:
                prepared = await self._prepare(self.active, self.standby, current.watch)
                switched = await self._switch.forward(prepared)
            except ChangeoverError as error:
                log.error("%s: an undo will have to prepare its way back: %s", current.id, error.message)  # noqa: TRY400
                self._around.again(lambda: self._open_window_yet(current))
            else:
                current.way_back = prepared.back
                self._around.stands(current, switched)
        self._around.later(current)

    async def _open_window_yet(self, current: Current) -> None:
        """Another try, as long as the window is open: nobody watches it before."""
        if current.rollout.phase is Phase.WATCHING:
            await self._open_window(current)

    async def _move_back(self, current: Current) -> Happened:
        """One store. Only after a restart the way back may have to be prepared now."""
        promoted = current.candidate is not None and current.candidate is self.active
        try:
            way_back = current.way_back or await self._way_back(current, promoted=promoted)
        except ChangeoverError as error:
            return Happened(Event.NOT_SWITCHED, error)
        switched = await self._switch.back(way_back)
        if promoted:
            self.active, self.standby = self.standby, self.active
        current.receipt.switched(switched)
        return Happened(Event.SWITCHED)

    async def _way_back(self, current: Current, *, promoted: bool) -> RoutingTable:
        if promoted:
            return (await self._prepare(self.standby, self.active)).forward
        active, candidate = _entry(self.active), _entry(current.candidate)
        draw: Draw = lambda epoch: all_to(self._draft(epoch), active, candidate=candidate)  # noqa: E731
        return (await self._switch.prepare(draw, None)).forward

    async def _wait(self, current: Current) -> None:
        """The way back could not be prepared: once more, in a moment."""
        self._around.again(lambda: self._around.feed(current, Event.WAITED))

    async def _release_standby(self, current: Current) -> None:
        """Drain with a table that does not name it, then end its worker; it is decided, so it is tried until done."""
        standby = self.standby
        if standby is None:
            return
        try:
            active = _entry(self.active)
            prepared = await self._switch.prepare(lambda epoch: all_to(self._draft(epoch), active), None)
            await self._switch.forward(prepared)
        except ChangeoverError as error:
            log.error("%r cannot be released yet: %s", standby, error.message)  # noqa: TRY400
            self._around.again(lambda: self._release_left(current, standby))
            return
        self.standby = None
        await self._end(current, standby)

    async def _release_left(self, current: Current, standby: Loading) -> None:
        """Another try, unless a later rollout has released it or keeps it."""
        if self.standby is standby and current.rollout.phase.terminal:
            await self._release_standby(current)

    async def _release_candidate(self, current: Current) -> None:
        """It is standby after an undo, named by the way back after a step, and by no table when it never served."""
        candidate, table = current.candidate, self._switch.table
        if candidate is not None and candidate is not self.standby:
            if table is None or candidate.number not in [entry.loading for entry in table.loadings]:
                await self.releases.go(candidate)
                return
            self.standby = candidate  # what a table names and nobody needs is let go in one way
        await self._release_standby(current)

    async def _certify(self, current: Current) -> None:
        """Certificates need the seconds after the switch, so they are written a little later.

        One that still waits will tell what came meanwhile.
        """
        if not current.certifying:
            current.certifying = True
            self._around.beside(self._write_certificate(current))

    # -- parts ---------------------------------------------------------------------------------------------

    async def _prepare(self, candidate: Loading | None, source: Loading | None, watch: Watch = UNWATCHED) -> Prepared:
        """The forward table and, when there is a source, its way back."""
        to = _entry(candidate)
        if source is None:
            return await self._switch.prepare(lambda epoch: all_to(self._draft(epoch), to), None)
        before = _entry(source)
        forward: Draw = lambda epoch: all_to(self._draft(epoch), to, standby=before, watch=watch)  # noqa: E731
        return await self._switch.prepare(forward, lambda epoch: all_to(self._draft(epoch), before, standby=to))

    def _draft(self, epoch: int) -> Draft:
        return Draft(self._switch.model, self._switch.word, epoch)

    async def _end(self, current: Current, loading: Loading) -> None:
        """Let a version go that no table names any more. Where sequences may live in it the driver does not wait."""
        held = self._fleet.memory(loading.number)
        current.ending = await self.releases.go(loading, lambda: current.receipt.released(held))

    async def _write_certificate(self, current: Current) -> None:
        await current.receipt.reported()
        if current.ending is not None:
            await asyncio.wait({current.ending})
        current.certifying = False
        certificate = new = current.receipt.certificate(current.rollout)
        if current.certificate is not None:
            certificate = replace(current.certificate, outcome=new.outcome, decided_by=new.decided_by, ended=new.ended)
        try:
            await asyncio.to_thread(self._journal.rollouts.certify, current.id, certificate)
        except ChangeoverError as error:
            log.error("the certificate of %s cannot be written yet: %s", current.id, error.message)  # noqa: TRY400
            self._around.again(lambda: self._certify(current))


def _entry(loading: Loading | None) -> LoadingEntry:
    if loading is None or loading.entry is None:
        raise Conflict("the version has no proven worker", reason="not_proven")
    return loading.entry
