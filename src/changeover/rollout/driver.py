"""The driver of one model: feeds the rollout machine with what happens, and has its commands executed.

One rollout at a time; versions offered meanwhile queue. Every phase is journalled before its commands act.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Final, TypeVar

from changeover.errors import ChangeoverError, Conflict, Internal
from changeover.lifecycle.artifacts import Artifact
from changeover.records.certificate import VersionRef
from changeover.records.journal import Journal
from changeover.records.rollouts import RolloutRecord
from changeover.rollout import found
from changeover.rollout.commands import Commands, Happened
from changeover.rollout.current import Current
from changeover.rollout.fleet import Fleet
from changeover.rollout.loading import Loader, Loading
from changeover.rollout.machine import Event, Phase, Rollout, advance
from changeover.rollout.offer import Offer
from changeover.rollout.plan import Plan
from changeover.rollout.receipt import Receipt
from changeover.rollout.recovery import recover
from changeover.rollout.switch import Switch
from changeover.settings import Settings

_PATIENCE = 0.05
"""Seconds that the way back waits for its record (DESIGN §5.6)."""
_AGAIN = 1.0
"""Seconds until what a sick journal or gateway refused is tried once more."""
_FOUND_AGAIN = 5.0
"""Seconds until a version found, whose rollout the disk did not take, is considered again."""
_GIVEN_UP: Final = {Phase.VALIDATING: Event.REFUSED, Phase.PROMOTING: Event.NOT_SWITCHED}
"""Phases that must be on record before they act. What comes after the switch goes on, and is recorded late."""
T = TypeVar("T")
log = logging.getLogger("changeover.controller")


class Driver:
    """One model's control: `active`, `standby` and `candidate` are its loadings by role."""

    def __init__(self, model: str, word: int, fleet: Fleet, journal: Journal, term: int, settings: Settings) -> None:
        self.model = model
        self.current: Current | None = None
        self.fleet = fleet
        self.journal = journal
        self.settings = settings
        self.store = settings.state / "artifacts"
        self.loader = Loader(model, fleet, journal, settings)
        self.switch = Switch(model, word, fleet, journal, term, beside=self._beside)
        self.taken_over = asyncio.Event()
        """Set when recovery has read what the last term left open: only then may this term open rollouts."""
        self.commands = Commands(
            self.loader,
            self.switch,
            fleet,
            journal,
            drain_deadline=settings.drain_deadline,
            later=self._start_clock,
            again=self._again,
            background=self._beside,
        )
        self.waiting: list[Offer] = []
        """Versions found that are not looked at yet; what was pushed is in the journal."""
        self.on_end: Callable[[], None] = lambda: None
        self._tasks: asyncio.TaskGroup
        self._inbox: asyncio.Queue[Callable[[], Awaitable[object]]] = asyncio.Queue()

    async def run(self) -> None:
        """Recover, then do one thing after the other, as long as the controller lives."""
        self._inbox.put_nowait(lambda: recover(self))
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                call = await self._inbox.get()
                try:
                    await call()
                except ChangeoverError as error:
                    log.error("%s: %s", self.model, error.message)  # noqa: TRY400 - a sentence for the operator
                finally:
                    self.taken_over.set()  # also when the recovery failed: pushes go on
                    self._inbox.task_done()

    async def idle(self) -> None:
        """Wait until everything asked for so far was done."""
        await self._inbox.join()

    # -- asked from outside --------------------------------------------------------------------------------

    async def offer(self, offer: Offer) -> str:
        """Queue a rollout to this version; returns its id at once."""
        await self.taken_over.wait()
        rollout = await self._open(offer)
        self._inbox.put_nowait(lambda: self._begin(rollout, offer))
        return rollout

    async def push(self, version: int | None, artifact: Artifact, plan: Plan) -> tuple[Offer, str]:
        """Record a pushed version and a rollout to it in one commit, and queue it; `None` takes the next number."""
        await self.taken_over.wait()
        source = self._source()

        def record() -> tuple[Offer, str]:
            with self.journal.together():
                known = self.journal.versions.add(self.model, version, artifact.digest, "push")
                offer = Offer(known.version, artifact, plan, "push")
                return offer, self.journal.rollouts.open(self.model, source, offer.ref, {"offer": offer.source}).id

        offer, rollout = await asyncio.to_thread(record)
        self._inbox.put_nowait(lambda: self._begin(rollout, offer))
        return offer, rollout

    async def offer_found(self, offer: Offer) -> None:
        """A version lies in the repository: roll out to it if it is news, see `found.is_news`."""
        self.waiting.append(offer)
        self._inbox.put_nowait(lambda: self._consider(offer))

    async def undo(self) -> RolloutRecord:
        """Move all traffic back to the standby; returns when it is there.

        What is undone is the rollout in hand when it was asked for, never one that came meanwhile.

        Raises:
            Conflict: there is no standby (reason `no_standby`).
            Internal: the way back cannot be prepared; the new version still serves.
        """
        asked = self.current
        if asked is not None and asked.rollout.phase in (Phase.PENDING, Phase.VALIDATING):
            advance(asked.rollout, Event.UNDO_ASKED)  # says why not, without waiting for the load
        done: asyncio.Future[RolloutRecord] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(lambda: self._undo(asked, done))
        return await done

    async def _undo(self, asked: Current | None, done: asyncio.Future[RolloutRecord]) -> None:
        try:
            record = await self._move_all_back(asked or self.current)
        except ChangeoverError as error:
            if not done.done():
                done.set_exception(error)
            return
        if not done.done():
            done.set_result(record)

    async def _move_all_back(self, current: Current | None) -> RolloutRecord:
        watching = current is not None and current.rollout.phase is Phase.WATCHING
        if self.standby is None or current is None or current is not self.current or not watching:
            raise Conflict(
                f"{self.model}: no previous version is kept warm, so there is nothing to undo; "
                "push the version you want instead",
                reason="no_standby",
            )
        await self._feed(current, Happened(Event.UNDO_ASKED))
        rollout = current.rollout
        if rollout.phase is Phase.WATCHING:
            raise Internal(f"{self.model}: nothing was undone: {rollout.detail}", reason=rollout.reason)
        record = await asyncio.to_thread(self.journal.rollouts.get, current.id)
        return replace(record, phase=rollout.phase)  # the journal may be behind

    # -- shown ---------------------------------------------------------------------------------------------

    @property
    def active(self) -> Loading | None:
        """The loading that serves."""
        return self.commands.active

    @property
    def standby(self) -> Loading | None:
        """The previous one, kept warm."""
        return self.commands.standby

    @property
    def candidate(self) -> Loading | None:
        """The loading that is being proven."""
        current = self.current
        loading = current.candidate if current else None
        if loading is None or loading in (self.active, self.standby) or loading.number not in self.loader.live:
            return None
        return loading

    @property
    def epoch(self) -> int:
        """Of the table in force, 0 for none."""
        return self.switch.table.epoch if self.switch.table else 0

    def can_undo(self, rollout: str) -> bool:
        """Whether `undo` would undo this rollout."""
        current = self.current
        return current is not None and current.id == rollout and current.rollout.phase is Phase.WATCHING

    def role(self, loading: Loading) -> str:
        """Derived from the table in force, never stored."""
        for name, other in (("active", self.active), ("standby", self.standby), ("candidate", self.candidate)):
            if loading is other:
                return name
        return "none"

    # -- rollouts ------------------------------------------------------------------------------------------

    async def _open(self, offer: Offer) -> str:
        kept = {"offer": offer.source}
        record = await asyncio.to_thread(self.journal.rollouts.open, self.model, self._source(), offer.ref, kept)
        return record.id

    def _source(self) -> VersionRef | None:
        return VersionRef(self.active.version, self.active.digest) if self.active else None

    async def _consider(self, offer: Offer) -> None:
        if await found.consider(self, offer, self._begin_found):
            loop = asyncio.get_running_loop()
            loop.call_later(_FOUND_AGAIN, self._inbox.put_nowait, lambda: self._consider(offer))

    async def _begin_found(self, offer: Offer) -> None:
        # At once, so that the next lower version found is compared with what serves then.
        await self._begin(await self._open(offer), offer)

    async def _begin(self, rollout_id: str, offer: Offer) -> None:
        """Take the next rollout in hand and carry it as far as it goes without waiting for time or people."""
        await self.end_window()
        await self._feed(self.take_in_hand(rollout_id, offer, self.active), Happened(Event.STARTED))

    async def end_window(self) -> None:
        """The undo window is over, if one runs: the version kept warm is let go."""
        previous = self.current
        if previous is not None and previous.rollout.phase is Phase.WATCHING:
            await self._feed(previous, Happened(Event.WINDOW_ENDED))

    def take_in_hand(self, rollout_id: str, offer: Offer, source: Loading | None) -> Current:
        """Make a rollout from a loading to an offer the current one."""
        rollout = Rollout(self.model, str(source.version) if source else None, str(offer.version))
        receipt, window = Receipt(self.model, rollout_id, offer, source, self.fleet), offer.plan.rollout.undo_window
        self.current = Current(rollout_id, offer, rollout, receipt, window)
        return self.current

    async def resume(self, current: Current, event: Event) -> None:
        """Go on with a rollout that the last term left, from what is found in force."""
        await self._feed(current, Happened(event))

    async def _feed(self, current: Current, happened: Happened | None) -> None:
        """Advance the machine, journal the phase, execute its commands; and again with what these brought about."""
        while happened is not None:
            error = happened.error
            reason, detail = (error.reason, error.message) if error else (None, None)
            current.rollout, commands = advance(current.rollout, happened.event, reason=reason, detail=detail)
            log.log(logging.ERROR if reason else logging.INFO, "%r%s", current.rollout, f": {detail}" if detail else "")
            happened = await self._journal_phase(current, current.rollout)
            if happened is not None:
                continue
            for command in commands:
                happened = await self.commands.execute(command, current) or happened
        if current.rollout.phase.terminal:
            self.on_end()

    async def _journal_phase(self, current: Current, rollout: Rollout) -> Happened | None:
        """Record a phase; what comes of it when that cannot be done."""
        if rollout.phase is Phase.ROLLING_BACK:  # a disk that is slow does not hold up the way back
            await asyncio.wait([self._beside(self._put_on_record(current, rollout))], timeout=_PATIENCE)
            return None
        return await self._put_on_record(current, rollout)

    async def _put_on_record(self, current: Current, rollout: Rollout) -> Happened | None:
        try:
            await asyncio.to_thread(self._record_phase, current, rollout)
        except ChangeoverError as error:
            if rollout.phase in _GIVEN_UP:
                return Happened(_GIVEN_UP[rollout.phase], error)
            log.error("%r is not on record yet: %s", rollout, error.message)  # noqa: TRY400
            self._again(lambda: self._put_on_record(current, rollout))
        return None

    def _record_phase(self, current: Current, rollout: Rollout) -> None:
        """The phase, and what it says of the candidate's loading, in one commit."""
        body = {**current.receipt.record(), "reason": rollout.reason, "detail": rollout.detail}
        phase, offer, candidate = rollout.phase, current.offer, current.candidate
        with self.journal.together():
            if current.rollout is not rollout:
                return  # a later phase is recorded instead, before this one's turn came
            self.journal.rollouts.move(current.id, phase, record=body, ended=phase.terminal)
            if phase is Phase.VALIDATING:
                candidate = self.loader.record_new(offer.version, offer.artifact, offer.plan)
            elif phase is Phase.PROMOTING and candidate is not None:
                self.loader.record_ready(candidate)
        current.candidate = candidate

    def _again(self, call: Callable[[], Awaitable[object]]) -> None:
        asyncio.get_running_loop().call_later(_AGAIN, self._inbox.put_nowait, call)

    def _beside(self, coroutine: Coroutine[None, None, T]) -> asyncio.Task[T]:
        return self._tasks.create_task(coroutine)

    def _start_clock(self, current: Current) -> None:
        if current.clock is None:
            loop = asyncio.get_running_loop()
            current.clock = loop.call_later(current.window, self._inbox.put_nowait, lambda: self._end_window(current))

    async def _end_window(self, current: Current) -> None:
        if current is self.current:
            await self.end_window()
